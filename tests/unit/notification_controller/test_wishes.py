"""Alerts that gather events, tell a failure once, and tell when it is over."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from clouds.clocks import TwoClocks
from fluvial.clock import RealClock
from fluvial.kube.store import Store
from fluvial.log import get_logger
from fluvial.objects import JsonObject, ObjectKey
from fluvial.runtime.metrics import Metrics
from notification_controller.alert.failures import Failures, failure_key
from notification_controller.alert.groups import Groups
from notification_controller.alert.lanes import Job, LaneTimes
from notification_controller.alert.telling import Telling
from notification_controller.alert.wishes import Wishes, read_wishes
from notification_controller.event.model import Event, InvolvedObject
from notification_controller.provider.message import Message
from notification_controller.provider.outgoing import SendFailed

GROUP = "kustomize.toolkit.fluxcd.io"
ONCE = {"fluvial.dev/failures": "once"}
TELL = {"fluvial.dev/recovery": "tell"}
BOTH = ONCE | TELL
WINDOW = {"fluvial.dev/group-window": "1m"}


class LoopClock(RealClock):
    """The event loop's time."""

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()


class Recording(Telling):
    """Sends nothing; keeps what it would have sent.

    Attributes:
        sent: jobs that were delivered.
        warned: reason and message of the events about Alerts.
        refuses: whether the service takes nothing.

    """

    def __init__(self, alerts: Store, providers: Store, metrics: Metrics) -> None:
        unused: Any = None
        self.sent: list[Job] = []
        self.warned: list[tuple[str, str]] = []
        self.refuses = False
        super().__init__(
            unused,
            alerts=alerts,
            providers=providers,
            sender=unused,
            identities=unused,
            cel=unused,
            events=cast("Any", self),
            log=get_logger("test"),
            metrics=metrics,
            clock=LoopClock(),
            times=LaneTimes(patience=0.0, burst=1000),
        )

    def event(self, _: JsonObject, **said: str) -> None:
        """In place of the recorder's."""
        self.warned.append((said["reason"], said["message"]))

    async def _send(self, job: Job) -> None:
        if self.refuses:
            raise SendFailed("no", again=False)
        self.sent.append(job)

    @property
    def told(self) -> list[str]:
        return [f"{event.reason}: {event.message}" for event in self.events]

    @property
    def events(self) -> list[Event]:
        return [job.message.event for job in self.sent]


@dataclass
class Cluster:
    """One Provider, and Alerts that change."""

    annotations: dict[str, str] = field(default_factory=dict)
    type_: str = "slack"
    metrics: Metrics = field(default_factory=Metrics)
    version: int = 0

    def __post_init__(self) -> None:
        self.alerts, self.providers = Store(), Store()
        head = {"name": "chat", "namespace": "team", "uid": "p", "resourceVersion": "1"}
        self.providers.put({"metadata": head, "spec": {"type": self.type_, "address": "x"}})
        self.alert()
        self.telling = Recording(self.alerts, self.providers, self.metrics)

    def alert(self, name: str = "all", uid: str = "a", **spec: Any) -> None:
        """Make or change the Alert."""
        self.version += 1
        head = {
            "name": name,
            "namespace": "team",
            "uid": uid,
            "resourceVersion": str(self.version),
            "annotations": self.annotations,
        }
        sources = [{"kind": kind, "name": "*"} for kind in ("Kustomization", "GitRepository")]
        fields = {"providerRef": {"name": "chat"}, "eventSources": sources} | spec
        self.alerts.put({"metadata": head, "spec": fields})

    def count(self, line: str) -> float:
        """The value of a metric."""
        text = self.metrics.render().decode()
        found = [one for one in text.splitlines() if one.startswith(f"fluvial_{line} ")]
        return float(found[0].rpartition(" ")[2]) if found else 0.0

    def outcomes(self) -> dict[str, float]:
        """What became of everything that matched."""
        names = ("delivered", "failed", "dropped", "grouped", "suppressed")
        all_of = {n: self.count(f'notifications_total{{outcome="{n}"}}') for n in names}
        return {name: number for name, number in all_of.items() if number}

    def closes(self) -> bool:
        """Whether the account of what matched closes."""
        waits = self.count("notifications_waiting")
        return self.count("alerted_events_total") == sum(self.outcomes().values()) + waits


@asynccontextmanager
async def running(cluster: Cluster) -> AsyncIterator[Recording]:
    try:
        yield cluster.telling
    finally:
        await cluster.telling.flush(1)


def event(reason: str, message: str = "x", **fields: Any) -> Event:
    """An event of a Kustomization; an error where the reason says so."""
    about = {"kind": "Kustomization", "name": "app", "uid": "1"}
    about |= {name: fields.pop(name) for name in tuple(fields) if name in about}
    involved = InvolvedObject(api_version=f"{GROUP}/v1", namespace="team", **about)
    defaults = {
        "severity": "error" if "Fail" in reason else "info",
        "timestamp": "2026-11-23T10:00:00Z",
        "reporting_controller": "kustomize-controller",
    }
    return Event(involved_object=involved, message=message, reason=reason, **defaults | fields)


async def tell(telling: Recording, *events: Event) -> None:
    for one in events:
        await telling.tell(one)
        await asyncio.sleep(0.001)


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


# --- groups -------------------------------------------------------------------------------------------


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
    tracemalloc.start()
    try:
        for number in range(4):
            one = event("BuildFailed" + "x" * (1 << 20), name=f"{number}" + "n" * (1 << 20))
            failures.remember("team", failure_key("a", one), one)
        del one
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert kept < 100_000


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
