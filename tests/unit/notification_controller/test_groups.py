"""Alerts that gather events: one message for a window."""

from __future__ import annotations

import asyncio

import pytest

from fluvial.objects import ObjectKey
from harness.alerts import GROUP, Cluster, LoopClock, event, running, tell
from notification_controller.alert.groups import Groups
from notification_controller.alert.lanes import Job
from notification_controller.provider.message import Message

WINDOW = {"fluvial.dev/group-window": "1m"}
ONCE = {"fluvial.dev/failures": "once"}
BOTH = ONCE | {"fluvial.dev/recovery": "tell"}
FAIL = event("BuildFailed")
OTHER = event("HealthCheckFailed")
OK = event("ReconciliationSucceeded")
F, H = "BuildFailed: x", "HealthCheckFailed: x"


@pytest.mark.looptime
async def test_a_group_of_one_is_told_as_it_came() -> None:
    async with running(Cluster(WINDOW)) as telling:
        await tell(telling, FAIL)
        await asyncio.sleep(59)
        assert telling.told == []
        await asyncio.sleep(2)

        assert telling.told == [F]
        assert telling.events[0].involved_object.name == "app"


@pytest.mark.looptime
async def test_events_of_a_window_are_one_message_about_the_alert() -> None:
    cluster = Cluster(WINDOW)
    cluster.alert(eventMetadata={"cluster": "prod"})
    async with running(cluster) as telling:
        await tell(telling, event("NewArtifact", "first\nmore", kind="GitRepository"))
        await asyncio.sleep(30)
        await tell(telling, event("BuildFailed", metadata={f"{GROUP}/revision": "r"}))
        await asyncio.sleep(29)
        assert telling.told == []
        await asyncio.sleep(2)
        (text,) = telling.told
        assert text.split("\n") == [
            "EventsGrouped: 2 events in 1m0s, 1 of them errors",
            "- GitRepository/team/app NewArtifact: first",
            "- error Kustomization/team/app BuildFailed: x",
        ]
        told = telling.events[0]
        assert (told.severity, told.metadata) == ("error", {"cluster": "prod"})
        about = told.involved_object
        assert (about.kind, about.name, about.namespace, about.uid) == ("Alert", "all", "team", "a")
        assert cluster.outcomes() == {"delivered": 1, "grouped": 1}

        await tell(telling, OTHER)
        await asyncio.sleep(61)
        assert telling.told[1:] == [H], "another window"
        assert cluster.closes()


@pytest.mark.looptime
async def test_a_long_list_is_cut_and_errors_are_kept() -> None:
    cluster = Cluster(WINDOW)
    async with running(cluster) as telling:
        for number in range(30):
            await tell(telling, event("NewArtifact", f"n{number} " + "y" * 999))
        for number in range(3):
            await tell(telling, event("BuildFailed", f"e{number}"))
        await asyncio.sleep(61)

        lines = telling.events[0].message.split("\n")
        assert lines[0] == "33 events in 1m0s, 3 of them errors"
        assert [line.rpartition(" ")[2] for line in lines[18:21]] == ["e0", "e1", "e2"]
        assert lines[21:] == ["- and 13 more"]
        assert max(map(len, lines)) <= 252
        assert cluster.closes()


@pytest.mark.looptime
async def test_what_is_grouped_keeps_its_order_and_tells_failures_once() -> None:
    cluster = Cluster(WINDOW | BOTH)
    async with running(cluster) as telling:
        await tell(telling, FAIL, FAIL, OK, FAIL)
        await asyncio.sleep(61)

        about = "Kustomization/team/app"
        assert telling.events[0].message.split("\n")[1:] == [
            f"- error {about} BuildFailed: x",
            f"- {about} ReconciliationSucceeded: recovered from BuildFailed after 0s: x",
            f"- error {about} BuildFailed: x",
        ]
        assert cluster.outcomes() == {"delivered": 1, "grouped": 2, "suppressed": 1}


@pytest.mark.looptime
async def test_windows_end_with_the_controller() -> None:
    cluster = Cluster(WINDOW)
    async with running(cluster) as telling:
        await tell(telling, FAIL, OTHER)
        began = asyncio.get_running_loop().time()
        await telling.flush(10)

        assert asyncio.get_running_loop().time() - began < 1
        assert [text.split("\n")[0] for text in telling.told] == [
            "EventsGrouped: 2 events in 1m0s, 2 of them errors"
        ]
        assert cluster.closes()


@pytest.mark.looptime
@pytest.mark.parametrize("end", ["suspended", "deleted", "made again"])
async def test_an_alert_that_does_not_want_its_group_any_more(end: str) -> None:
    cluster = Cluster(WINDOW | ONCE)
    async with running(cluster) as telling:
        await tell(telling, FAIL, OTHER)
        if end == "suspended":
            cluster.alert(suspend=True)
        else:
            cluster.alerts.remove(cluster.alerts.list()[0])
        if end == "made again":
            cluster.alert(uid="b")
        await asyncio.sleep(61)

        assert telling.told == []
        reason = "alert_suspended" if end == "suspended" else "alert_gone"
        assert cluster.count(f'notifications_dropped_total{{reason="{reason}"}}') == 2
        assert cluster.closes()


@pytest.mark.looptime
async def test_alerts_do_not_share_a_window() -> None:
    cluster = Cluster(WINDOW)
    cluster.alert("second", "b", eventSeverity="error")
    async with running(cluster) as telling:
        await tell(telling, event("NewArtifact"), FAIL)
        await asyncio.sleep(61)

        assert sorted(text.split("\n")[0] for text in telling.told) == [
            F,
            "EventsGrouped: 2 events in 1m0s, 1 of them errors",
        ]


@pytest.mark.looptime
@pytest.mark.parametrize("bound", [{"room": 3}, {"room_bytes": 3000}])
async def test_groups_have_bounded_room_and_nothing_is_lost(bound: dict[str, int]) -> None:
    told: list[tuple[str, int]] = []

    def gathered(job: Job, number: int) -> None:
        told.append((job.message.alert, number))

    groups = Groups(gathered, clock=LoopClock(), **bound)
    for number in range(10):
        message = Message(event("BuildFailed", "x" * 900), alert=f"{number}")
        groups.add(Job(ObjectKey("t", "p"), ObjectKey("t", "a"), message), 60)
        assert groups.waiting <= 3
    early = len(told)
    await groups.flush()

    assert early >= 7
    assert told == [(f"{number}", 1) for number in range(10)]
