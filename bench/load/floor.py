"""Sending the floor's requests (``floorlist``) as fast as a bare client can, and timing it.

The client is ``fluvial.kube``'s, one process, without informers, queues or decisions; bodies of
applied objects are built beforehand. Where its CPU time comes near the wall time, it is the client
that limits the floor, and a faster one would lower it; both are reported.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from bench.load import floorbodies as bodies
from bench.load.floorlist import FLOOR, HELM_FLOOR, SOURCE, Step
from bench.load.phases import Scale, nested
from bench.load.plane import AGENT
from bench.load.results import FloorResult
from bench.load.sampling import cpu_seconds, group_of
from bench.load.workload import Workload, resource_of
from fluvial.api.meta import FINALIZER
from fluvial.apply.bounded import map_bounded
from fluvial.apply.live import stamp, uid_of
from fluvial.apply.order import rank
from fluvial.kube import kinds
from fluvial.kube.client import KubeClient
from fluvial.kube.discovery import RestMapper
from fluvial.kube.resource import Resource
from fluvial.kube.urls import service_account_user
from fluvial.objects import JsonObject, ObjectKey, gvk_of, key_of

__all__ = ["Floor"]

_MANAGER = "floor"
_PARTS = 4
"""Requests in flight for one object's parts, as ``--concurrent-ssa``."""


@dataclass(slots=True)
class _Part:
    """One applied object: the bytes that are sent, and what the server answered last."""

    resource: Resource
    key: ObjectKey
    obj: JsonObject
    body: bytes
    live: JsonObject = field(default_factory=dict)


@dataclass(slots=True)
class _One:
    """A source, Kustomization or HelmRelease with what is applied for it.

    Attributes:
        records: of a HelmRelease, pending, the newest last.
        stored: those of them that are there.

    """

    obj: JsonObject
    records: list[JsonObject] = field(default_factory=list)
    stored: int = 0
    live: JsonObject = field(default_factory=dict)
    parts: list[_Part] = field(default_factory=list)

    @property
    def resource(self) -> Resource:
        return resource_of(self.obj)

    @property
    def key(self) -> ObjectKey:
        return key_of(self.obj)


class Floor:
    """Replays phases in a namespace of its own, in the order in which they are asked for.

    Args:
        client: the bare client, as the administrator.
        workload: with its parameters; the namespace gets ``-floor`` appended.
        scale: how large.
        concurrency: objects at once, by kind.
        plane_pid: first process of the control plane, for its CPU time.

    """

    def __init__(
        self,
        client: KubeClient,
        workload: Workload,
        scale: Scale,
        *,
        concurrency: Mapping[str, int],
        plane_pid: int,
    ) -> None:
        self._client = client
        self._workload = workload.with_parameters(namespace=f"{workload.namespace}-floor")
        self._scale = scale
        self._concurrency = concurrency
        self._plane_pid = plane_pid
        account = service_account_user(self._workload.namespace, "flux")
        self._tenant = client.impersonate(account)
        self._mapper = RestMapper(client)
        self._ones: dict[str, list[_One]] = {}
        self._sent = 0
        self._events = time.time_ns()
        self._steps: dict[str, Callable[[_One], Awaitable[None]]] = {
            "send": self._send,
            "by-hand": self._by_hand,
            "finalizer": self._finalizer,
            "progress": lambda one: self._status(one, bodies.progress(one.live)),
            "inventory": lambda one: self._status(one, bodies.inventory(_objects(one))),
            "outcome": lambda one: self._status(one, bodies.outcome(one.live)),
            "dry-run": self._dry_run,
            "apply": self._apply,
            "apply-changed": self._apply_changed,
            "event": self._event,
            "remove": self._remove,
            "prune": self._prune,
            "release": self._release,
            "record": self._record,
            "deployed": lambda one: self._mark(one, 1, "deployed"),
            "superseded": lambda one: self._mark(one, 2, "superseded"),
            "uninstalling": lambda one: self._mark(one, 1, "uninstalling"),
            "purge": self._purge,
        }

    async def set_up(self) -> None:
        """Make the namespace with the tenant's account, and build what will be sent."""
        for obj in self._workload.set_up():
            await self._client.apply(resource_of(obj), key_of(obj), obj, field_manager=AGENT)
        await self._build()

    async def replay(self, phase: str) -> FloorResult:
        """Send a phase's requests; see ``floorlist`` for which."""
        if phase == "upgrade":
            self._workload = self._workload.upgraded()
            await self._build()
        self._sent = 0
        own, plane = _cpu_of(os.getpid()), _cpu_of(self._plane_pid, children=True)
        started = time.perf_counter()
        floor = HELM_FLOOR if "HelmRelease" in self._workload.measured else FLOOR
        await self._run(floor[phase], self._scale.drifted if phase == "drift" else None)
        return FloorResult(
            phase=phase,
            seconds=time.perf_counter() - started,
            requests=self._sent,
            client_cpu=_cpu_of(os.getpid()) - own,
            plane_cpu=_cpu_of(self._plane_pid, children=True) - plane,
        )

    async def _build(self) -> None:
        """Bring every object and its parts to the workload's present parameters."""
        for index in range(1, self._scale.count + 1):
            for obj in self._workload.objects(index):
                one = self._one(index, obj)
                if obj["kind"] in {"Kustomization", "HelmRelease"}:
                    await self._build_parts(one)
                if obj["kind"] == "HelmRelease":
                    self._one(index, bodies.helm_chart(obj))
                    one.records.append(bodies.record(obj, _objects(one), len(one.records) + 1))

    def _one(self, index: int, obj: JsonObject) -> _One:
        ones = self._ones.setdefault(str(obj["kind"]), [])
        if index > len(ones):
            ones.append(_One(obj))
        one = ones[index - 1]
        one.obj = obj
        return one

    async def _build_parts(self, one: _One) -> None:
        before = {part.key: part for part in one.parts}
        parts: list[_Part] = []
        for obj in bodies.applied_objects(self._workload, one.obj):
            gvk = gvk_of(obj)
            resource = await self._mapper.resource_for_kind(gvk.group, gvk.kind)
            part = _Part(resource, key_of(obj), obj, stamp(obj))
            part.live = next(
                (old.live for old in before.values() if old.obj["kind"] == gvk.kind), {}
            )
            parts.append(part)
        one.parts = sorted(parts, key=_rank)

    async def _run(self, by_kind: Mapping[str, Sequence[Step]], limit: int | None) -> None:
        """The user's burst, and behind it for each kind as many chains as its controller runs."""
        source = self._workload.measured[0]
        chains = {
            source if kind == SOURCE else kind: tuple(steps) for kind, steps in by_kind.items()
        }
        queues: dict[str, asyncio.Queue[_One | None]] = {kind: asyncio.Queue() for kind in chains}
        firsts = [
            (kind, one)
            for group in zip(*(self._ones[kind][:limit] for kind in chains), strict=True)
            for kind, one in zip(chains, group, strict=True)
        ]

        async def first(item: tuple[str, _One]) -> None:
            kind, one = item
            await self._steps[chains[kind][0].name](one)
            queues[kind].put_nowait(one)

        async def follow(kind: str) -> None:
            while (one := await queues[kind].get()) is not None:
                for step in chains[kind][1:]:
                    await self._steps[step.name](one)
            queues[kind].put_nowait(None)

        async def all_of_it() -> None:
            async with asyncio.TaskGroup() as group:
                for kind in chains:
                    for number in range(self._concurrency.get(kind, 4)):
                        group.create_task(follow(kind), name=f"floor-{kind}-{number}")
                await map_bounded(first, firsts, limit=self._scale.burst, name="floor")
                for queue in queues.values():
                    queue.put_nowait(None)

        try:
            await all_of_it()
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None

    # -- the user's ----------------------------------------------------------------------------

    async def _send(self, one: _One) -> None:
        self._sent += 1
        one.live = await self._client.apply(one.resource, one.key, one.obj, field_manager=AGENT)

    async def _by_hand(self, one: _One) -> None:
        applied = self._workload.applied
        part = _part(one, applied.resource.kind)
        self._sent += 1
        part.live = await self._client.patch(
            part.resource,
            part.key,
            nested(applied.drift_field, applied.drift_changed),
            patch_type="merge",
            field_manager="kubectl-edit",
        )

    async def _remove(self, one: _One) -> None:
        self._sent += 1
        one.live = await self._client.delete(one.resource, one.key)

    # -- the controller's ----------------------------------------------------------------------

    async def _finalizer(self, one: _One) -> None:
        await self._patch(one, {"metadata": {"finalizers": [FINALIZER]}})

    async def _release(self, one: _One) -> None:
        await self._patch(one, {"metadata": {"finalizers": None}})

    async def _status(self, one: _One, status: JsonObject) -> None:
        await self._patch(one, {"status": status}, subresource="status")

    async def _patch(self, one: _One, body: JsonObject, *, subresource: str = "") -> None:
        version = one.live["metadata"]["resourceVersion"]
        metadata = {**(body.get("metadata") or {}), "resourceVersion": version}
        self._sent += 1
        one.live = await self._client.patch(
            one.resource,
            one.key,
            {**body, "metadata": metadata},
            patch_type="merge",
            field_manager=_MANAGER,
            subresource=subresource,
        )

    async def _event(self, one: _One) -> None:
        self._events += 1
        self._sent += 1
        await self._client.create(
            kinds.EVENT,
            bodies.event(one.live, self._events, component=_MANAGER),
            field_manager=_MANAGER,
        )

    # -- the tenant's --------------------------------------------------------------------------

    async def _dry_run(self, one: _One) -> None:
        async def send(part: _Part) -> None:
            self._sent += 1
            await self._tenant.apply(
                part.resource, part.key, part.body, field_manager=_MANAGER, dry_run=True
            )

        await map_bounded(send, one.parts, limit=_PARTS, name="parts")

    async def _apply(self, one: _One) -> None:
        for _, group in groupby(one.parts, key=_rank):
            await map_bounded(self._write, tuple(group), limit=_PARTS, name="parts")

    async def _apply_changed(self, one: _One) -> None:
        await self._write(_part(one, self._workload.applied.resource.kind))

    async def _write(self, part: _Part) -> None:
        self._sent += 1
        body = stamp(part.obj, uid=uid_of(part.live)) if part.live else part.body
        part.live = await self._tenant.apply(part.resource, part.key, body, field_manager=_MANAGER)

    async def _record(self, one: _One) -> None:
        self._sent += 1
        await self._tenant.create(kinds.SECRET, one.records[one.stored], field_manager=_MANAGER)
        one.stored += 1

    async def _mark(self, one: _One, back: int, status: str) -> None:
        """Write a record again with another status, as many back from the newest."""
        secret = one.records[one.stored - back]
        metadata = secret["metadata"]
        labels = {**metadata["labels"], "status": status}
        self._sent += 1
        await self._tenant.patch(
            kinds.SECRET,
            key_of(secret),
            {"metadata": {"labels": labels}, "data": secret["data"]},
            patch_type="merge",
            field_manager=_MANAGER,
        )

    async def _purge(self, one: _One) -> None:
        for secret in one.records[: one.stored]:
            self._sent += 1
            await self._tenant.delete(kinds.SECRET, key_of(secret))

    async def _prune(self, one: _One) -> None:
        async def delete(part: _Part) -> None:
            self._sent += 1
            await self._tenant.delete(part.resource, part.key, uid=uid_of(part.live))

        for _, group in groupby(reversed(one.parts), key=_rank):
            await map_bounded(delete, tuple(group), limit=_PARTS, name="parts")


def _rank(part: _Part) -> int:
    return rank(part.obj["kind"])


def _objects(one: _One) -> list[JsonObject]:
    return [part.obj for part in one.parts]


def _part(one: _One, kind: str) -> _Part:
    return next(part for part in one.parts if part.obj["kind"] == kind)


def _cpu_of(pid: int, *, children: bool = False) -> float:
    return cpu_seconds(group_of(pid) if children else (pid,))
