"""Alerts that tell a failure once, and tell when it is over."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import Sequence
from typing import Any

import pytest

from clouds.clocks import TwoClocks
from harness.alerts import GROUP, Cluster, event, running, tell
from notification_controller.alert.failures import Failures, failure_key
from notification_controller.alert.wishes import Wishes, read_wishes
from notification_controller.event.model import Event

ONCE = {"fluvial.dev/failures": "once"}
TELL = {"fluvial.dev/recovery": "tell"}
BOTH = ONCE | TELL
WINDOW = {"fluvial.dev/group-window": "1m"}

FAIL = event("BuildFailed")
OTHER = event("HealthCheckFailed")
OK = event("ReconciliationSucceeded", metadata={f"{GROUP}/commit_status": "update"})
F, H = "BuildFailed: x", "HealthCheckFailed: x"
WELL = "ReconciliationSucceeded: recovered from BuildFailed after 0s: x"

# --- what is asked for --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("annotations", "wishes"),
    [
        ({}, Wishes()),
        ({"example.com/failures": "once", "fluvial.com/x": "y"}, Wishes()),
        (WINDOW, Wishes(window=60.0)),
        (BOTH, Wishes(once=True, recovery=True)),
        ({"fluvial.dev/failures": "each", "fluvial.dev/recovery": "off"}, Wishes()),
    ],
)
def test_annotations_that_say_something(annotations: dict[str, str], wishes: Wishes) -> None:
    assert read_wishes(annotations) == wishes


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("group-window", "", "must be a duration from 1s to 1h"),
        ("group-window", "60", "not '60'"),
        ("group-window", "-1m", "must be a duration"),
        ("group-window", "999ms", "must be a duration"),
        ("group-window", "61m", "must be a duration"),
        ("group-window", "x" * 9999, "must be a duration"),
        ("failures", "Once", "must be each or once, not 'Once'"),
        ("recovery", "true", "must be off or tell, not 'true'"),
        ("group", "1m", "is none of fluvial.dev/group-window, "),
    ],
)
def test_annotations_that_are_wrong_are_named_and_do_not_count(
    name: str, value: str, said: str
) -> None:
    wishes = read_wishes({f"fluvial.dev/{name}": value})
    (invalid,) = wishes.invalid

    assert not wishes.any
    assert invalid.startswith(f"annotation fluvial.dev/{name} ")
    assert said in invalid
    assert len(invalid) < 250


@pytest.mark.looptime
async def test_wrong_annotations_are_said_at_the_alert_and_the_event_is_told() -> None:
    cluster = Cluster({"fluvial.dev/recovery": "yes"})
    async with running(cluster) as telling:
        await tell(telling, FAIL, FAIL)

        assert telling.warned[0][0] == "InvalidConfig"
        assert "fluvial.dev/recovery must be off or tell, not 'yes'" in telling.warned[0][1]
        assert telling.told == [F, F]


@pytest.mark.looptime
@pytest.mark.parametrize("type_", ["github", "gitea"])
async def test_statuses_of_commits_are_never_held_back(type_: str) -> None:
    cluster = Cluster(BOTH | WINDOW, type_=type_)
    async with running(cluster) as telling:
        await tell(telling, FAIL, FAIL, OK)

        assert telling.told == [F, F, "ReconciliationSucceeded: x"]
        assert "is told of each commit" in telling.warned[0][1]


# --- failures and recoveries --------------------------------------------------------------------------


@pytest.mark.looptime
@pytest.mark.parametrize(
    ("annotations", "spec", "events", "told"),
    [
        pytest.param({}, {}, (FAIL, FAIL, OK, FAIL), [F, F, F], id="as in Flux"),
        pytest.param(ONCE, {}, (FAIL, FAIL, FAIL), [F], id="once"),
        pytest.param(ONCE, {}, (FAIL, event("BuildFailed", "y")), [F], id="in other words"),
        pytest.param(ONCE, {}, (FAIL, OTHER, OTHER), [F, H], id="until it changes"),
        pytest.param(ONCE, {}, (FAIL, OTHER, FAIL), [F, H, F], id="and changes back"),
        pytest.param(ONCE, {}, (FAIL, OK, FAIL), [F, F], id="or clears"),
        pytest.param(
            ONCE, {}, (FAIL, event("Progressing"), FAIL), [F, "Progressing: x"], id="not by news"
        ),
        pytest.param(
            ONCE,
            {},
            (FAIL, event("DependencyNotReady"), FAIL),
            [F, "DependencyNotReady: x"],
            id="nor by waiting",
        ),
        pytest.param(
            BOTH,
            {},
            (FAIL, event("RollbackSucceeded"), FAIL),
            [F, "RollbackSucceeded: x"],
            id="nor by going back",
        ),
        pytest.param(
            ONCE, {}, (FAIL, event("BuildFailed", name="b"), FAIL), [F, F], id="of each object"
        ),
        pytest.param(
            ONCE,
            {},
            (FAIL, event("BuildFailed", kind="GitRepository"), FAIL),
            [F, F],
            id="of each kind",
        ),
        pytest.param(
            ONCE, {}, (FAIL, event("BuildFailed", uid="2"), FAIL), [F, F, F], id="made again"
        ),
        pytest.param(
            BOTH,
            {},
            (FAIL, event("ReconciliationSucceeded", uid="2")),
            [F, "ReconciliationSucceeded: x"],
            id="made again and well",
        ),
        pytest.param(
            BOTH,
            {},
            (
                FAIL,
                event("BuildFailed", reporting_controller="other"),
                event("Succeeded", reporting_controller="other"),
                FAIL,
                OK,
            ),
            [F, F, "Succeeded: recovered from BuildFailed after 0s: x", WELL],
            id="two controllers of one object",
        ),
        pytest.param(TELL, {}, (FAIL, FAIL, OK, OK), [F, F, WELL], id="recovery alone"),
        pytest.param(BOTH, {}, (FAIL, OK, FAIL, FAIL, OK, OK), [F, WELL, F, WELL], id="flapping"),
        pytest.param(BOTH, {}, (OK, OK), [], id="well all the time"),
        pytest.param(
            BOTH,
            {},
            (FAIL, event("NewArtifact", metadata={}), event("NewArtifact", "y")),
            [F, "NewArtifact: recovered from BuildFailed after 0s: x", "NewArtifact: y"],
            id="an event that is told anyway is told once",
        ),
        pytest.param(
            BOTH,
            {"eventSeverity": "error"},
            (FAIL, event("Succeeded"), event("Succeeded")),
            [F, "Succeeded: recovered from BuildFailed after 0s: x"],
            id="an Alert for errors hears of their end",
        ),
        pytest.param(
            BOTH,
            {"exclusionList": ["^fine"]},
            (FAIL, event("Succeeded", "fine")),
            [F, "Succeeded: recovered from BuildFailed after 0s: fine"],
            id="whatever it excludes",
        ),
        pytest.param(
            BOTH,
            {"inclusionList": ["^never"]},
            (FAIL, event("Succeeded")),
            [],
            id="not of what it was not told",
        ),
        pytest.param(
            BOTH,
            {"exclusionList": ["^x"]},
            (FAIL, event("BuildFailed", "y"), event("BuildFailed", "y")),
            ["BuildFailed: y"],
            id="what is excluded does not count as told",
        ),
        pytest.param(
            BOTH,
            {"eventSources": [{"kind": "Kustomization", "name": "b"}]},
            (FAIL, OK),
            [],
            id="of other objects",
        ),
    ],
)
async def test_what_is_told(
    annotations: dict[str, str], spec: dict[str, Any], events: Sequence[Event], told: list[str]
) -> None:
    cluster = Cluster(annotations)
    cluster.alert(**spec)
    async with running(cluster) as telling:
        await tell(telling, *events)

        assert telling.told == told
        assert cluster.closes()
        assert telling.warned == []


@pytest.mark.looptime
async def test_a_recovery_says_what_ended_and_how_long_it_lasted() -> None:
    async with running(Cluster(BOTH)) as telling:
        await tell(telling, FAIL)
        await asyncio.sleep(600)
        await tell(telling, OTHER)
        await asyncio.sleep(150)
        await tell(telling, OK)

        last = telling.events[-1]
        assert last.severity == "info"
        assert last.message == "recovered from HealthCheckFailed after 12m30s: x"
        assert last.metadata == {"failedFor": "12m30s", "recoveredFrom": "HealthCheckFailed"}


@pytest.mark.looptime
async def test_a_suspended_alert_tells_nothing_and_sees_the_end_of_failures() -> None:
    cluster = Cluster(BOTH)
    async with running(cluster) as telling:
        await tell(telling, FAIL)
        cluster.alert(suspend=True)
        await tell(telling, OK, FAIL)
        cluster.alert()
        await tell(telling, FAIL, OK)

        assert telling.told == [F, F, WELL]


@pytest.mark.looptime
async def test_a_suspended_provider_is_told_of_the_failure_later() -> None:
    cluster = Cluster(BOTH)
    async with running(cluster) as telling:
        provider = cluster.providers.list()[0]
        for version, suspend in (("2", True), ("3", False)):
            metadata = {**provider["metadata"], "resourceVersion": version}
            spec = {**provider["spec"], "suspend": suspend}
            cluster.providers.put({"metadata": metadata, "spec": spec})
            await tell(telling, FAIL, FAIL)

        assert telling.told == [F]


@pytest.mark.looptime
async def test_a_failure_that_did_not_arrive_is_told_again() -> None:
    cluster = Cluster(BOTH)
    async with running(cluster) as telling:
        telling.refuses = True
        await tell(telling, FAIL)
        telling.refuses = False
        await tell(telling, FAIL, FAIL)

        assert telling.told == [F]
        assert cluster.outcomes() == {"failed": 1, "delivered": 1, "suppressed": 1}


@pytest.mark.looptime
async def test_a_failure_that_nobody_reports_for_a_day_is_told_again() -> None:
    async with running(Cluster(ONCE)) as telling:
        for _ in range(3):
            await tell(telling, FAIL)
            await asyncio.sleep(80_000)
        assert telling.told == [F]
        await asyncio.sleep(7_000)
        await tell(telling, FAIL)

        assert telling.told == [F, F]


@pytest.mark.looptime
async def test_an_event_that_was_told_before_ends_a_failure_that_began_since() -> None:
    """The event server answers 429 to it, and would keep it from whoever waits for it."""
    cluster = Cluster(BOTH)
    async with running(cluster) as telling:
        await tell(telling, event("Succeeded"), FAIL)
        assert telling.awaits(event("Succeeded"))
        for _ in range(2):
            await telling.tell(event("Succeeded"), again=True)
            await telling.tell(event("NewArtifact", name="other"), again=True)
        await asyncio.sleep(0.001)

        assert telling.told == [
            "Succeeded: x",
            F,
            "Succeeded: recovered from BuildFailed after 0s: x",
        ]
        assert not telling.awaits(event("Succeeded"))
        assert cluster.closes()


# --- bounds -------------------------------------------------------------------------------------------


def test_failures_have_bounded_room_and_a_share_for_each_namespace() -> None:
    failures = Failures(TwoClocks(), room=10)
    quiet = failure_key("quiet", FAIL)
    failures.remember("quiet", quiet, FAIL)
    for number in range(100):
        one = event("BuildFailed", name=f"n{number}")
        failures.remember("loud", failure_key("loud", one), one)

    assert len(failures) == 10
    assert failures.is_known("quiet", quiet, FAIL)
    last = event("BuildFailed", name="n99")
    assert failures.is_known("loud", failure_key("loud", last), last)


def test_names_and_reasons_without_end_take_no_more_room_than_any() -> None:
    failures = Failures(TwoClocks())

    def fail(number: int) -> None:
        one = event("BuildFailed" + "x" * (1 << 20), name=f"{number}" + "n" * (1 << 20))
        failures.remember("team", failure_key("a", one), one)

    tracemalloc.start()
    try:
        for number in range(4):
            fail(number)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert len(failures) == 4
    assert kept < 100_000
