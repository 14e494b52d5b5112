"""What a CRD says beyond its fields."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from fluvial.api import crd
from fluvial.api.meta import Model
from fluvial.kube import kinds
from fluvial.kube.resource import Resource

_BY_NAME = {kind.model.__name__: crd.crd(kind) for kind in crd.KINDS}
_EVERY = pytest.mark.parametrize("definition", _BY_NAME.values(), ids=_BY_NAME.keys())


def _schemas(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield schema
    for child in schema.get("properties", {}).values():
        yield from _schemas(child)
    for key in ("items", "additionalProperties"):
        if key in schema:
            yield from _schemas(schema[key])


@_EVERY
def test_schema_is_structural(definition: dict[str, Any]) -> None:
    root = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for schema in _schemas(root):
        if schema.get("x-kubernetes-preserve-unknown-fields"):
            continue  # of any type
        assert schema["type"] in {"object", "array", "string", "integer", "boolean"}
        assert not {"$ref", "title", "anyOf", "nullable"} & schema.keys()
        assert not ("properties" in schema and "additionalProperties" in schema)


@_EVERY
def test_tools_of_flux_find_the_definition(definition: dict[str, Any]) -> None:
    labels = definition["metadata"]["labels"]

    assert labels["app.kubernetes.io/part-of"] == "flux"
    assert "kustomize.toolkit.fluxcd.io/namespace" not in labels


_WITHOUT_STATUS = {"apiVersion", "kind", "metadata", "spec"}


@_EVERY
def test_a_new_object_is_in_progress_until_its_first_reconcile(definition: dict[str, Any]) -> None:
    version = definition["spec"]["versions"][0]
    if definition["spec"]["names"]["kind"] in {"Alert", "Provider"}:
        assert "subresources" not in version
        assert set(version["schema"]["openAPIV3Schema"]["properties"]) == _WITHOUT_STATUS
        return
    status = version["schema"]["openAPIV3Schema"]["properties"]["status"]
    # The statuses of these have no generation.
    without = definition["spec"]["names"]["kind"] in {"ArtifactGenerator", "ExternalArtifact"}

    assert status.get("default") == (None if without else {"observedGeneration": -1})
    assert version["subresources"] == {"status": {}}


@pytest.mark.parametrize(
    ("kind", "resource", "short_names", "categories", "columns"),
    [
        (
            "GitRepository",
            kinds.GIT_REPOSITORY,
            ["gitrepo"],
            ["all", "fluxcd", "fluxcd-sources"],
            ["URL", "Age", "Ready", "Status"],
        ),
        (
            "Kustomization",
            kinds.KUSTOMIZATION,
            ["ks"],
            ["all", "fluxcd", "fluxcd-appliers"],
            ["Age", "Ready", "Status"],
        ),
        (
            "HelmRelease",
            kinds.HELM_RELEASE,
            ["hr"],
            ["all", "fluxcd", "fluxcd-appliers"],
            ["Age", "Ready", "Status"],
        ),
        (
            "ExternalArtifact",
            kinds.EXTERNAL_ARTIFACT,
            ["ea"],
            ["all", "fluxcd", "fluxcd-sources"],
            ["Age", "Ready", "Status", "Source"],
        ),
        (
            "ArtifactGenerator",
            kinds.ARTIFACT_GENERATOR,
            ["ag"],
            ["all", "fluxcd", "fluxcd-sources"],
            ["Age", "Ready", "Status"],
        ),
    ],
    ids=["GitRepository", "Kustomization", "HelmRelease", "ExternalArtifact", "ArtifactGenerator"],
)
def test_names_and_columns(
    kind: str,
    resource: Resource,
    short_names: list[str],
    categories: list[str],
    columns: list[str],
) -> None:
    spec = _BY_NAME[kind]["spec"]
    (version,) = spec["versions"]

    assert (spec["group"], version["name"], spec["names"]["plural"], spec["names"]["kind"]) == (
        resource.group,
        resource.version,
        resource.plural,
        resource.kind,
    )
    assert _BY_NAME[kind]["metadata"]["name"] == resource.group_resource
    assert spec["names"]["shortNames"] == short_names
    assert spec["names"]["categories"] == categories
    assert [column["name"] for column in version["additionalPrinterColumns"]] == columns


def test_only_the_kustomization_definition_is_kept_from_substitution() -> None:
    name = "kustomize.toolkit.fluxcd.io/substitute"

    assert _BY_NAME["Kustomization"]["metadata"]["annotations"] == {name: "disabled"}
    assert "annotations" not in _BY_NAME["GitRepository"]["metadata"]


def test_a_field_of_several_types_is_refused() -> None:
    class Ambiguous(Model, kw_only=True, frozen=True):
        value: int | str

    with pytest.raises(TypeError, match="one type"):
        crd.schema_of(Ambiguous)
