"""From an object and its newest record to the facts that decide."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import pytest

from fluvial.api.codec import decode, encode
from fluvial.api.helm import HelmRelease
from fluvial.helm import digests, goyaml, observing
from fluvial.helm.facts import Drift, Kind, Target
from fluvial.helm.history import snapshot_of
from fluvial.helm.observing import Wanted, attempts_of, moved_from, observe, reset_reason
from fluvial.helm.release import ChartMetadata, Info, Release, Status

_VALUES = {"a": 1}
_WANTED = Wanted("chart", "1.0.0", _VALUES)
_LAST = Release(
    name="app",
    namespace="apps",
    version=2,
    info=Info(status="deployed", last_deployed="2026-01-02T03:04:05Z"),
    metadata=ChartMetadata(name="chart", version="1.0.0"),
    config=_VALUES,
)
_COMMON = {"labels": {"a": "b"}}


def _object(
    spec: dict[str, Any] | None = None, annotations: dict[str, str] | None = None, **status: Any
) -> HelmRelease:
    known: dict[str, Any] = {
        "observedGeneration": 3,
        "storageNamespace": "apps",
        "history": [encode(snapshot_of(_LAST))],
    }
    metadata = {
        "name": "app",
        "namespace": "apps",
        "generation": 3,
        "annotations": annotations or {},
    }
    obj = {
        "metadata": metadata,
        "spec": {"interval": "5m", **(spec or {})},
        "status": known | status,
    }
    return decode(obj, HelmRelease)


def test_what_is_as_wanted_has_no_difference() -> None:
    facts = observe(_object(), _LAST, _WANTED, drift=Drift.NONE, target=Target.INTACT)

    assert (facts.last, facts.unobserved, facts.difference) == (Status.DEPLOYED, "", "")
    assert (facts.drift, facts.target) == (Drift.NONE, Target.INTACT)
    assert [one.version for one in facts.history] == [2]


def test_without_a_record_there_is_nothing_to_compare() -> None:
    facts = observe(_object(), None, _WANTED)

    assert facts.last is None
    assert facts.difference == ""


def test_snapshots_are_sorted_before_they_are_looked_at() -> None:
    old = snapshot_of(msgspec.structs.replace(_LAST, version=1))
    release = _object(history=[encode(old), encode(snapshot_of(_LAST))])

    assert observe(release, _LAST, _WANTED).unobserved == ""


@pytest.mark.parametrize(
    ("last", "wanted", "obj", "unobserved", "difference"),
    [
        ({"version": 3}, {}, {}, "release not observed to be made for object", ""),
        ({}, {"chart_version": "1.0.1"}, {}, "", "release chart changed"),
        ({}, {"chart_name": "other"}, {}, "", "release chart changed"),
        ({}, {"values": {"a": 2}}, {}, "", "release config values changed"),
        ({}, {}, {"observedGeneration": 2, "spec": {"commonMetadata": _COMMON}}, "", "common"),
        (
            {},
            {},
            {"observedGeneration": 2, "spec": {"postRenderers": [{"kustomize": {}}]}},
            "",
            "postrenderers",
        ),
        ({}, {}, {"spec": {"commonMetadata": _COMMON}}, "", ""),
        ({}, {}, {"observedGeneration": 2}, "", ""),
    ],
)
def test_differences_are_named(
    last: dict[str, Any],
    wanted: dict[str, Any],
    obj: dict[str, Any],
    unobserved: str,
    difference: str,
) -> None:
    record = msgspec.structs.replace(_LAST, **last)
    want = Wanted(**({"chart_name": "chart", "chart_version": "1.0.0", "values": _VALUES} | wanted))
    facts = observe(_object(**obj), record, want)

    assert facts.unobserved == unobserved
    assert facts.difference.startswith(difference)
    assert bool(facts.difference) is bool(difference)


def test_attempts_are_read_off_the_status() -> None:
    release = _object(lastAttemptedReleaseAction="upgrade", installFailures=1, upgradeFailures=2)
    attempts = attempts_of(release, forced=True, done=frozenset({Kind.TEST}))

    assert (attempts.last_action, attempts.install_failures, attempts.upgrade_failures) == (
        "upgrade",
        1,
        2,
    )
    assert attempts.forced
    assert attempts_of(_object(lastAttemptedReleaseAction="new"), forced=False).last_action == ""


@pytest.mark.parametrize(
    ("force", "reconcile", "handled", "reconciled", "requested"),
    [
        ("1", "1", "", "", True),
        ("", "", "", "", False),
        ("1", "2", "", "", False),
        ("1", "", "", "", False),
        ("1", "1", "1", "", False),
        ("1", "1", "", "1", False),
        ("2", "2", "1", "1", True),
    ],
)
def test_requests_are_acted_on_once(
    force: str,
    reconcile: str,
    handled: str,
    reconciled: str,
    requested: bool,  # noqa: FBT001 - a table
) -> None:
    annotations = {
        observing.FORCE_REQUEST: force,
        "reconcile.fluxcd.io/requestedAt": reconcile,
    }
    release = _object(annotations=annotations, lastHandledReconcileAt=reconciled)

    assert observing.is_requested(release, observing.FORCE_REQUEST, handled=handled) is requested


_TRIED: dict[str, Any] = {
    "lastAttemptedGeneration": 3,
    "lastAttemptedRevision": "1.0.0",
    "lastAttemptedConfigDigest": digests.config_digest(_VALUES),
}
_RESET = {observing.RESET_REQUEST: "1", "reconcile.fluxcd.io/requestedAt": "1"}
_SHA1 = hashlib.sha1(goyaml.dumps(_VALUES), usedforsecurity=False).hexdigest()


@pytest.mark.parametrize(
    ("status", "annotations", "reason"),
    [
        ({}, {}, ""),
        ({"lastAttemptedGeneration": 2}, {}, "generation"),
        ({"lastAttemptedRevision": "0.9.0"}, {}, "chart version"),
        ({"lastAttemptedConfigDigest": digests.config_digest({})}, {}, "values"),
        ({"lastAttemptedConfigDigest": ""}, {}, ""),
        ({"lastAttemptedConfigDigest": "", "lastAttemptedValuesChecksum": _SHA1}, {}, ""),
        ({"lastAttemptedConfigDigest": "", "lastAttemptedValuesChecksum": "0" * 40}, {}, "values"),
        ({}, _RESET, "reset"),
        ({"lastHandledResetAt": "1"}, _RESET, ""),
    ],
)
def test_failures_are_forgotten_when_something_is_new(
    status: dict[str, Any], annotations: dict[str, str], reason: str
) -> None:
    found = reset_reason(_object(annotations=annotations, **(_TRIED | status)), _WANTED)

    assert found.startswith(reason)
    assert bool(found) is bool(reason)


@pytest.mark.parametrize(
    ("spec", "chart", "status", "what"),
    [
        ({}, "chart", {}, ""),
        ({"storageNamespace": "store"}, "chart", {}, "storage namespace"),
        ({"targetNamespace": "web", "releaseName": "app"}, "chart", {}, "release namespace"),
        ({"releaseName": "other"}, "chart", {}, "release name"),
        ({}, "other", {}, "chart name"),
        ({"upgrade": {"chartNameChangeStrategy": "InPlaceUpdate"}}, "other", {}, ""),
        ({"upgrade": {"chartNameChangeStrategy": "Reinstall"}}, "other", {}, "chart name"),
        ({"releaseName": "other"}, "chart", {"history": []}, ""),
        ({"releaseName": "other"}, "chart", {"storageNamespace": ""}, ""),
    ],
)
def test_a_release_that_moves_is_uninstalled_first(
    spec: dict[str, Any], chart: str, status: dict[str, Any], what: str
) -> None:
    assert moved_from(_object(spec=spec, **status), chart) == what
