"""Rendered text as objects, and back."""

from __future__ import annotations

from typing import Any

import pytest

from fluvial.build.helm.documents import (
    Document,
    annotate,
    is_hook,
    read_files,
    write_files,
)
from fluvial.build.helm.errors import TemplateFailed


def test_files_are_cut_where_helm_cuts_them() -> None:
    text = "\n\n---\n# only a remark\n---apiVersion: v1\nkind: A\n--- \n\n---\nkind: B\n"

    assert read_files({"b": text, "a": "kind: C", "c": "  \n"}) == [
        ("a", {"kind": "C"}),
        ("b", {"apiVersion": "v1", "kind": "A"}),
        ("b", {"kind": "B"}),
    ]


@pytest.mark.parametrize(
    ("text", "objects"),
    [
        ("kind: List\nitems: [{kind: A}, {kind: B}]", [{"kind": "A"}, {"kind": "B"}]),
        ("kind: List\nitems: [{kind: List, items: [{kind: A}]}]", [{"kind": "A"}]),
        (
            "apiVersion: v1\nkind: ConfigMapList\nitems: [{a: 1}, {apiVersion: v2, kind: B}]",
            [{"apiVersion": "v1", "kind": "ConfigMap", "a": 1}, {"apiVersion": "v2", "kind": "B"}],
        ),
        ("kind: List\nitems: []", []),
        ("kind: List\nitems:", []),
        ("kind: AllowList\nitems: {a: 1}", [{"kind": "AllowList", "items": {"a": 1}}]),
        ("kind: AllowList", [{"kind": "AllowList"}]),
    ],
)
def test_lists_are_taken_apart(text: str, objects: list[Any]) -> None:
    """Each object gets the labels that say whose it is; those of a list are lost with it."""
    assert [obj for _, obj in read_files({"a": text})] == objects


def test_scalars_are_read_as_kubernetes_reads_them_and_the_last_key_counts() -> None:
    assert read_files({"a": "on: yes\nmode: 0644\na: 1\na: 2\n"}) == [
        ("a", {"true": True, "mode": 420, "a": 2})
    ]


@pytest.mark.parametrize("text", ["a: [", "- a", "just text", "a: b: c", "kind: List\nitems: [1]"])
def test_what_is_no_object(text: str) -> None:
    with pytest.raises(TemplateFailed, match=r"YAML parse error on app/templates/a\.yaml"):
        read_files({"app/templates/a.yaml": text})


def test_metadata_is_added_and_wins() -> None:
    documents: list[Document] = [
        ("a", {"kind": "A"}),
        ("a", {"kind": "B", "metadata": {"labels": {"x": "1", "y": "1"}, "annotations": None}}),
    ]
    annotate(documents, labels={"x": "2"}, annotations={"n": "3"}, hooks=True)

    assert documents == [
        ("a", {"kind": "A", "metadata": {"labels": {"x": "2"}, "annotations": {"n": "3"}}}),
        (
            "a",
            {
                "kind": "B",
                "metadata": {"labels": {"x": "2", "y": "1"}, "annotations": {"n": "3"}},
            },
        ),
    ]


def test_hooks_are_left_alone_where_they_do_not_count() -> None:
    hook: dict[str, Any] = {"metadata": {"annotations": {"helm.sh/hook": "test"}}}
    documents: list[Document] = [("a", hook), ("a", {"kind": "B"})]
    annotate(documents, labels={"x": "1"}, annotations={}, hooks=False)

    assert hook == {"metadata": {"annotations": {"helm.sh/hook": "test"}}}
    assert documents[1][1]["metadata"] == {"labels": {"x": "1"}}


@pytest.mark.parametrize(
    "obj", [{}, {"metadata": None}, {"metadata": {"annotations": None}}, {"metadata": "x"}]
)
def test_what_is_no_hook(obj: dict[str, object]) -> None:
    assert not is_hook(obj)


@pytest.mark.parametrize("metadata", ["x", {"labels": "x"}])
def test_metadata_that_is_none(metadata: object) -> None:
    with pytest.raises(TemplateFailed, match="not a mapping"):
        annotate([("a", {"metadata": metadata})], labels={"x": "1"}, annotations={}, hooks=True)


def test_what_is_written_can_be_read() -> None:
    documents: list[Document] = [
        ("a", {"x": "yes", "n": 1}),
        ("b", {"x": "0644"}),
        ("a", {"x": "a\nb\n"}),
    ]

    assert sorted(read_files(write_files(documents)), key=str) == sorted(documents, key=str)
