"""Inventory ids read back as the object, and operations keep the order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluvial.apply import Entry, InvalidEntry, Inventory, decode_id, encode_id
from fluvial.objects import ObjectRef

RBAC = "rbac.authorization.k8s.io"
LABEL = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,8}[a-z0-9])?", fullmatch=True)
NAME = st.from_regex(r"[a-z0-9]([-.a-z0-9]{0,8}[a-z0-9])?", fullmatch=True)
KIND = st.from_regex(r"[A-Z][A-Za-z0-9]{0,10}", fullmatch=True)


@pytest.mark.parametrize(
    ("ref", "text"),
    [
        (ObjectRef("", "Service", "default", "podinfo"), "default_podinfo__Service"),
        (ObjectRef(RBAC, "ClusterRole", "", "x"), f"_x_{RBAC}_ClusterRole"),
        (ObjectRef(RBAC, "ClusterRole", "", "a:b:c"), f"_a__b__c_{RBAC}_ClusterRole"),
        (ObjectRef("apps", "Deployment", "a", "b.c"), "a_b.c_apps_Deployment"),
    ],
    ids=["core group", "cluster scope", "rbac colons", "dotted"],
)
def test_id_as_flux_writes_it(ref: ObjectRef, text: str) -> None:
    assert encode_id(ref) == text
    assert decode_id(text) == ref


@given(st.builds(ObjectRef, st.just("") | NAME, KIND, st.just("") | LABEL, NAME))
def test_every_usual_object_reads_back(ref: ObjectRef) -> None:
    assert decode_id(encode_id(ref)) == ref


@given(
    st.builds(
        ObjectRef,
        st.just(RBAC),
        st.sampled_from(["Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"]),
        st.just("") | LABEL,
        st.text("ab:_-.", min_size=1, max_size=8),
    )
)
def test_rbac_names_read_back_or_are_refused(ref: ObjectRef) -> None:
    """A name that would be pruned as another object's is never recorded."""
    try:
        text = encode_id(ref)
    except InvalidEntry:
        return
    assert decode_id(text) == ref


@pytest.mark.parametrize("text", ["", "a", "a_b", "a_b_c", "___", "ns__group_Kind", "ns_name_g_"])
def test_unreadable_id_is_refused(text: str) -> None:
    with pytest.raises(InvalidEntry, match="invalid inventory id"):
        decode_id(text)


@pytest.mark.parametrize("name", ["a__b", "a:__b", "a_:"])
def test_ambiguous_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidEntry, match="rename the object"):
        encode_id(ObjectRef(RBAC, "Role", "ns", name))


def test_underscores_matter_only_where_they_read_differently() -> None:
    assert encode_id(ObjectRef(RBAC, "Role", "ns", "a_b")) == f"ns_a_b_{RBAC}_Role"
    with pytest.raises(InvalidEntry):
        encode_id(ObjectRef("", "ConfigMap", "ns", "a__b"))


def test_union_keeps_order_and_takes_the_newer_version() -> None:
    old = Inventory((Entry("a", "v1"), Entry("b", "v1beta1")))
    union = old.union([Entry("c", "v1"), Entry("b", "v1")])

    assert union.entries == (Entry("a", "v1"), Entry("b", "v1"), Entry("c", "v1"))


def test_subtract_ignores_versions() -> None:
    old = Inventory((Entry("a", "v1"), Entry("b", "v1beta1")))

    assert old.subtract([Entry("b", "v1")]).entries == (Entry("a", "v1"),)


@given(st.lists(st.sampled_from("abcdef")), st.lists(st.sampled_from("abcdef")))
def test_union_loses_nothing_and_repeats_nothing(left: list[str], right: list[str]) -> None:
    first = Inventory.of(Entry(name, "v1") for name in left)
    second = Inventory.of(Entry(name, "v1") for name in right)
    union = first.union(second)

    assert union.ids() == first.ids() | second.ids()
    assert len(union) == len(union.ids())
    assert union.entries[: len(first)] == first.entries
    assert union.subtract(second).ids() == first.ids() - second.ids()


def test_status_round_trip() -> None:
    status = {"entries": [{"id": "a_b__Service", "v": "v1"}, {"id": "_c__Namespace", "v": "v1"}]}

    assert Inventory.from_status(status).to_status() == status
    assert len(Inventory.from_status(None)) == 0
    assert Inventory.from_status({"entries": None}).to_status() == {"entries": []}
