"""The algebra of field sets, against sets of paths."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devcluster.fields import fieldset

ELEMENTS = ["f:a", "f:b", 'k:{"n":"a"}', 'k:{"n":80,"p":"TCP"}', 'v:"x"', "v:1"]
Paths = frozenset[tuple[str, ...]]
path_sets = st.frozensets(
    st.lists(st.sampled_from(ELEMENTS), min_size=1, max_size=4).map(tuple), max_size=12
)


def build(paths: Paths) -> Any:
    root: dict[str, Any] = {}
    for path in paths:
        node = root
        for element in path:
            node = node.setdefault(element, {})
        node["."] = {}
    return fieldset.parse(root)


def flat(fields: Any) -> Paths:
    return frozenset(fieldset.paths(fields or {}))


@given(path_sets)
def test_a_set_survives_being_written_and_read(paths: Paths) -> None:
    fields = build(paths)

    assert flat(fieldset.parse(orjson.loads(orjson.dumps(fields)))) == paths
    assert fieldset.ordered(fields) == fields


@given(path_sets, path_sets)
def test_union_intersection_and_difference_are_those_of_sets(left: Paths, right: Paths) -> None:
    ours, theirs = build(left), build(right)

    assert flat(fieldset.union(ours, theirs)) == left | right
    assert flat(fieldset.intersection(ours, theirs)) == left & right
    assert flat(fieldset.difference(ours, theirs)) == left - right
    assert fieldset.subset(ours, theirs) is (left <= right)


@given(path_sets, path_sets)
def test_operations_leave_their_arguments_alone(left: Paths, right: Paths) -> None:
    ours, theirs = build(left), build(right)
    fieldset.union(ours, theirs)
    fieldset.intersection(ours, theirs)
    fieldset.difference(ours, theirs)
    fieldset.recursive_difference(ours, theirs)

    assert (flat(ours), flat(theirs)) == (left, right)


@given(path_sets, path_sets)
def test_recursive_difference_takes_what_is_below_too(left: Paths, right: Paths) -> None:
    expected = {path for path in left if not any(path[: len(other)] == other for other in right)}

    assert flat(fieldset.recursive_difference(build(left), build(right))) == expected


@given(path_sets)
def test_members_are_found(paths: Paths) -> None:
    fields = build(paths)

    assert all(fieldset.has_path(fields, path) for path in paths)
    assert not fieldset.has_path(fields, ("f:none",))


def test_keys_come_in_the_servers_order() -> None:
    fields = fieldset.parse(
        {"i:2": {}, 'v:"b"': {}, 'k:{"n":443}': {}, 'k:{"n":80}': {}, "f:z": {}, "f:a": {}}
    )

    assert list(fields) == ["f:a", "f:z", 'k:{"n":80}', 'k:{"n":443}', 'v:"b"', "i:2"]


@pytest.mark.parametrize(
    ("element", "text"),
    [
        ("f:spec", ".spec"),
        ('k:{"name":"a"}', '[name="a"]'),
        ('k:{"containerPort":80,"protocol":"TCP"}', '[containerPort=80,protocol="TCP"]'),
        ('v:"x"', '[="x"]'),
        ("i:3", "[3]"),
    ],
)
def test_an_element_reads_as_in_messages(element: str, text: str) -> None:
    assert fieldset.path_text((element,)) == text


def test_keys_of_items_are_written_canonically() -> None:
    assert list(fieldset.parse({'k:{ "b": 1, "a": "<" }': {}})) == ['k:{"a":"\\u003c","b":1}']


@pytest.mark.parametrize("data", [[], "x", {"f": {}}, {"x": {}}, {"k:[]": {}}, {"f:a": 1}])
def test_what_is_no_set_is_refused(data: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        fieldset.parse(data)
