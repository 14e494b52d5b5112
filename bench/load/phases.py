"""What is done to the controllers, phase by phase, and when each object was where it should be.

    install    N objects of each kind in one burst by server-side apply; until all are Ready
    upgrade    the parameters of ``upgrade`` change in one burst; until all are Ready again
    upgrades   the same again and again, if that is asked for, and the memory after each
    no-op      the timers of some Kustomizations run once, and nothing is new
    drift      one applied object of some Kustomizations is changed by hand; until it is put right
    uninstall  all is deleted in one burst; until everything is gone

Ready means ``Ready=True`` with ``observedGeneration`` equal to ``generation``, seen by a watch.
Every phase ends by looking whether what was applied really is what it should be.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from bench.load.observe import Late, Moments, Observer, Test, is_ready
from bench.load.plane import AGENT
from bench.load.spread import Spread
from bench.load.workload import Workload, resource_of, value_at
from fluvial.apply.bounded import map_bounded
from fluvial.kube.client import KubeClient
from fluvial.objects import JsonObject, ObjectKey, key_of

__all__ = ["PHASES", "Phases", "Scale", "Work", "nested"]

PHASES = ("install", "upgrade", "upgrades", "no-op", "drift", "uninstall")
_HAND = "kubectl-edit"


@dataclass(frozen=True, slots=True)
class Scale:
    """How large a run is.

    Attributes:
        count: N.
        burst: requests of the bare client in flight.
        timed: Kustomizations whose interval is made short for the phases no-op and drift.
        drifted: those of them of which an object is changed by hand.
        interval: that interval in seconds.
        timeout: seconds until a phase is given up.
        upgrades: rounds of the phase of that name.

    """

    count: int
    burst: int = 20
    timed: int = 100
    drifted: int = 10
    interval: int = 30
    timeout: float = 600.0
    upgrades: int = 0


@dataclass(frozen=True, slots=True)
class Work:
    """What a phase did.

    Attributes:
        seconds: from the first request to the last end.
        latency: of each object, by kind.
        objects: how many objects it was about.

    """

    seconds: float
    objects: int
    latency: dict[str, Spread] = field(default_factory=dict)
    failures: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Phases:
    """Runs phases in order; each starts from where the one before it ended.

    Args:
        client: the bare client.
        observer: sees objects in the workload's namespace.
        workload: with its parameters.
        scale: how large.
        memory: tells the memory of the controllers now, for a note.

    """

    def __init__(
        self,
        client: KubeClient,
        observer: Observer,
        workload: Workload,
        scale: Scale,
        *,
        memory: Callable[[], str] = str,
    ) -> None:
        self._client = client
        self._observer = observer
        self._scale = scale
        self._workload = workload
        self._memory = memory
        self._indexes = range(1, scale.count + 1)
        # Spread over all, so that they are none that any order favours.
        self._timed = tuple(self._indexes[:: max(1, scale.count // scale.timed)][: scale.timed])
        self.work: dict[str, Callable[[], Awaitable[Work]]] = {
            "install": self._install,
            "upgrade": self._upgrade,
            "upgrades": self._upgrades,
            "no-op": self._idle,
            "drift": self._drift,
            "uninstall": self._uninstall,
        }

    async def set_up(self) -> None:
        """Make what is there once, and begin to watch."""
        for obj in self._workload.set_up():
            await self._apply(obj)
        for obj in self._workload.objects(1):
            await self._observer.follow(resource_of(obj))
        await self._observer.follow(self._workload.applied.resource)

    async def prepare(self, phase: str) -> None:
        """Bring about what a phase starts from; not measured."""
        if phase != "no-op":
            return
        short = self._workload.with_parameters(interval=f"{self._scale.interval}s")
        objects = [obj for index in self._timed for obj in short.changed(self._workload, index)]
        await self._burst(objects, self._generations(objects))

    async def _install(self) -> Work:
        objects = [obj for index in self._indexes for obj in self._workload.objects(index)]
        return await self._burst(objects, self._generations(objects))

    async def _upgrade(self) -> Work:
        before = self._workload
        self._workload = before.upgraded()
        return await self._bring_about(before)

    async def _upgrades(self) -> Work:
        """Between the values before and after the upgrade, and to the latter in the end."""
        after, notes, seconds = self._workload, [f"before: {self._memory()}"], 0.0
        for number in range(1, self._scale.upgrades + 1):
            before = self._workload
            last = number == self._scale.upgrades
            changed = dict.fromkeys(before.upgrade, f"{number + 2}m")
            self._workload = after if last else after.with_parameters(**changed)
            work = await self._bring_about(before)
            seconds += work.seconds
            notes.append(f"{number}: {work.seconds:.1f} s, {self._memory()}")
            if work.failures:
                return replace(work, notes=tuple(notes))
        count = self._scale.count * self._scale.upgrades
        return Work(seconds, count, notes=tuple(notes))

    async def _bring_about(self, before: Workload) -> Work:
        objects = [obj for index in self._indexes for obj in self._workload.changed(before, index)]
        return await self._burst(objects, self._generations(objects))

    async def _idle(self) -> Work:
        # Intervals are jittered by 5 %.
        seconds = self._scale.interval * 1.06 + 1
        await asyncio.sleep(seconds)
        note = (
            f"{len(self._timed)} Kustomizations have interval {self._scale.interval}s from here on;"
            " figures are for each of them; sources keep their interval"
        )
        return Work(seconds, len(self._timed), failures=await self._wrong(), notes=(note,))

    async def _drift(self) -> Work:
        applied = self._workload.applied
        kind = applied.resource.kind
        keys = [self._workload.applied_key(index) for index in self._drifted()]
        generations = self._generations_of(kind)
        # The hand makes one generation, putting it right another.
        moments = Moments(kind, {key: self._is_right(generations.get(key, 0) + 2) for key in keys})
        change = nested(applied.drift_field, applied.drift_changed)

        async def by_hand(obj: JsonObject) -> None:
            await self._client.patch(
                applied.resource, key_of(obj), change, patch_type="merge", field_manager=_HAND
            )

        objects = [
            {"kind": kind, "metadata": {"namespace": key.namespace, "name": key.name}}
            for key in keys
        ]
        # An interval finds it, an event at once; beyond that nobody looks.
        timeout = self._scale.interval * 1.5 + 30
        work = await self._run(objects, by_hand, [moments], timeout=timeout)
        note = (
            f"a controller that finds it by the timer only (interval {self._scale.interval}s) shows"
            " when in its interval each object was changed, not how long a correction takes;"
            " requests are those of all timers"
        )
        return replace(work, objects=len(keys), notes=(note,))

    def _drifted(self) -> Sequence[int]:
        step = max(1, len(self._timed) // self._scale.drifted)
        return self._timed[::step][: self._scale.drifted]

    async def _uninstall(self) -> Work:
        objects = [obj for index in self._indexes for obj in self._workload.objects(index)]
        kinds = {str(obj["kind"]) for obj in objects}
        expected = [
            Moments(kind, {key_of(obj): _is_gone for obj in objects if obj["kind"] == kind})
            for kind in sorted(kinds)
        ]

        async def delete(obj: JsonObject) -> None:
            await self._client.delete(resource_of(obj), key_of(obj))

        work = await self._run(objects, delete, expected)
        left = [
            obj
            for obj in self._observer.objects(self._workload.applied.resource.kind)
            if not obj["metadata"].get("deletionTimestamp")
        ]
        if left:
            text = f"{len(left)} applied objects were left behind, such as {key_of(left[0])}"
            work = replace(work, failures=(*work.failures, text))
        return work

    async def _burst(
        self, objects: Sequence[JsonObject], generations: dict[tuple[str, ObjectKey], int]
    ) -> Work:
        expected = [
            Moments(
                kind,
                {
                    key_of(obj): is_ready(generations[kind, key_of(obj)])
                    for obj in objects
                    if obj["kind"] == kind
                },
            )
            for kind in self._workload.measured
        ]
        work = await self._run(objects, self._apply, [one for one in expected if one.wanted])
        if work.failures:
            return work
        return replace(work, failures=await self._wrong())

    async def _run(
        self,
        objects: Sequence[JsonObject],
        send: Callable[[JsonObject], Awaitable[None]],
        expected: Sequence[Moments],
        *,
        timeout: float = 0.0,
    ) -> Work:
        sent: dict[str, dict[ObjectKey, float]] = {str(obj["kind"]): {} for obj in objects}

        async def one(obj: JsonObject) -> None:
            sent[str(obj["kind"])][key_of(obj)] = time.perf_counter()
            await send(obj)

        started = time.perf_counter()
        with self._observer.attending(*expected):
            await map_bounded(one, objects, limit=self._scale.burst, name="burst")
            timeout = timeout or self._scale.timeout
            late = await self._observer.wait(*expected, timeout=timeout)
        work = self._work(started, sent, expected, late)
        return replace(work, objects=self._scale.count)

    def _work(
        self,
        started: float,
        sent: dict[str, dict[ObjectKey, float]],
        expected: Iterable[Moments],
        late: tuple[Late, ...],
    ) -> Work:
        ends = [moment for one in expected for moment in one.at.values()]
        latency = {
            one.kind: Spread.of([at - sent[one.kind][key] for key, at in one.at.items()])
            for one in expected
        }
        failures = tuple(
            f"{len(one.keys)} {one.kind}s were not there in time, such as {one.keys[0]}:"
            f" {one.example}"
            for one in late
        )
        return Work(max(ends, default=started) - started, len(ends), latency, failures)

    async def _apply(self, obj: JsonObject) -> None:
        await self._client.apply(resource_of(obj), key_of(obj), obj, field_manager=AGENT)

    def _generations_of(self, kind: str) -> dict[ObjectKey, int]:
        return {
            key_of(obj): int(obj["metadata"].get("generation", 0))
            for obj in self._observer.objects(kind)
        }

    def _generations(self, objects: Iterable[JsonObject]) -> dict[tuple[str, ObjectKey], int]:
        """The generation that each object has once it is sent."""
        now: dict[str, dict[ObjectKey, int]] = {}
        wanted: dict[tuple[str, ObjectKey], int] = {}
        for obj in objects:
            kind, key = str(obj["kind"]), key_of(obj)
            if kind not in now:
                now[kind] = self._generations_of(kind)
            wanted[kind, key] = now[kind].get(key, 0) + 1
        return wanted

    def _is_right(self, generation: int) -> Test:
        applied = self._workload.applied

        def right(obj: JsonObject | None) -> bool:
            if obj is None or obj["metadata"].get("generation", 0) < generation:
                return False
            return bool(value_at(obj, applied.drift_field) == applied.drift_value)

        return right

    async def _wrong(self) -> tuple[str, ...]:
        """What is applied and is not what it should be, read afresh."""
        applied = self._workload.applied
        page = await self._client.list_all(applied.resource, namespace=self._workload.namespace)
        found = {key_of(obj): value_at(obj, applied.field) for obj in page.items}
        wrong = [
            (key, value, found.get(key))
            for key, value in (
                (self._workload.applied_key(index), self._workload.applied_value(index))
                for index in self._indexes
            )
            if found.get(key) != value
        ]
        if not wrong:
            return ()
        key, value, live = wrong[0]
        text = f"{len(wrong)} applied objects are not as they should be, such as {key}"
        return (f"{text}: {live!r} instead of {value!r}",)


def _is_gone(obj: JsonObject | None) -> bool:
    return obj is None


def nested(path: Sequence[str | int], value: object) -> JsonObject:
    """The merge patch that sets one field."""
    body = value
    for step in reversed(path):
        body = {str(step): body}
    assert isinstance(body, dict)
    return body
