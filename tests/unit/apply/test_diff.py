"""What differs, what only looks different, and what must not be shown."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluvial.apply.diff import compare
from fluvial.apply.masking import Masker
from fluvial.apply.semantic import equal, parse_quantity

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("xyz"), inner),
    max_leaves=10,
)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (1, 1.0),
        (None, {}),
        ([], None),
        ({"a": None}, {}),
        ({"limits": {"cpu": "1000m"}}, {"limits": {"cpu": 1}}),
        ({"requests": {"memory": "1Gi"}}, {"requests": {"memory": "1024Mi"}}),
        ({"hard": {"pods": "10"}}, {"hard": {"pods": 10}}),
    ],
)
def test_equal(left: Any, right: Any) -> None:
    assert equal(left, right)
    assert equal(right, left)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (1, True),
        (0, False),
        ("1", 1),
        ({"emptyDir": {}}, {}),
        ({"value": "1"}, {"value": "1000m"}),
        ([1, 2], [2, 1]),
        ({"limits": {"cpu": "1"}}, {"limits": {"cpu": "2"}}),
    ],
)
def test_not_equal(left: Any, right: Any) -> None:
    assert not equal(left, right)
    assert not equal(right, left)


@pytest.mark.parametrize(
    ("text", "number"),
    [("1", 1), ("100m", 0.1), ("1Ki", 1024), ("2e3", 2000), ("1E", 10**18), (".5", 0.5)],
)
def test_quantities(text: str, number: float) -> None:
    assert parse_quantity(text) is not None
    assert float(parse_quantity(text) or 0) == number


@pytest.mark.parametrize("text", ["", "one", "1 Gi", "1x", "--1"])
def test_no_quantities(text: str) -> None:
    assert parse_quantity(text) is None


@given(JSON)
def test_nothing_differs_from_itself(value: Any) -> None:
    assert equal(value, value)
    assert not compare({"spec": value}, {"spec": value}, masker=Masker())


@given(JSON, JSON)
def test_difference_is_found_whenever_values_are_unequal(left: Any, right: Any) -> None:
    diff = compare({"spec": left}, {"spec": right}, masker=Masker())

    if diff:
        assert not equal({"spec": left}, {"spec": right})


def _obj(spec: Any, **metadata: Any) -> dict[str, Any]:
    return {"kind": "Widget", "apiVersion": "v1", "metadata": metadata, "spec": spec}


def test_status_and_server_side_metadata_do_not_count() -> None:
    live = _obj(1, resourceVersion="1", generation=1, managedFields=[1]) | {"status": {"a": 1}}
    result = _obj(1, resourceVersion="2", generation=2)

    assert not compare(live, result, masker=Masker())


@pytest.mark.parametrize("name", ["labels", "annotations", "finalizers", "ownerReferences"])
def test_metadata_that_counts(name: str) -> None:
    value: Any = ["x"] if name in {"finalizers", "ownerReferences"} else {"x": "y"}

    assert compare(_obj(1), _obj(1, **{name: value}), masker=Masker())
    assert not compare(_obj(1), _obj(1, **{name: type(value)()}), masker=Masker())


def test_text_names_paths() -> None:
    before = _obj({"a/b": 1, "gone": [1], "same": 2})
    after = _obj({"a/b": 2, "new": {"x": 1}, "same": 2})

    assert compare(before, after, masker=Masker()).text().splitlines() == [
        "~ /spec/a~1b: 1 -> 2",
        "- /spec/gone: [1]",
        '+ /spec/new: {"x":1}',
    ]


def test_named_list_elements_are_compared_by_name() -> None:
    before = _obj([{"name": "a", "v": 1}, {"name": "b", "v": 1}])
    after = _obj([{"name": "b", "v": 2}])

    assert compare(before, after, masker=Masker()).text().splitlines() == [
        "~ /spec/0/v: 1 -> 2",
        '- /spec/0: {"name":"a","v":1}',
    ]


def test_order_of_named_elements_counts() -> None:
    before = _obj([{"name": "a"}, {"name": "b"}])
    after = _obj([{"name": "b"}, {"name": "a"}])

    assert compare(before, after, masker=Masker())


def test_quantity_alone_is_no_difference() -> None:
    before = _obj({"resources": {"limits": {"cpu": "1000m"}}})
    after = _obj({"resources": {"limits": {"cpu": "1"}}})

    assert not compare(before, after, masker=Masker())


def test_secret_and_last_applied_are_masked() -> None:
    last = "kubectl.kubernetes.io/last-applied-configuration"
    before = {"apiVersion": "v1", "kind": "Secret", "metadata": {"annotations": {last: "s3cret"}}}
    after = {"apiVersion": "v1", "kind": "Secret", "data": {"a": "czNjcmV0"}, "type": "x"}

    text = compare(before, after, masker=Masker()).text()
    assert "s3cret" not in text
    assert "czNjcmV0" not in text
    assert '+ /type: "x"' in text


def test_long_values_are_clipped() -> None:
    text = compare(_obj("a"), _obj("b" * 5000), masker=Masker()).text()

    assert len(text) < 300


def test_what_a_secret_value_replaces_was_one_too() -> None:
    """Nobody tells what a Secret had before, but what is in its place now tells enough."""
    masker = Masker(["new-password"])
    before = {"data": {"password": "old-password", "conf": "a=1 p=new-password"}}
    after = {"data": {"password": "new-password", "conf": "a=2 p=new-password"}}
    text = compare(before, after, masker=masker).text()

    assert "password" not in text.replace("/data/password", "")
    assert "~ /data/password" in text
    assert '"a=1 p=***" -> "a=2 p=***"' in text
