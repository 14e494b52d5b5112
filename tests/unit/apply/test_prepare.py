"""The desired set: labelled, or refused with every reason."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluvial.apply import FailureReason, InvalidDesired, Owner, prepare, prepare_set, stages
from fluvial.apply.locate import Assumed
from fluvial.apply.policy import has_ttl

GROUP = "kustomize.toolkit.fluxcd.io"
OWNER = Owner(GROUP, "Kustomization", "flux-system", "apps")


def _map(name: str = "a", **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "n", **metadata},
    }


def test_owner_labels_and_common_metadata_are_laid_over() -> None:
    obj = _map(labels={"team": "a", "keep": "x"}, annotations={"note": "1"})

    (result,) = prepare(
        [obj],
        owner=OWNER,
        common_labels={"team": "b"},
        common_annotations={"note": "2", "more": "3"},
    )

    assert result["metadata"]["labels"] == {
        "team": "b",
        "keep": "x",
        f"{GROUP}/name": "apps",
        f"{GROUP}/namespace": "flux-system",
    }
    assert result["metadata"]["annotations"] == {"note": "2", "more": "3"}
    assert obj["metadata"]["labels"] == {"team": "a", "keep": "x"}


@pytest.mark.parametrize("key", ["name", "namespace"])
def test_owner_label_of_a_manifest_is_refused(key: str) -> None:
    with pytest.raises(InvalidDesired, match=f"must not set {GROUP}/{key}=theirs") as caught:
        prepare([_map(labels={f"{GROUP}/{key}": "theirs"}), _map("b")], owner=OWNER)

    assert [one.reason for one in caught.value.failures] == [FailureReason.OWNER_LABEL]


def test_owner_label_of_common_metadata_is_refused() -> None:
    with pytest.raises(InvalidDesired, match=r"spec\.commonMetadata\.labels must not set"):
        prepare([_map()], owner=OWNER, common_labels={f"{GROUP}/name": "theirs"})


def test_own_owner_labels_are_no_harm() -> None:
    (result,) = prepare([_map(labels=dict(OWNER.labels))], owner=OWNER)

    assert OWNER.owns(result)


def test_every_refused_object_is_listed() -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s", "namespace": "n"},
        "sops": {"mac": "x"},
    }
    nameless = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "x-"}}

    with pytest.raises(InvalidDesired) as caught:
        prepare([_map(), _map(), secret, nameless], owner=OWNER)

    assert [one.reason for one in caught.value.failures] == [
        FailureReason.DUPLICATE,
        FailureReason.ENCRYPTED,
        FailureReason.INVALID,
    ]


def test_two_versions_of_one_object_are_one_object() -> None:
    first = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}}
    second = {**first, "apiVersion": "apps/v1beta1"}

    with pytest.raises(InvalidDesired, match="is there twice"):
        prepare([first, second], owner=OWNER)


def test_encrypted_secret_may_ask_not_to_be_decrypted() -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s", "annotations": {f"{GROUP}/decrypt": "Disabled"}},
        "sops": {"mac": "x"},
    }

    assert len(prepare([secret], owner=OWNER)) == 1


def test_name_that_the_inventory_cannot_hold_is_refused() -> None:
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "a__b"},
    }

    with pytest.raises(InvalidDesired, match="rename the object"):
        prepare([role], owner=OWNER)


async def test_large_sets_are_prepared_the_same_way() -> None:
    objects = [_map(f"m{number}") for number in range(100)]

    assert await prepare_set(objects, owner=OWNER) == prepare(objects, owner=OWNER)
    with pytest.raises(InvalidDesired, match="is there twice"):
        await prepare_set([*objects, objects[0]], owner=OWNER)


@pytest.mark.parametrize(
    "obj",
    [
        {},
        {"kind": "A", "apiVersion": "v1", "metadata": []},
        {"kind": "A", "apiVersion": "v1", "metadata": {"name": "a", "labels": ["x"]}},
        {"kind": "A", "apiVersion": "v1", "metadata": {"name": "a", "annotations": "x"}},
        {"kind": "A", "apiVersion": "v1", "metadata": {"name": "a"}, "spec": 2**70},
        {"kind": "A", "apiVersion": "v1", "metadata": {"name": "a"}, "spec": {1: 2}},
    ],
    ids=["empty", "metadata", "labels", "annotations", "huge", "keys"],
)
def test_misshapen_object_is_refused(obj: dict[str, Any]) -> None:
    with pytest.raises(InvalidDesired) as caught:
        prepare([obj], owner=OWNER)

    assert [one.reason for one in caught.value.failures] == [FailureReason.INVALID]


ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text("ab", max_size=2),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                ["spec", "data", "stringData", "ports", "names", "containers", "template", "labels"]
            ),
            inner,
        )
    ),
    max_leaves=10,
)


@given(
    st.sampled_from(
        [
            ("v1", "Secret"),
            ("v1", "Service"),
            ("apps/v1", "Deployment"),
            ("batch/v1", "Job"),
            ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
            ("x.io/v1", "Widget"),
        ]
    ),
    ODD,
    ODD,
)
def test_no_content_breaks_it(kind: tuple[str, str], spec: Any, data: Any) -> None:
    obj = {"apiVersion": kind[0], "kind": kind[1], "metadata": {"name": "a"}}
    body = {"spec": spec, "data": data, "stringData": spec}
    try:
        desired = prepare([{**obj, **body}], owner=OWNER)
    except InvalidDesired:
        return

    assert OWNER.owns(desired[0])
    assert len(stages(desired)) == 1
    assert len(Assumed.of(desired, applied=True).kinds) <= 1
    assert has_ttl(desired[0]) in {True, False}
