"""Field managers are taken over by set union."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluvial.apply.managers import cleanup_patch, take_over, union_fields

OURS = "kustomize-controller"
FIELDS = st.recursive(
    st.just({}),
    lambda inner: st.dictionaries(st.sampled_from(["f:a", "f:b", 'k:{"n":1}', "."]), inner),
    max_leaves=12,
).map(lambda tree: _valid(tree, root=True))


def _valid(tree: dict[str, Any], *, root: bool = False) -> dict[str, Any]:
    """As the API server writes sets: ``.`` is a leaf, never alone and not at the root."""
    children = {key: _valid(child) for key, child in tree.items() if key != "."}
    if "." in tree and children and not root:
        return {".": {}, **children}
    return children


def _paths(fields: dict[str, Any], prefix: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    """The set that a FieldsV1 value stands for."""
    found: set[tuple[str, ...]] = set()
    for key, child in fields.items():
        if key == ".":
            found.add(prefix)
            continue
        if not child:
            found.add((*prefix, key))
        found |= _paths(child, (*prefix, key))
    return found


@given(FIELDS, FIELDS)
def test_union_is_the_union_of_the_sets(left: dict[str, Any], right: dict[str, Any]) -> None:
    assert _paths(union_fields(left, right)) == _paths(left) | _paths(right)


@given(FIELDS)
def test_union_with_itself_is_itself(fields: dict[str, Any]) -> None:
    assert union_fields(fields, fields) == fields


def _entry(manager: str, operation: str = "Update", **more: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {"f:data": {f"f:{manager}": {}}}
    return {"manager": manager, "operation": operation, "fieldsV1": fields, **more}


@pytest.mark.parametrize(
    ("manager", "operation"),
    [
        ("kubectl-client-side-apply", "Update"),
        ("kubectl", "Apply"),
        ("kubectl-edit", "Update"),
        ("before-first-apply", "Update"),
        ("kustomize-controller", "Update"),
        ("kustomize-controller-old", "Update"),
    ],
)
def test_merged_into_our_entry_which_moves_to_the_end(manager: str, operation: str) -> None:
    ours = _entry(OURS, "Apply", time="t")
    other = _entry("controller")

    result = take_over([ours, _entry(manager, operation), other], field_manager=OURS)

    assert result is not None
    fields: dict[str, Any] = {"f:data": {f"f:{OURS}": {}, f"f:{manager}": {}}}
    assert result == [other, {**ours, "fieldsV1": fields}]


@pytest.mark.parametrize(
    "entry",
    [
        _entry("flux-client-side-apply"),
        _entry("before-first-apply", "Apply"),
        _entry("kubectl", "Update", subresource="status"),
        _entry("kube-controller-manager"),
        _entry("gotk-kustomize-controller"),
        _entry(OURS, "Apply"),
    ],
    ids=lambda entry: f"{entry['manager']}-{entry['operation']}",
)
def test_others_stay(entry: dict[str, Any]) -> None:
    assert take_over([entry], field_manager=OURS) is None


def test_first_is_renamed_where_we_have_none() -> None:
    first, second = _entry("kubectl-create"), _entry("kubectl-edit")

    assert take_over([first, second], field_manager=OURS) == [
        {
            "manager": OURS,
            "operation": "Apply",
            "fieldsV1": {"f:data": {"f:kubectl-create": {}, "f:kubectl-edit": {}}},
        }
    ]


def test_override_managers_are_prefixes_for_both_operations() -> None:
    for operation in ("Apply", "Update"):
        result = take_over(
            [_entry("argocd-application", operation)],
            field_manager=OURS,
            override_managers=["argocd"],
        )
        assert result is not None
        assert result[0]["manager"] == OURS


def test_patch_removes_book_keeping_under_the_version_that_was_read() -> None:
    live = {
        "metadata": {
            "resourceVersion": "7",
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "keep": "x"},
            "labels": {"fluxcd.io/sync-gc-mark": "y"},
            "managedFields": [_entry(OURS, "Apply")],
        }
    }

    assert cleanup_patch(live, field_manager=OURS) == (
        {
            "op": "remove",
            "path": "/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration",
        },
        {"op": "remove", "path": "/metadata/labels/fluxcd.io~1sync-gc-mark"},
        {"op": "replace", "path": "/metadata/resourceVersion", "value": "7"},
    )


def test_nothing_to_clean_no_patch() -> None:
    live = {"metadata": {"resourceVersion": "7", "managedFields": [_entry(OURS, "Apply")]}}

    assert cleanup_patch(live, field_manager=OURS) == ()
