"""Flux objects found in public repositories fit the models and the schemas alike."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

import corpus
from fluvial.api import codec, crd

jsonschema = pytest.importorskip("jsonschema")

_KINDS = {kind.model.__name__: kind for kind in crd.KINDS}

_NOT_IN_THE_CORPUS = {"ArtifactGenerator"}
_ACCEPTED = {
    "Alert": 8,
    "Bucket": 16,
    "ExternalArtifact": 1,
    "GitRepository": 19,
    "HelmChart": 7,
    "HelmRelease": 205,
    "HelmRepository": 8,
    "Kustomization": 266,
    "OCIRepository": 18,
    "Provider": 11,
    "Receiver": 25,
}
# One repository has an scp-like address, one tells of a kind of another project: Flux's own
# definitions do not take these either.
_REFUSED = {
    "Alert": [
        "invalid Alert alertmanager: spec.eventSources[0].kind: Invalid enum value 'FluxInstance'"
    ]
    * 2,
    "Bucket": [],
    "ExternalArtifact": [],
    "GitRepository": [
        "invalid GitRepository flux-system/home-kubernetes: spec.url: Expected `str` matching regex '^(http|https|ssh)://.*$'"
    ],
    "HelmChart": [],
    "HelmRelease": [],
    "HelmRepository": [],
    "Kustomization": [],
    "OCIRepository": [],
    "Provider": [],
    "Receiver": [],
}


def _objects(kind: str) -> Iterator[dict[str, Any]]:
    """Objects of the served version; some are overlay patches, which lack required fields."""
    text = corpus.require("flux-crs", f"{kind}.yaml").read_text(encoding="utf-8")
    for part in re.split(r"^---\n(?=# source:)", text, flags=re.MULTILINE):
        obj = yaml.load(part, yaml.CSafeLoader) if part.strip() else None
        if obj and obj["apiVersion"].endswith(f"/{_KINDS[kind].version}"):
            yield obj


def _without_nulls(value: Any) -> Any:
    """The object as an API server looks at it: fields that are null are taken for missing."""
    if isinstance(value, dict):
        return {key: _without_nulls(one) for key, one in value.items() if one is not None}
    return [_without_nulls(one) for one in value] if isinstance(value, list) else value


@pytest.mark.parametrize("kind", sorted(_KINDS.keys() - _NOT_IN_THE_CORPUS))
def test_objects_are_accepted_unless_parts_are_missing_and_schemas_agree(kind: str) -> None:
    schema = crd.crd(_KINDS[kind])["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    validator = jsonschema.Draft202012Validator(schema)
    accepted = 0
    refused: list[str] = []
    disagree: list[str] = []
    for obj in _objects(kind):
        try:
            codec.decode(obj, _KINDS[kind].model)
            problem = ""
            accepted += 1
        except codec.InvalidObject as error:
            problem = str(error)
        if problem and "missing required field" not in problem:
            refused.append(problem)
        wrong = [error.message for error in validator.iter_errors(_without_nulls(obj))]
        if bool(problem) != bool(wrong) and obj.get("spec") is not None:
            disagree.append(f"{problem or 'accepted'} <> {wrong}")

    assert disagree == []
    assert refused == _REFUSED[kind]
    assert accepted == _ACCEPTED[kind]
