"""Patches out of three versions of an object: as Helm makes them, and what they then do."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devcluster.fields.schema import SchemaSet
from devcluster.fields.strategic import strategic_merge
from fluvial.helm.clientside import jsonmerge, strategic
from fluvial.helm.clientside.patches import patch_for
from fluvial.helm.clientside.strategies import rules_of
from fluvial.helm.errors import MergeError
from fluvial.objects import JsonObject
from unit.helm.helm_vectors import vectors

_CASES = vectors("threeway")
_RULE = rules_of("apps", "Deployment")


def _patch(case: JsonObject) -> JsonObject:
    original, modified, live = (case[name] for name in ("original", "modified", "live"))
    if case["mode"] == "two":
        return jsonmerge.two_way(original, modified)
    if case["mode"] == "three":
        return jsonmerge.three_way(original, modified, live)
    return strategic.three_way(original, modified, live, rule=rules_of(case["group"], case["kind"]))


@pytest.mark.parametrize("case", _CASES, ids=[case["id"] for case in _CASES])
def test_a_patch_is_that_of_helm(case: JsonObject) -> None:
    before = copy.deepcopy(case)
    if case.get("error"):
        with pytest.raises(MergeError, match="by which they are merged"):
            _patch(case)
    else:
        assert _patch(case) == case["patch"]
    assert case == before


def test_items_of_one_name_that_cannot_be_told_apart_are_refused() -> None:
    ports = [{"port": 53, "name": "u"}, {"port": 443, "name": "x"}, {"port": 53, "name": "t"}]
    live = [{"port": 53}, {"port": 443}]
    original, service = {"spec": {"ports": live, "a": 1}}, {"spec": {"ports": ports}}

    with pytest.raises(MergeError, match="items of ports have the same port"):
        strategic.three_way(original, service, original, rule=rules_of("", "Service"))


@pytest.mark.parametrize(
    "directive",
    ["$patch", "$retainKeys", "$setElementOrder/containers", "$deleteFromPrimitiveList/finalizers"],
)
def test_directives_in_manifests_are_refused(directive: str) -> None:
    odd = {"spec": {directive: "replace"}}
    plain: JsonObject = {"spec": {"paused": True}}

    for original, modified in ((plain, odd), (odd, plain)):
        with pytest.raises(MergeError, match="is a directive of patches and no field"):
            strategic.three_way(original, modified, plain, rule=_RULE)


def _merge_of(items: int) -> Callable[[], JsonObject]:
    names = [f"n{number}" for number in range(items)]
    containers = [{"name": "a", "env": [{"name": name, "value": "1"} for name in names]}]
    old: JsonObject = {"spec": {"template": {"spec": {"containers": containers}}}}
    old["metadata"] = {"finalizers": names}
    new = copy.deepcopy(old)
    for item in new["spec"]["template"]["spec"]["containers"][0]["env"]:
        item["value"] = "2"
    new["metadata"]["finalizers"] = [f"x{name}" for name in names]
    return lambda: strategic.three_way(old, new, old, rule=_RULE)


def test_long_lists_cost_in_proportion() -> None:
    """A chart may have a hundred thousand items: they take a second, not hours."""
    assert _calls_of(_merge_of(200)) < 2.5 * _calls_of(_merge_of(100))


def _calls_of(function: Callable[[], object]) -> int:
    """How many functions are called: what grows with the work, and not with the machine's load."""
    calls = 0

    def count(_: Any, event: str, __: Any) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"}

    sys.setprofile(count)
    try:
        function()
    finally:
        sys.setprofile(None)
    return calls


def test_what_is_made_anew_has_nothing_to_delete() -> None:
    """Helm's patch has the deletion of E, and servers make an item of it."""

    def pods(**container: Any) -> JsonObject:
        return {"spec": {"template": {"spec": {"containers": [{"name": "a", **container}]}}}}

    live = {"spec": {"template": {"spec": {"containers": [{"name": "other"}]}}}}
    modified = pods(env=[{"name": "F"}])
    patch = strategic.three_way(
        pods(env=[{"name": "E"}, {"name": "F"}]), modified, live, rule=_RULE
    )

    assert _applied(live, patch)["spec"]["template"]["spec"]["containers"] == [
        {"name": "a", "env": [{"name": "F"}]},
        {"name": "other"},
    ]


def _items(key: str, names: list[Any], more: dict[str, Any]) -> Any:
    """Lists of maps in any order, each name once."""
    item = st.fixed_dictionaries({key: st.sampled_from(names)}, optional=more)
    return st.lists(item, unique_by=lambda one: one[key], max_size=len(names))


_TEXT = st.sampled_from("xyz")
_CONTAINERS = _items(
    "name",
    ["a", "b", "c"],
    {
        "image": _TEXT,
        "args": st.lists(_TEXT, max_size=2),
        "env": _items("name", ["E", "F"], {"value": _TEXT}),
        "resources": st.dictionaries(
            st.sampled_from(["limits", "requests"]), st.just({"cpu": "1"})
        ),
    },
)
_SPEC = st.fixed_dictionaries(
    {"containers": _CONTAINERS}, optional={"nodeSelector": st.dictionaries(_TEXT, _TEXT)}
)
_OBJECTS = st.fixed_dictionaries(
    {
        "metadata": st.fixed_dictionaries(
            {"name": st.just("n")},
            optional={
                "labels": st.dictionaries(_TEXT, _TEXT),
                "finalizers": st.lists(_TEXT, unique=True, max_size=3),
            },
        ),
        "spec": st.fixed_dictionaries(
            {"template": st.fixed_dictionaries({"spec": _SPEC})},
            optional={"replicas": st.integers(1, 2)},
        ),
    }
)


def _applied(live: JsonObject, patch: JsonObject) -> JsonObject:
    """What a server makes of a patch."""
    schema = SchemaSet.builtin().for_kind("apps", "v1", "Deployment")
    assert schema is not None
    merged = strategic_merge(copy.deepcopy(live), copy.deepcopy(patch), schema)
    decoded: JsonObject = _without_nulls(merged)
    return decoded


def _without_nulls(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return value


def _shape(value: Any) -> Any:
    """An object in which lists that merge have no order: maps by their names, finalizers as a set."""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return {item["name"]: _shape(item) for item in value}
    if isinstance(value, dict):
        shapes = {key: _shape(item) for key, item in value.items()}
        lists = {key: frozenset(shapes[key]) for key in ("finalizers",) if key in shapes}
        empty: JsonObject = {key: {} for key in ("containers", "env") if shapes.get(key) == []}
        return {**shapes, **lists, **empty}
    return value


def _merged(original: Any, modified: Any, live: Any) -> Any:
    """What is to come out, for shapes: ours as it is wanted, others' as it is."""
    if isinstance(modified, frozenset) and isinstance(live, frozenset):
        return (live - ((original or frozenset()) - modified)) | modified
    if not (isinstance(modified, dict) and isinstance(live, dict)):
        return modified
    before = original if isinstance(original, dict) else {}
    ours = {key: _merged(before.get(key), item, live.get(key)) for key, item in modified.items()}
    return {key: item for key, item in live.items() if key not in before} | ours


@settings(max_examples=15, deadline=None)
@given(original=_OBJECTS, modified=_OBJECTS, live=_OBJECTS)
def test_a_patch_gives_what_is_wanted_and_leaves_what_others_have(
    original: JsonObject, modified: JsonObject, live: JsonObject
) -> None:
    patch = strategic.three_way(original, modified, live, rule=_RULE)
    result = _shape(_applied(live, patch))

    assert result == _merged(_shape(original), _shape(modified), _shape(live))


@settings(max_examples=15, deadline=None)
@given(modified=_OBJECTS, live=_OBJECTS)
def test_items_are_in_the_order_that_is_wanted(modified: JsonObject, live: JsonObject) -> None:
    def names(obj: JsonObject) -> list[str]:
        return [one["name"] for one in obj["spec"]["template"]["spec"]["containers"]]

    patch = strategic.three_way({}, modified, live, rule=_RULE)
    wanted = names(modified)

    assert [name for name in names(_applied(live, patch)) if name in wanted] == wanted


@settings(max_examples=15, deadline=None)
@given(original=_OBJECTS, modified=_OBJECTS, live=_OBJECTS)
def test_a_patch_does_no_more_when_it_comes_again(
    original: JsonObject, modified: JsonObject, live: JsonObject
) -> None:
    patch = strategic.three_way(original, modified, live, rule=_RULE)
    once = _applied(live, patch)

    assert _applied(once, patch) == once
    again = strategic.three_way(modified, modified, once, rule=_RULE)
    assert _applied(once, again) == once


@pytest.mark.parametrize(
    ("api_version", "type_"),
    [
        ("v1", "strategic"),
        ("apps/v1", "strategic"),
        ("apiextensions.k8s.io/v1", "strategic"),
        ("apiregistration.k8s.io/v1", "merge"),
        ("metrics.k8s.io/v1", "merge"),
        ("example.com/v1", "merge"),
    ],
)
def test_kinds_of_kubernetes_get_strategic_patches(api_version: str, type_: str) -> None:
    obj: JsonObject = {"apiVersion": api_version, "kind": "Thing", "metadata": {"name": "a"}}

    assert patch_for(obj, obj, original=obj).type == type_


def test_what_the_release_did_not_write_is_not_deleted() -> None:
    live = {"apiVersion": "example.com/v1", "kind": "Thing", "spec": {"a": 1, "foreign": 2}}
    modified = {**live, "spec": {"a": 3}}

    assert patch_for(modified, live, original=None).body == {"spec": {"a": 3}}
    assert patch_for(modified, live, original=live).body == {"spec": {"a": 3, "foreign": None}}
