"""The HelmRelease model has the rules, defaults and names that Flux 2.9 has."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fluvial.api import crd
from fluvial.api.codec import InvalidObject, decode
from fluvial.api.helm import HelmRelease, short_release_name
from fluvial.api.helm_actions import InstallRemediation, UpgradeRemediation

_FACTS = json.loads(Path(__file__).with_name("helm-fields.json").read_text())


def _schema() -> dict[str, Any]:
    return crd.schema_of(HelmRelease)


def test_rules_are_where_flux_has_them() -> None:
    def places(schema: dict[str, Any], path: str) -> Iterator[str]:
        yield from [path] * len(schema.get("x-kubernetes-validations", ()))
        for name, child in schema.get("properties", {}).items():
            yield from places(child, f"{path}.{name}")

    assert sorted(places(_schema(), "")) == _FACTS["rules"]


def _release(**spec: Any) -> dict[str, Any]:
    metadata = {"name": "app", "namespace": "apps"}
    return {"kind": "HelmRelease", "metadata": metadata, "spec": {"interval": "5m", **spec}}


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({"interval": "soon"}, "spec.interval"),
        ({"releaseName": "x" * 54}, "spec.releaseName"),
        ({"targetNamespace": ""}, "spec.targetNamespace"),
        ({"driftDetection": {"mode": "maybe"}}, "spec.driftDetection.mode"),
        ({"waitStrategy": {}}, "spec.waitStrategy"),
        (
            {"valuesFrom": [{"kind": "Secret", "name": "x", "targetPath": "a,b"}]},
            "spec.valuesFrom[0].targetPath",
        ),
        (
            {"valuesFrom": [{"kind": "Secret", "name": "x", "valuesKey": "../x"}]},
            "spec.valuesFrom[0].valuesKey",
        ),
        ({"upgrade": {"crds": "Replace"}}, "spec.upgrade.crds"),
        ({"test": {"filters": [{"exclude": True}]}}, "spec.test.filters[0]"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_not_of_the_kind_is_named(spec: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidObject) as caught:
        decode(_release(**spec), HelmRelease)

    assert caught.value.path == path


def test_defaults_are_those_of_flux() -> None:
    release = decode(_release(), HelmRelease)

    assert release.spec.timeout_seconds == 300
    assert release.spec.history_limit == 5
    assert release.spec.interval_seconds == 300
    assert not release.spec.detects_drift
    assert (release.release_name, release.release_namespace, release.storage_namespace) == (
        "app",
        "apps",
        "apps",
    )


def test_a_history_without_limit_is_not_the_default() -> None:
    assert decode(_release(maxHistory=0), HelmRelease).spec.history_limit == 0


def test_the_target_namespace_is_part_of_the_default_name() -> None:
    release = decode(_release(targetNamespace="web", storageNamespace="store"), HelmRelease)

    assert release.release_name == "web-app"
    assert release.release_namespace == "web"
    assert release.storage_namespace == "store"


def test_long_names_are_cut_and_stay_apart() -> None:
    name = "a" * 54
    short = short_release_name(name)

    assert short == f"{'a' * 40}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"
    assert len(short) == 53
    assert short != short_release_name("a" * 55)
    assert short_release_name("a" * 53) == "a" * 53


@pytest.mark.parametrize(
    ("mode", "detects", "corrects"),
    [("enabled", True, True), ("warn", True, False), ("disabled", False, False)],
)
def test_modes_of_drift_detection(mode: str, detects: bool, corrects: bool) -> None:  # noqa: FBT001 - a table
    spec = decode(_release(driftDetection={"mode": mode}), HelmRelease).spec

    assert (spec.detects_drift, spec.corrects_drift) == (detects, corrects)


def test_an_upgrade_with_retries_undoes_its_last_failure() -> None:
    assert UpgradeRemediation(retries=1).remediates_last_failure
    assert not UpgradeRemediation().remediates_last_failure
    assert not UpgradeRemediation(retries=-1).remediates_last_failure
    assert UpgradeRemediation(remediate_last_failure=True).remediates_last_failure
    assert not InstallRemediation(retries=3).remediates_last_failure


def test_a_status_that_others_wrote_is_always_readable() -> None:
    status = {
        "observedGeneration": 3,
        "lastAttemptedReleaseAction": "something-new",
        "storageNamespace": "",
        "history": [
            {
                "digest": "sha256:1",
                "name": "app",
                "namespace": "apps",
                "version": 3,
                "status": "deployed",
                "chartName": "app",
                "chartVersion": "1.0.0",
                "configDigest": "sha256:2",
                "firstDeployed": "2026-01-01T00:00:00Z",
                "lastDeployed": "2026-01-01T00:00:00Z",
                "testHooks": {"t": {"lastStarted": None, "phase": "Succeeded"}},
            }
        ],
    }
    release = decode({**_release(), "status": status}, HelmRelease)

    hooks = release.status.history[0].test_hooks
    assert hooks is not None
    assert hooks["t"].phase == "Succeeded"
