"""JSON, merge and strategic merge patches, as the real server answered them."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from devcluster.fields.errors import FieldsError
from devcluster.fields.patches import (
    json_patch,
    merge_patch,
    patched_object_refused,
    strategic_merge,
)

Json = dict[str, Any]
REFUSED = "the server rejected our request due to an error in our request"
OBJ: Json = {"metadata": {"finalizers": ["a", "b", "c"]}, "data": {"a": "1", "x/y": "2"}}


@pytest.mark.parametrize(
    ("ops", "expected"),
    [
        ([], OBJ),
        ([{"op": "add", "path": "/data/b", "value": "3"}], {"data": {**OBJ["data"], "b": "3"}}),
        ([{"op": "add", "path": "/data/b"}], {"data": {**OBJ["data"], "b": None}}),
        ([{"op": "replace", "path": "/data/b", "value": "3"}], {"data": {**OBJ["data"], "b": "3"}}),
        ([{"op": "remove", "path": "/data/x~1y"}], {"data": {"a": "1"}}),
        ([{"op": "move", "from": "/data/a", "path": "/data/b"}], {"data": {"x/y": "2", "b": "1"}}),
        ([{"op": "copy", "from": "/data/a", "path": "/data/b"}], {"data": {**OBJ["data"], "b": "1"}}),
        ([{"op": "copy", "from": "/data/no", "path": "/data/b"}], {"data": {**OBJ["data"], "b": None}}),
        ([{"op": "test", "path": "/data/a", "value": "1"}], OBJ),
        ([{"op": "test", "path": "/data/no", "value": None}], OBJ),
        ([{"op": "add", "path": "/metadata/finalizers/-", "value": "d"}], {"metadata": {"finalizers": list("abcd")}}),
        ([{"op": "add", "path": "/metadata/finalizers/0", "value": "d"}], {"metadata": {"finalizers": list("dabc")}}),
        ([{"op": "add", "path": "/metadata/finalizers/3", "value": "d"}], {"metadata": {"finalizers": list("abcd")}}),
        ([{"op": "remove", "path": "/metadata/finalizers/-1"}], {"metadata": {"finalizers": list("ab")}}),
        ([{"op": "replace", "path": "/metadata/finalizers/1", "value": "d"}], {"metadata": {"finalizers": list("adc")}}),
    ],
    ids=str,
)  # fmt: skip
def test_a_json_patch_applies(ops: list[Json], expected: Json) -> None:
    before = copy.deepcopy(OBJ)

    assert json_patch(OBJ, ops) == {**OBJ, **expected}
    assert before == OBJ


@pytest.mark.parametrize(
    "op",
    [
        {"op": "test", "path": "/data/a", "value": "2"},
        {"op": "test", "path": "/data/no", "value": "2"},
        {"op": "test", "path": "/metadata/finalizers/9", "value": "2"},
        {"op": "remove", "path": "/data/no"},
        {"op": "move", "from": "/data/no", "path": "/data/b"},
        {"op": "add", "path": "/data/no/x", "value": "2"},
        {"op": "add", "path": "/no/x/y", "value": "2"},
        {"op": "add", "path": "/metadata/finalizers/9", "value": "d"},
        {"op": "add", "path": "/metadata/finalizers/x", "value": "d"},
        {"op": "replace", "path": "/metadata/finalizers/9", "value": "d"},
        {"op": "remove", "path": "/metadata/finalizers/9"},
        {"op": "remove", "path": ""},
        {"op": "add", "path": "", "value": {}},
        {"op": "add", "value": "x"},
        {"op": "copy", "path": "/data/b"},
        {"op": "bad", "path": "/data"},
        {"path": "/data"},
    ],
    ids=str,
)
def test_an_operation_that_does_not_apply_has_one_answer(op: Json) -> None:
    with pytest.raises(FieldsError) as caught:
        json_patch(OBJ, [op])

    error = caught.value
    assert (error.status, error.reason, error.message) == (422, "Invalid", REFUSED)


@pytest.mark.parametrize(
    ("ops", "status", "message"),
    [
        ({}, 400, ("error decoding patch: json: cannot unmarshal object into Go value of type"
         " []handlers.jsonPatchOp")),
        ("x", 400, ("error decoding patch: json: cannot unmarshal string into Go value of type"
         " []handlers.jsonPatchOp")),
        ([1], 400, ("error decoding patch: json: cannot unmarshal number into Go value of type"
         " handlers.jsonPatchOp")),
        ([{}] * 10001, 413, ("Request entity too large: The allowed maximum operations in a JSON"
         " patch is 10000, got 10001")),
    ],
    ids=["object", "string", "number", "many"],
)  # fmt: skip
def test_what_is_no_json_patch_is_refused(ops: Any, status: int, message: str) -> None:
    with pytest.raises(FieldsError) as caught:
        json_patch(OBJ, ops)

    assert (caught.value.status, caught.value.message) == (status, message)


@pytest.mark.parametrize(
    ("patch", "expected"),
    [
        ({"data": {"a": None}}, {"data": {"x/y": "2"}}),
        ({"data": None}, {"metadata": OBJ["metadata"]}),
        ({"data": {"n": {"x": None, "y": 1}}}, {"data": {**OBJ["data"], "n": {"y": 1}}}),
        ({"data": [1]}, {"data": [1]}),
        ({"metadata": {"finalizers": ["z"]}}, {"metadata": {"finalizers": ["z"]}}),
    ],
    ids=str,
)
def test_a_merge_patch_applies(patch: Json, expected: Json) -> None:
    merged = merge_patch(OBJ, patch)

    assert {key: merged.get(key) for key in expected} == expected
    assert ("data" in merged) is (patch.get("data", 1) is not None)


def test_what_is_no_merge_patch_is_refused() -> None:
    with pytest.raises(FieldsError, match=r"cannot unmarshal array into Go value of type map"):
        merge_patch(OBJ, [])


def test_a_patched_object_that_does_not_decode_is_shown() -> None:
    error = patched_object_refused("no", patched={"b": 1, "a": "<"}, patch=None)
    strategic = patched_object_refused("no", patched=None, patch={"foo": 1})

    assert error.message == (
        ' "" is invalid: patch: Invalid value: "{\\"a\\":\\"\\\\u003c\\",\\"b\\":1}": no'
    )
    assert error.status == 422
    assert strategic.message == ' "" is invalid: patch: Invalid value: "map[foo:1]": no'


def containers(*names: str, **extra: Any) -> Json:
    made = [{"name": name, "image": f"{name}:1", **extra} for name in names]
    return {"spec": {"template": {"spec": {"containers": made}}}}


def names_of(obj: Json) -> list[str]:
    return [c["name"] for c in obj["spec"]["template"]["spec"]["containers"]]


def test_a_strategic_patch_merges_lists_by_key(deployments: Any) -> None:
    live = containers("a", "b", args=["x"])
    patch = {
        "spec": {
            "template": {"spec": {"containers": [{"name": "b", "image": "b:2"}, {"name": "c"}]}}
        }
    }
    merged = strategic_merge(live, patch, deployments.schema)["spec"]["template"]["spec"]

    assert merged["containers"] == [
        {"name": "a", "image": "a:1", "args": ["x"]},
        {"name": "b", "image": "b:2", "args": ["x"]},
        {"name": "c"},
    ]


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([{"name": "b", "$patch": "delete"}], ["a", "c"]),
        ([{"$patch": "replace"}, {"name": "z", "image": "z"}], ["z"]),
        ([{"name": "z", "image": "z"}], ["z", "a", "b", "c"]),
    ],
    ids=["delete", "replace", "add"],
)
def test_directives_work_on_items(deployments: Any, items: list[Json], expected: list[str]) -> None:
    patch = {"spec": {"template": {"spec": {"containers": items}}}}

    assert (
        names_of(strategic_merge(containers("a", "b", "c"), patch, deployments.schema)) == expected
    )


def test_an_element_order_is_followed(deployments: Any) -> None:
    order = [{"name": "c"}, {"name": "a"}]
    patch = {"spec": {"template": {"spec": {"$setElementOrder/containers": order}}}}

    assert names_of(strategic_merge(containers("a", "c"), patch, deployments.schema)) == ["c", "a"]


def test_an_order_that_does_not_name_the_patch_is_refused(config_maps: Any) -> None:
    patch = {"metadata": {"$setElementOrder/finalizers": ["d"], "finalizers": ["q"]}}
    with pytest.raises(FieldsError) as caught:
        strategic_merge(OBJ, patch, config_maps.schema)

    assert (caught.value.status, caught.value.reason) == (500, "")
    assert caught.value.message == (
        "The order in patch list:\n[q]\n doesn't match $setElementOrder list:\n[d]\n"
    )


def test_items_of_sets_are_added_and_deleted(config_maps: Any) -> None:
    patch = {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"], "finalizers": ["b", "z"]}}
    merged = strategic_merge(OBJ, patch, config_maps.schema)

    assert merged["metadata"]["finalizers"] == ["b", "z", "c"]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"$patch": "replace", "k": "v"}, {"k": "v"}),
        ({"$patch": "delete"}, {}),
        ({"a": None}, {"x/y": "2"}),
    ],
    ids=str,
)
def test_directives_work_on_maps(config_maps: Any, data: Json, expected: Json) -> None:
    assert strategic_merge(OBJ, {"data": data}, config_maps.schema)["data"] == expected


def test_kept_keys_are_the_only_ones(deployments: Any) -> None:
    live = {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}
    patch = {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}

    assert strategic_merge(live, patch, deployments.schema) == {
        "spec": {"strategy": {"type": "Recreate"}}
    }


def test_lists_without_a_strategy_are_replaced(deployments: Any) -> None:
    patch = containers("a", args=["y"])
    merged = strategic_merge(containers("a", args=["x"]), patch, deployments.schema)

    assert merged["spec"]["template"]["spec"]["containers"][0]["args"] == ["y"]


def test_custom_resources_take_no_strategic_patch(things: Any) -> None:
    with pytest.raises(FieldsError) as caught:
        strategic_merge({}, {}, things.schema)

    assert (caught.value.status, caught.value.reason) == (415, "UnsupportedMediaType")


def test_an_item_without_its_key_is_refused(deployments: Any) -> None:
    patch = {"spec": {"template": {"spec": {"containers": [{"image": "x"}]}}}}
    with pytest.raises(FieldsError, match="does not contain declared merge key: name"):
        strategic_merge(containers("a"), patch, deployments.schema)
