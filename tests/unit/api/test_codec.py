"""Objects become models, or errors that name the field."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from fluvial.api import codec, kustomize, meta, source

_KUSTOMIZATION: dict[str, Any] = {
    "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
    "kind": "Kustomization",
    "metadata": {"name": "apps", "namespace": "team", "managedFields": [{"manager": "x"}]},
    "spec": {
        "interval": "10m",
        "prune": True,
        "sourceRef": {"kind": "GitRepository", "name": "apps"},
    },
}


def _with(**spec: Any) -> dict[str, Any]:
    obj = copy.deepcopy(_KUSTOMIZATION)
    obj["spec"] |= spec
    return obj


def test_camel_case_becomes_snake_case() -> None:
    obj = _with(dependsOn=[{"name": "a", "readyExpr": "true"}], targetNamespace="prod")

    spec = codec.decode(obj, kustomize.Kustomization).spec

    assert spec.depends_on == (kustomize.DependencyReference(name="a", ready_expr="true"),)
    assert spec.target_namespace == "prod"
    assert spec.prune is True


def test_unknown_fields_and_nulls_are_ignored() -> None:
    obj = _with(path=None, timeout=None, validation="client")
    obj["metadata"]["labels"] = None

    decoded = codec.decode(obj, kustomize.Kustomization)

    assert decoded.spec.path == ""
    assert decoded.metadata.labels == {}
    assert decoded.status == kustomize.KustomizationStatus()


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({"interval": 10}, "spec.interval"),
        ({"interval": "10"}, "spec.interval"),
        ({"prune": "yes"}, "spec.prune"),
        ({"sourceRef": {"kind": "Chart", "name": "x"}}, "spec.sourceRef.kind"),
        ({"dependsOn": [{"name": "a"}, {}]}, "spec.dependsOn[1]"),
        ({"targetNamespace": ""}, "spec.targetNamespace"),
        ({"postBuild": {"substitute": {"a": 1}}}, "spec.postBuild.substitute[...]"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_wrong_is_named_with_its_path(spec: dict[str, Any], path: str) -> None:
    with pytest.raises(codec.InvalidObject) as caught:
        codec.decode(_with(**spec), kustomize.Kustomization)

    assert caught.value.path == path
    assert str(caught.value).startswith(f"invalid Kustomization team/apps: {path}: ")


def test_a_missing_spec_is_an_error_of_the_object() -> None:
    with pytest.raises(codec.InvalidObject, match="spec") as caught:
        codec.decode({"kind": "Kustomization", "metadata": {"name": "a"}}, kustomize.Kustomization)

    assert caught.value.path == ""


def test_values_do_not_appear_in_errors() -> None:
    obj = _with(postBuild={"substitute": {"token": ["hunter2"]}})

    with pytest.raises(codec.InvalidObject) as caught:
        codec.decode(obj, kustomize.Kustomization)

    assert "hunter2" not in str(caught.value)


def test_status_bounds_never_make_an_object_unreadable() -> None:
    obj = copy.deepcopy(_KUSTOMIZATION)
    obj["status"] = {
        "conditions": [
            {
                "type": "Ready",
                "status": "True",
                "reason": "",
                "message": "",
                "lastTransitionTime": "?",
            }
        ]
    }

    assert codec.decode(obj, kustomize.Kustomization).status.conditions[0].reason == ""


def test_encoding_leaves_defaults_out_and_comes_back_equal() -> None:
    status = source.GitRepositoryStatus(
        observed_generation=3,
        artifact=meta.Artifact(
            digest="sha256:00",
            last_update_time="2026-01-01T00:00:00Z",
            path="a/b.tar.gz",
            revision="main@sha1:0",
            size=1,
            url="http://x/a/b.tar.gz",
        ),
    )

    encoded = codec.encode(status)

    assert sorted(encoded) == ["artifact", "observedGeneration"]
    assert codec.decode(encoded, source.GitRepositoryStatus) == status


@pytest.mark.parametrize(
    ("spec", "retry", "timeout"),
    [
        ({}, 600.0, 570.0),
        ({"retryInterval": "1m", "timeout": "5m"}, 60.0, 300.0),
        ({"interval": "40s"}, 40.0, 30.0),
        ({"timeout": "5s"}, 600.0, 30.0),
    ],
    ids=["defaults", "set", "floor-of-default", "floor-of-set"],
)
def test_intervals(spec: dict[str, Any], retry: float, timeout: float) -> None:
    decoded = codec.decode(_with(**spec), kustomize.Kustomization).spec

    assert decoded.retry_seconds == retry
    assert decoded.timeout_seconds == timeout


def test_unsupported_fields_are_those_that_are_set() -> None:
    obj = _with(
        decryption={"provider": "sops"},
        ignore=[],
        dependsOn=[{"name": "a"}, {"name": "b", "readyExpr": "true"}],
        buildMetadata=["originAnnotations"],
    )
    refused = (
        "spec.decryption",
        "spec.ignore",
        "spec.dependsOn[].readyExpr",
        "spec.healthCheckExprs",
        "spec.buildMetadata[]=originAnnotations",
        "spec.buildMetadata[]=transformerAnnotations",
    )

    assert codec.unsupported_fields(obj, refused) == (
        "spec.decryption",
        "spec.dependsOn[].readyExpr",
        "spec.buildMetadata[]=originAnnotations",
    )


def test_encoding_what_was_decoded_gives_what_the_server_answered() -> None:
    """Lists stay lists: a tuple differs from every list, and a difference is a write."""
    status = {
        "inventory": {"entries": [{"id": "team_app_apps_Deployment", "v": "v1"}]},
        "conditions": [
            {
                "type": "Ready",
                "status": "True",
                "reason": "ReconciliationSucceeded",
                "message": "",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }
        ],
    }

    assert codec.encode(codec.decode(status, kustomize.KustomizationStatus)) == status
