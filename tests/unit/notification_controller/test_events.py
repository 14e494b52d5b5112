"""Events: what is read, what is kept, what is the same, and which Alert is for what."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from clouds.clocks import TwoClocks
from fluvial.api.codec import decode
from fluvial.api.notification import Alert
from notification_controller.alert.matching import match
from notification_controller.alert.merging import merge
from notification_controller.alert.rules import is_for
from notification_controller.event.limiter import EventLimiter
from notification_controller.event.model import Event, InvalidEvent, read_event

GROUP = "kustomize.toolkit.fluxcd.io"
SHA = "0123456789abcdef0123456789abcdef01234567"


def event(**fields: Any) -> Event:
    body = {
        "involvedObject": {
            "apiVersion": f"{GROUP}/v1",
            "kind": "Kustomization",
            "name": "app",
            "namespace": "team",
            "uid": "u",
        },
        "severity": "info",
        "timestamp": "2026-11-23T10:00:00Z",
        "message": "Reconciliation finished",
        "reason": "ReconciliationSucceeded",
        "reportingController": "kustomize-controller",
    } | fields
    return read_event(orjson.dumps(body))


def alert(**spec: Any) -> Alert:
    fields = {
        "providerRef": {"name": "chat"},
        "eventSources": [{"kind": "Kustomization", "name": "*"}],
    } | spec
    return decode({"metadata": {"name": "a", "namespace": "team"}, "spec": fields}, Alert)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"{}",
        b"[" * 10_000,
        b'{"involvedObject":' * 10_000,
        b'{"involvedObject":{},"severity":"info","timestamp":"","message":"","reason":""}',
        b'{"involvedObject":{"kind":"K","name":"n"},"severity":1,"timestamp":"","message":"","reason":""}',
        b'{"involvedObject":{"kind":"K","name":"n"},"severity":"info","message":"","reason":""}',
    ],
)
def test_what_is_no_event_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidEvent, match="not an event"):
        read_event(body)


def test_only_facts_for_others_are_kept() -> None:
    metadata = {
        f"{GROUP}/revision": "main@sha1:x",
        f"{GROUP}/Checksum": "x",
        f"{GROUP}/digest": "x",
        "event.toolkit.fluxcd.io/commit": SHA,
        "other.example.com/x": "x",
        "plain": "x",
    }

    assert event(metadata=metadata).cleaned().metadata == {
        f"{GROUP}/revision": "main@sha1:x",
        "event.toolkit.fluxcd.io/commit": SHA,
    }


@pytest.mark.parametrize(
    ("fields", "same"),
    [
        ({"severity": "error"}, True),
        ({"reason": "Other"}, True),
        ({"metadata": {f"{GROUP}/other": "x"}}, True),
        ({"message": "other"}, False),
        ({"metadata": {f"{GROUP}/revision": "x"}}, False),
        ({"metadata": {f"{GROUP}/originRevision": "x"}}, False),
        ({"metadata": {f"{GROUP}/token": "x"}}, False),
        ({"involvedObject": {"kind": "Kustomization", "name": "b", "namespace": "team"}}, False),
    ],
)
def test_what_is_the_same_event(fields: dict[str, Any], *, same: bool) -> None:
    assert (event(**fields).identity() == event().identity()) is same


def test_the_token_tells_events_apart_and_is_not_told() -> None:
    told = event(metadata={f"{GROUP}/token": "x", f"{GROUP}/revision": "r"}).without_token()

    assert told.metadata == {f"{GROUP}/revision": "r"}


def test_an_event_is_told_once_in_a_window_that_does_not_slide() -> None:
    clock = TwoClocks()
    limiter = EventLimiter(clock, 300)

    assert not limiter.see("a").known
    clock.step(200)
    again = limiter.see("a")
    assert (again.known, again.resets_in) == (True, 100)
    assert not limiter.see("b").known
    clock.step(101)
    assert not limiter.see("a").known
    assert limiter.see("b").known


@pytest.mark.parametrize(
    ("metadata", "commit"),
    [
        ({}, ""),
        ({f"{GROUP}/revision": f"main@sha1:{SHA}"}, SHA),
        ({f"{GROUP}/revision": f"sha1:{SHA}"}, SHA),
        ({f"{GROUP}/revision": f"main/{SHA}"}, SHA),
        ({f"{GROUP}/revision": "v1@sha256:abc"}, ""),
        ({f"{GROUP}/revision": "x", f"{GROUP}/originRevision": f"main@sha1:{SHA}"}, SHA),
        ({"event.toolkit.fluxcd.io/commit": SHA, f"{GROUP}/revision": "sha1:" + "f" * 40}, SHA),
    ],
)
def test_the_commit_of_an_event(metadata: dict[str, str], commit: str) -> None:
    assert event(metadata=metadata).commit() == commit


# --- Alerts -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spec",
    [
        {"suspend": True},
        {"eventSeverity": "error"},
        {"eventSources": [{"kind": "HelmRelease", "name": "*"}]},
        {"eventSources": [{"kind": "Kustomization", "name": "other"}]},
        {"eventSources": [{"kind": "Kustomization", "name": "*", "namespace": "other"}]},
        {"inclusionList": ["^failed", "x"]},
        {"inclusionList": ["("]},
        {"exclusionList": ["finished$"]},
        {"inclusionList": ["finished"], "exclusionList": ["finished"]},
    ],
)
def test_events_that_an_alert_is_not_for(spec: dict[str, Any]) -> None:
    assert not match(alert(**spec), event()).told


@pytest.mark.shows(
    "field:Alert/spec.suspend",
    "field:Alert/spec.eventSeverity",
    "field:Alert/spec.eventSources[].kind",
    "field:Alert/spec.eventSources[].name",
    "field:Alert/spec.eventSources[].namespace",
    "field:Alert/spec.inclusionList[]",
    "field:Alert/spec.exclusionList[]",
)
@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"eventSources": [{"kind": "Kustomization", "name": "app", "namespace": "team"}]},
        {"inclusionList": ["x", "fin.*ed"]},
        {"exclusionList": ["FINISHED", "("]},
    ],
)
def test_events_that_an_alert_is_for(spec: dict[str, Any]) -> None:
    assert match(alert(**spec), event()).told


def test_errors_are_told_by_an_alert_for_errors_and_by_one_for_everything() -> None:
    assert match(alert(eventSeverity="error"), event(severity="error")).told
    assert match(alert(), event(severity="error")).told


def test_expressions_that_are_none_are_named() -> None:
    found = match(alert(inclusionList=["(", "finished"], exclusionList=["[z"]), event())

    assert found.told
    assert [text.partition(":")[0] for text in found.invalid] == ["'('", "'[z'"]


def test_an_expression_that_would_take_for_ever_does_not() -> None:
    text = "a" * 30_000 + "!"

    assert not match(alert(inclusionList=["^(a+)+$"]), event(message=text)).told


def test_labels_are_needed_only_where_every_source_that_fits_has_some() -> None:
    labelled = {"kind": "Kustomization", "name": "*", "matchLabels": {"app": "x"}}
    any_of_them = {"kind": "Kustomization", "name": "app"}

    assert match(alert(eventSources=[labelled]), event()).labels == ({"app": "x"},)
    assert match(alert(eventSources=[labelled, any_of_them]), event()).labels == ()


@pytest.mark.shows("field:Alert/spec.eventMetadata", "field:Alert/spec.summary")
def test_facts_from_weak_to_strong() -> None:
    metadata = {
        "event.toolkit.fluxcd.io/a": "object",
        "event.toolkit.fluxcd.io/b": "object",
        "event.toolkit.fluxcd.io/summary": "object",
        f"{GROUP}/revision": "controller",
    }
    added = {"b": "alert", "c": "alert", "summary": "alert", "revision": "alert"}
    merged = merge(event(metadata=metadata), alert(eventMetadata=added, summary="summary"))

    assert merged.event.metadata == {
        "a": "object",
        "b": "alert",
        "c": "alert",
        "revision": "controller",
        "summary": "summary",
    }
    assert sorted(merged.conflicts) == ["b", "revision", "summary"]


@pytest.mark.parametrize(
    ("type_", "fields", "is_told"),
    [
        ("slack", {}, True),
        ("slack", {"metadata": {f"{GROUP}/commit_status": "update"}}, False),
        ("generic", {"metadata": {f"{GROUP}/commit_status": "update"}}, True),
        ("github", {}, False),
        ("github", {"severity": "error"}, True),
        ("github", {"metadata": {f"{GROUP}/commit_status": "update"}}, True),
        ("github", {"metadata": {"event.toolkit.fluxcd.io/commit": SHA}}, True),
        ("githubpullrequestcomment", {"severity": "error"}, False),
        (
            "githubpullrequestcomment",
            {"metadata": {"event.toolkit.fluxcd.io/change_request": "7"}},
            True,
        ),
    ],
)
def test_what_a_type_of_provider_is_for(
    type_: str, fields: dict[str, Any], *, is_told: bool
) -> None:
    assert is_for(type_, event(**fields)) is is_told
