"""Reading names and identities from plain objects."""

from __future__ import annotations

import pytest

from fluvial.objects import (
    GroupVersionKind,
    JsonObject,
    ObjectKey,
    ObjectRef,
    annotations_of,
    gvk_of,
    key_of,
    labels_of,
    ref_of,
    split_api_version,
)

DEPLOYMENT: JsonObject = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {
        "namespace": "ns",
        "name": "web",
        "labels": {"app": "web"},
        "annotations": {"note": "x"},
    },
}


@pytest.mark.parametrize(
    ("api_version", "parts"), [("v1", ("", "v1")), ("apps/v1", ("apps", "v1")), ("", ("", ""))]
)
def test_an_api_version_has_a_group_and_a_version(api_version: str, parts: tuple[str, str]) -> None:
    assert split_api_version(api_version) == parts


def test_everything_is_read() -> None:
    assert gvk_of(DEPLOYMENT) == GroupVersionKind("apps", "v1", "Deployment")
    assert gvk_of(DEPLOYMENT).api_version == "apps/v1"
    assert key_of(DEPLOYMENT) == ObjectKey("ns", "web")
    assert ref_of(DEPLOYMENT) == ObjectRef("apps", "Deployment", "ns", "web")
    assert labels_of(DEPLOYMENT) == {"app": "web"}
    assert annotations_of(DEPLOYMENT) == {"note": "x"}


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"metadata": None},
        {"metadata": {"labels": None, "annotations": None, "name": None}},
        {"apiVersion": None, "kind": None},
    ],
    ids=["empty", "no-metadata", "nulls", "no-kind"],
)
def test_missing_parts_are_empty(broken: JsonObject) -> None:
    assert ref_of(broken) == ObjectRef("", "", "", "")
    assert labels_of(broken) == {}
    assert annotations_of(broken) == {}


def test_objects_are_printed_as_flux_prints_them() -> None:
    assert str(ref_of(DEPLOYMENT)) == "Deployment/ns/web"
    assert str(ObjectRef("", "Namespace", "", "ns")) == "Namespace/ns"
    assert GroupVersionKind("", "v1", "Pod").api_version == "v1"
