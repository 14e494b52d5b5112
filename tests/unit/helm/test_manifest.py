"""Rendered files are taken apart as Helm takes them apart."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluvial.build import yaml
from fluvial.helm import kinds, manifest, ownership
from fluvial.helm.errors import ManifestError
from fluvial.helm.release import Hook
from unit.helm.helm_vectors import vectors


def _gist(hook: Hook) -> list[Any]:
    policies = [list(hook.delete_policies), list(hook.output_log_policies)]
    named = [hook.path, hook.manifest, hook.name, hook.kind]
    return [*named, list(hook.events), hook.weight, *policies]


def _sorted(files: dict[str, str], *, uninstall: bool) -> dict[str, Any] | None:
    key = kinds.uninstall_key if uninstall else kinds.install_key
    try:
        found = manifest.sort_files(files, key=key)
    except ManifestError:
        return None
    return {
        "hooks": [_gist(hook) for hook in found.hooks],
        "documents": [[one.path, one.text, one.kind] for one in found.documents],
    }


def test_files_are_sorted_as_helm_sorts_them() -> None:
    cases = vectors("manifests")

    ours = [_sorted(files, uninstall=uninstall) for files, uninstall, _ in cases]
    differing = [case for case, result in zip(cases, ours, strict=True) if result != case[2]]
    assert differing == []


async def test_large_sets_are_sorted_in_the_same_way() -> None:
    large = {"x.yaml": "kind: A\napiVersion: v1\n# " + "x" * 70_000}

    for files, _, result in vectors("manifests"):
        if result is not None:
            assert await manifest.sort_file_set(files) == manifest.sort_files(files)
    assert await manifest.sort_file_set(large) == manifest.sort_files(large)


@given(st.text(alphabet="-a \t\n\r\x85", max_size=60))
def test_a_stream_is_cut_where_a_line_begins_with_dashes(text: str) -> None:
    spaces = " \t\n\v\f\r\u0085\u00a0"
    parts = re.split(r"^---[ \t]*", text.lstrip(spaces), flags=re.MULTILINE)

    assert manifest.split(text) == [one.lstrip(spaces) for one in parts if one.strip(spaces)]


async def test_a_stream_of_many_documents_lets_others_run_while_it_is_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Empty documents are nothing to parse, and still some work."""
    monkeypatch.setattr("fluvial.build.pace._PIECE_SECONDS", -1.0)  # every piece is a long one
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    others = asyncio.create_task(count(), name="others")
    assert await manifest.objects_of("# nothing\n---\n" * 1_000) == []
    others.cancel()
    assert turns >= 999


_FILES = {
    "app/templates/b.yaml": "kind: Service\napiVersion: v1\nmetadata: {name: s}\n",
    "app/templates/a.yaml": (
        "---\nkind: Secret\napiVersion: v1\nmetadata: {name: x}\n"
        "---kind: Zebra\napiVersion: z/v1\nmetadata: {name: z}\n---\n# a comment\n"
    ),
    "app/templates/_helpers.tpl": "no: [yaml",
    "app/templates/NOTHING.yaml": " \n---\n",
    "app/templates/hook.yaml": (
        "kind: Job\napiVersion: batch/v1\nmetadata: {name: j, annotations: {"
        "helm.sh/hook: 'pre-install, Post-Upgrade', helm.sh/hook-weight: -5,"
        " helm.sh/hook-delete-policy: 'hook-succeeded,hook-failed'}}\n"
    ),
    "app/templates/old.yaml": "kind: Job\nmetadata: {annotations: {helm.sh/hook: crd-install}}\n",
}


def test_the_manifest_says_where_each_document_came_from() -> None:
    found = manifest.sort_files(_FILES)

    assert manifest.manifest_text(found.documents) == (
        "---\n# Source: app/templates/a.yaml\n"
        "kind: Secret\napiVersion: v1\nmetadata: {name: x}\n\n"
        "---\n# Source: app/templates/b.yaml\n"
        "kind: Service\napiVersion: v1\nmetadata: {name: s}\n\n"
        "---\n# Source: app/templates/a.yaml\n# a comment\n\n"
        "---\n# Source: app/templates/a.yaml\n"
        "kind: Zebra\napiVersion: z/v1\nmetadata: {name: z}\n\n"
    )
    assert found.dropped == ("app/templates/old.yaml",)
    assert [(hook.name, hook.events, hook.weight) for hook in found.hooks] == [
        ("j", ("pre-install", "post-upgrade"), -5)
    ]


async def test_objects_of_a_manifest_are_those_of_its_documents() -> None:
    found = manifest.sort_files(_FILES)
    objects = await manifest.objects_of(manifest.manifest_text(found.documents))

    assert [obj["kind"] for obj in objects] == ["Secret", "Service", "Zebra"]


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("kind: List\nitems: [{apiVersion: v1, kind: A}, {apiVersion: v1, kind: B}]", ["A", "B"]),
        ("kind: SecretList\nitems: [{metadata: {name: a}}, {kind: Other}]", ["Secret", "Other"]),
        ("kind: List\nitems: []", []),
        ("kind: List\nitems:", []),
        ("kind: AllowList\nspec: {items: [a]}", ["AllowList"]),
    ],
)
async def test_lists_are_taken_apart(text: str, kinds: list[str]) -> None:
    found = await manifest.objects_of(f"apiVersion: v1\n{text}")

    assert [obj["kind"] for obj in found] == kinds
    assert all(obj["apiVersion"] == "v1" for obj in found)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: [", "a.yaml: the text is not YAML"),
        ("- a", "a.yaml: a document is not an object"),
        ("text", "a.yaml: a document is not an object"),
        ("metadata: 5", "a.yaml: metadata is not a map"),
        ("metadata: {annotations: [a]}", "a.yaml: annotations are not a map"),
        ("metadata: {annotations: {a: [b]}}", "a.yaml: an annotation is not a text"),
        ("kind: {}", "a.yaml: the kind is not a text"),
    ],
)
def test_what_is_no_object_is_named(text: str, problem: str) -> None:
    with pytest.raises(ManifestError) as caught:
        manifest.sort_files({"a.yaml": text})

    assert str(caught.value).startswith(problem)


@pytest.mark.parametrize(
    "text",
    ["kind: A", "apiVersion: v1", "- a", "5", "apiVersion: v1\nkind: List\nitems: [{kind: A}]"],
)
async def test_an_object_has_a_version_and_a_kind(text: str) -> None:
    with pytest.raises(ManifestError):
        await manifest.objects_of(text)


@pytest.mark.parametrize(
    "item", ["metadata: 5", "metadata: {labels: [a]}", "metadata: {name: a, annotations: text}"]
)
async def test_an_object_of_a_list_can_be_marked(item: str) -> None:
    """What is in a list was looked at by nobody before."""
    with pytest.raises(ManifestError, match="not a map"):
        await manifest.objects_of(f"apiVersion: v1\nkind: ConfigMapList\nitems:\n- {{{item}}}\n")


def test_only_the_first_document_of_a_text_is_read() -> None:
    assert yaml.load_first(b"a: 1\n...\nnot: [yaml") == {"a": 1}
    assert yaml.load_first(b"") is None


def test_kinds_are_deleted_in_reverse_but_for_services() -> None:
    reverse = [kind for kind in reversed(kinds.INSTALL_ORDER) if kind != "Service"]
    order = list(kinds.UNINSTALL_ORDER)

    assert [kind for kind in order if kind != "Service"] == reverse
    assert order[order.index("Service") - 1 :][:3] == ["IngressClass", "Service", "CronJob"]


def test_unknown_kinds_come_last_by_name() -> None:
    found = sorted(["Zebra", "Pod", "Ant", "Namespace"], key=kinds.install_key)

    assert found == ["Namespace", "Pod", "Ant", "Zebra"]


_OWN = {"name": "app", "namespace": "apps"}


def test_marks_are_set_without_changing_the_object() -> None:
    obj = {"metadata": {"labels": {ownership.MANAGED_BY: "me", "a": "b"}}}
    marked = ownership.marked(obj, **_OWN)

    assert ownership.not_owned(marked, **_OWN) == ""
    assert marked["metadata"]["labels"] == {ownership.MANAGED_BY: "Helm", "a": "b"}
    assert obj == {"metadata": {"labels": {ownership.MANAGED_BY: "me", "a": "b"}}}
    assert ownership.not_owned(ownership.marked({}, **_OWN), **_OWN) == ""


def test_what_is_missing_or_differs_is_told() -> None:
    other = ownership.marked({}, name="other", namespace="apps")

    assert ownership.not_owned(other, **_OWN) == (
        "annotation meta.helm.sh/release-name is other, it must be app"
    )
    assert ownership.not_owned({}, **_OWN).count("is missing") == 3


@pytest.mark.parametrize(
    ("value", "kept", "survives"),
    [(None, False, False), ("keep", True, True), (" KEEP ", True, True), ("delete", False, True)],
)
def test_policies_of_objects(value: str | None, kept: bool, survives: bool) -> None:  # noqa: FBT001 - a table
    annotations = {} if value is None else {ownership.RESOURCE_POLICY: value}
    obj = {"metadata": {"annotations": annotations}}

    assert ownership.is_kept(obj) is kept
    assert ownership.survives_uninstall(obj) is survives


def test_finalizers_that_an_update_has_set_are_taken_over_by_nobody() -> None:
    """A HelmRelease in a chart would lose the one that this controller has set on it."""
    fields: dict[str, Any] = {
        "f:metadata": {"f:finalizers": {".": {}}, "f:labels": {"f:a": {}}},
        "f:data": {},
    }
    managed = [
        {"manager": "helm-controller", "operation": "Update", "fieldsV1": fields},
        {"manager": "helm-controller", "operation": "Apply", "fieldsV1": fields},
        {"manager": "helm", "operation": "Update", "fieldsV1": {"f:data": {}}},
    ]
    alone: dict[str, Any] = {"f:metadata": {"f:finalizers": {".": {}}}}
    managed.append({"manager": "helm-controller", "operation": "Update", "fieldsV1": alone})
    managed.append({**managed[-1], "fieldsV1": {**alone, "f:spec": {}}})
    *spared, last = ownership.sparing_finalizers(managed)

    assert last["fieldsV1"] == {"f:spec": {}}
    assert spared[0]["fieldsV1"] == {"f:metadata": {"f:labels": {"f:a": {}}}, "f:data": {}}
    assert spared[1:] == managed[1:3]
