"""Which objects a rule is about, and what is between a live object and a wanted one."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from fluvial.api.kustomize import Selector
from fluvial.helm.pointers import patch_between, with_values_of
from fluvial.helm.selectors import InvalidSelector, ObjectMatcher, parse_selector

_OBJ = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {
        "name": "web",
        "namespace": "apps",
        "labels": {"app": "web", "tier": "2"},
        "annotations": {"a": "b"},
    },
}


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        ({}, True),
        ({"kind": "Deployment"}, True),
        ({"kind": "Deploy"}, False),
        ({"kind": "Deploy.*", "group": "apps", "version": "v1"}, True),
        ({"group": ".*batch"}, False),
        ({"name": "we|db"}, False),
        ({"name": "web|db", "namespace": "a.*"}, True),
        ({"label_selector": "app=web", "annotation_selector": "a"}, True),
        ({"label_selector": "app=web", "annotation_selector": "!a"}, False),
    ],
)
def test_objects_are_selected(selector: dict[str, str], matches: bool) -> None:  # noqa: FBT001 - a table
    assert ObjectMatcher.of(Selector(**selector)).matches(_OBJ) is matches


def test_without_a_selector_every_object_is_meant() -> None:
    assert ObjectMatcher.of(None).matches({})


@pytest.mark.parametrize(
    ("text", "labels", "holds"),
    [
        ("", {}, True),
        ("app", {"app": ""}, True),
        ("app", {}, False),
        ("!app", {}, True),
        ("app=web", {"app": "web"}, True),
        ("app == web", {"app": "web"}, True),
        ("app!=web", {}, True),
        ("app!=web", {"app": "web"}, False),
        ("app in (web, db)", {"app": "db"}, True),
        ("app in (web,db)", {}, False),
        ("app notin (web,db)", {}, True),
        ("app notin (web,db)", {"app": "db"}, False),
        ("tier>1", {"tier": "2"}, True),
        ("tier < 1", {"tier": "2"}, False),
        ("tier<1", {"tier": "x"}, False),
        ("example.com/app=web,tier in (a,b),!old", {"example.com/app": "web", "tier": "b"}, True),
    ],
)
def test_selectors_are_read_as_kubectl_reads_them(
    text: str,
    labels: dict[str, str],
    holds: bool,  # noqa: FBT001 - a table
) -> None:
    assert all(one(labels) for one in parse_selector(text)) is holds


@pytest.mark.parametrize("text", ["=", "a=b=c", "a in b", "a in (b", "a,,b", "a b", "tier>x", "a)"])
def test_what_is_no_selector_is_refused(text: str) -> None:
    with pytest.raises(InvalidSelector):
        parse_selector(text)


@pytest.mark.parametrize("field", ["name", "kind", "group", "version", "namespace"])
def test_what_is_no_pattern_is_refused(field: str) -> None:
    with pytest.raises(InvalidSelector, match=f"target.{field}"):
        ObjectMatcher.of(Selector(**{field: "("}))


@pytest.mark.parametrize(
    ("live", "wanted", "path", "result"),
    [
        ({"a": 1}, {"a": 2}, "/a", {"a": 1}),
        ({}, {"a": 2}, "/a", {}),
        ({"a": {"b": 1}}, {"c": 1}, "/a/b", {"a": {"b": 1}, "c": 1}),
        ({"a": [1, 2]}, {"a": [1, 3]}, "/a/1", {"a": [1, 2]}),
        ({"a": [1]}, {"a": [1, 3]}, "/a/1", {"a": [1]}),
        ({"a": [1, 2]}, {"a": [1]}, "/a/1", {"a": [1]}),
        ({"a": 1}, {"a": 2}, "/b/c", {"a": 2}),
        ({"a": {"x/y": 1}}, {"a": {"x/y": 2}}, "/a/x~1y", {"a": {"x/y": 1}}),
        ({"a": 1}, {"a": 2}, "", {"a": 2}),
    ],
)
def test_ignored_paths_have_the_live_value(
    live: dict[str, Any], wanted: dict[str, Any], path: str, result: dict[str, Any]
) -> None:
    before = copy.deepcopy((live, wanted))

    assert with_values_of(wanted, live, [path]) == result
    assert (live, wanted) == before


@pytest.mark.parametrize(
    ("live", "wanted", "patch"),
    [
        ({"spec": {"a": 1}}, {"spec": {"a": 1}}, []),
        ({"status": 1, "kind": "A"}, {"status": 2, "kind": "B"}, []),
        ({"spec": {"a": 1}}, {"spec": {"a": 2}}, [("replace", "/spec/a", 2)]),
        ({"spec": {}}, {"spec": {"a/b": 2}}, [("add", "/spec/a~1b", 2)]),
        ({"spec": {"a": 1}}, {"spec": {}}, [("remove", "/spec/a", None)]),
        ({"spec": [1]}, {"spec": [1, 2]}, [("replace", "/spec", [1, 2])]),
        (
            {"metadata": {"labels": {"a": "1", "x": "1"}, "uid": "1"}},
            {"metadata": {"labels": {"a": "2", "b": "1"}, "uid": "2"}},
            [("replace", "/metadata/labels/a", "2"), ("add", "/metadata/labels/b", "1")],
        ),
        (
            {"metadata": {}},
            {"metadata": {"annotations": {"a": "1"}}},
            [("add", "/metadata/annotations", {"a": "1"})],
        ),
        (
            {"spec": {"limits": {"cpu": "1"}}},
            {"spec": {"limits": {"cpu": "1000m"}}},
            [],
        ),
    ],
)
def test_the_patch_between_two_objects(
    live: dict[str, Any], wanted: dict[str, Any], patch: list[tuple[str, str, Any]]
) -> None:
    found = [(one["op"], one["path"], one.get("value")) for one in patch_between(live, wanted)]

    assert found == patch
