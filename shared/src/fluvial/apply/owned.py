"""Seeing at once that somebody else changed an owned object, and without asking that nobody did.

One metadata-only watch for each kind that occurs in an inventory, over all owners and namespaces,
under the controller's identity, filtered on the owner label. It decides nothing: what it says is
"look again", and the owner's next run reads and compares as the tenant.

    event -> in somebody's inventory? -> after a moment: other than verified? -> suspect, wake
    timer -> store listed within the interval? -> compare versions in memory, no request

Our own writes are recognised by what they left: a state is compared by its *outline*, which the
answer to a write has as well as the event about it. Where a kind is not watched (forbidden, too
many, not in step), the timer's LIST as the tenant goes on finding what changed.

An object whose labels name another owner wakes nobody: it may be on its way from one to the other.
An object that is changed again and again wakes its owner ever more slowly, up to
``WatchLimits.longest_delay``, so that two managers that disagree do not keep each other busy.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import count
from typing import Protocol

from fluvial.apply.inventory import Entry
from fluvial.apply.live import uid_of, version_of
from fluvial.apply.model import Known, Mapper, Verified
from fluvial.apply.owned_kinds import KindWatches, WatchLimits
from fluvial.apply.pacing import Paces
from fluvial.clock import Clock
from fluvial.errors import FluvialError
from fluvial.kube.informer import InformerFactory
from fluvial.kube.resource import Resource
from fluvial.log import Logger
from fluvial.objects import JsonObject, ObjectKey, ObjectRef, key_of

__all__ = ["OwnedObserver", "OwnedWatches", "Versions"]

Versions = dict[ObjectRef, tuple[str, str]]
"""uid and resourceVersion by object."""

_SLACK = 0.001  # seconds: a timer may fire early by what its clock counts in


class OwnedObserver(Protocol):
    """What metrics want to know; must not raise."""

    def watched(self, *, kinds: int, objects: int) -> None:
        """So much is watched now."""
        ...

    def woken(self) -> None:
        """An owner was woken."""
        ...


@dataclass(slots=True)
class _Owner:
    """What one owner has in this cluster."""

    known: Verified
    resources: dict[ObjectRef, Resource]


@dataclass(order=True, slots=True)
class _Look:
    due: float
    number: int
    ref: ObjectRef = field(compare=False)


class OwnedWatches:
    """Watches the owned objects of one cluster; run beside the controller's workers.

    Args:
        informers: of the controller's identity.
        selector: the owner label with the name, ``<group>/name``: selects whatever is owned.
        wake: called with the key of an owner that should look again; quick, must not raise.
        is_busy: whether an owner is being worked on: what it writes just now is not known yet.
        clock: the time.
        log: told what cannot be watched.
        limits: see there.
        observer: for metrics.

    """

    def __init__(
        self,
        informers: InformerFactory,
        *,
        selector: str,
        wake: Callable[[ObjectKey], None],
        is_busy: Callable[[ObjectKey], bool] = lambda _key: False,
        clock: Clock,
        log: Logger,
        limits: WatchLimits | None = None,
        observer: OwnedObserver | None = None,
    ) -> None:
        self._wake = wake
        self._is_busy = is_busy
        self._clock = clock
        self._limits = limits or WatchLimits()
        self._observer = observer
        self.kinds = KindWatches(
            informers,
            selector=selector,
            heard=self._heard,
            clock=clock,
            log=log,
            limits=self._limits,
        )
        self._owners: dict[ObjectKey, _Owner] = {}
        self._owner_of: dict[ObjectRef, ObjectKey] = {}
        self._paces: Paces[ObjectRef] = Paces(
            first=self._limits.first_delay,
            longest=self._limits.longest_delay,
            peace=self._limits.peace,
        )
        self._gone: dict[ObjectRef, tuple[str, int]] = {}  # uid and version of the deletion
        self._due: dict[ObjectRef, float] = {}
        self._looks: list[_Look] = []
        self._numbers = count()
        self._changed = asyncio.Event()

    # -- what reconcilers call -----------------------------------------------------------------

    async def follow(
        self, key: ObjectKey, entries: Iterable[Entry], *, mapper: Mapper, known: Verified
    ) -> None:
        """Watch what an owner has, in place of what it had; then judge what happened meanwhile.

        Args:
            key: of the owner.
            entries: of its inventory.
            mapper: of this cluster; kinds that it does not have are left out.
            known: what is verified of these objects; suspects are added to it.

        """
        resources: dict[ObjectRef, Resource] = {}
        for entry in entries:
            ref = entry.ref
            try:
                resources[ref] = await mapper.resource_for_kind(
                    ref.group, ref.kind, version_hint=entry.v
                )
            except FluvialError:
                continue
        self._forget(key)
        self._owners[key] = _Owner(known, resources)
        self._owner_of.update(dict.fromkeys(resources, key))
        self.kinds.use(key, resources.values())
        self.check(key)

    def check(self, key: ObjectKey) -> None:
        """Judge all of an owner's objects, for what happened while nobody could be woken."""
        owner = self._owners.get(key)
        for ref in owner.resources if owner else ():
            if self._differs(ref):
                self._schedule(ref)

    def release(self, key: ObjectKey) -> None:
        """An owner is gone, or its objects are elsewhere."""
        self._forget(key)
        self.kinds.use(key, ())

    async def versions(
        self, resource: Resource, refs: Iterable[ObjectRef], *, known: Verified, max_age: float
    ) -> Versions | None:
        """The versions of objects of one kind, without a request where the watch has them.

        The store of the kind is compared with one LIST if the last one is older than ``max_age``
        seconds: an event that was lost costs one interval.

        Returns:
            ``None``: the watch does not tell, ask the server. An object that it has not, or that
            another owner has, is left out.

        """
        watch = self.kinds.watches.get(resource)
        if watch is None or not await watch.freshened(self._clock, max_age):
            return None
        found: Versions = {}
        for ref in refs:
            stored = watch.stored(ref.namespace, ref.name)
            if stored is None or stored["owner"] != str(self._owner_of.get(ref)):
                continue
            before = known.get(ref)
            if before is not None and _is_behind(stored, before):
                return None
            found[ref] = (uid_of(stored), version_of(stored))
        return found

    async def run(self) -> None:
        """Serve until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._keep_time(), name="owned-timer")
                group.create_task(self._tend(), name="owned-watches")
        finally:
            self.kinds.close()

    # -- events --------------------------------------------------------------------------------

    def _heard(self, resource: Resource, old: JsonObject | None, new: JsonObject | None) -> None:
        obj = new or old
        if obj is None:
            return
        key = key_of(obj)
        ref = ObjectRef(resource.group, resource.kind, key.namespace, key.name)
        owner = self._owners.get(self._owner_of.get(ref, key))
        if owner is None or ref not in owner.resources:
            return
        self._gone.pop(ref, None)
        if new is None:
            self._gone[ref] = uid_of(obj), _number(obj)
        before = owner.known.get(ref)
        if before is None:
            return
        gone = new is None and uid_of(obj) == before.uid
        reset = old is not None and new is not None and _number(new) < _number(old)
        if gone or reset:
            owner.known.suspect(ref)
            self._schedule(ref)
        elif new is not None and self._differs(ref):
            self._schedule(ref)

    def _differs(self, ref: ObjectRef) -> bool:
        """Whether the watch shows another state of an object than the verified one, a newer one."""
        key = self._owner_of.get(ref, ObjectKey("", ""))
        owner = self._owners.get(key)
        before = owner.known.get(ref) if owner else None
        watch = self.kinds.watches.get(owner.resources[ref]) if owner else None
        if before is None or watch is None:
            return False
        stored = watch.stored(ref.namespace, ref.name)
        if stored is None:
            # What was verified may have been read before the deletion that the watch has told of.
            uid, version = self._gone.get(ref, ("", 0))
            return uid == before.uid and version > _counted(before.resource_version)
        if stored["owner"] != str(key) or _is_behind(stored, before):
            return False
        if version_of(stored) == before.resource_version:
            return False
        return uid_of(stored) != before.uid or stored["outline"] != before.outline

    # -- time ----------------------------------------------------------------------------------

    def _schedule(self, ref: ObjectRef) -> None:
        if ref in self._due:
            return
        due = self._paces.earliest(ref, self._clock.monotonic() + self._limits.debounce)
        self._due[ref] = due
        heapq.heappush(self._looks, _Look(due, next(self._numbers), ref))
        self._changed.set()

    async def _keep_time(self) -> None:
        while True:
            now = self._clock.monotonic()
            while self._looks and self._looks[0].due <= now + _SLACK:
                self._judge(heapq.heappop(self._looks).ref, now)
            self._changed.clear()
            delay = self._looks[0].due - now if self._looks else None
            try:
                async with asyncio.timeout(delay):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def _judge(self, ref: ObjectRef, now: float) -> None:
        self._due.pop(ref, None)
        key = self._owner_of.get(ref)
        owner = self._owners.get(key) if key else None
        if key is None or owner is None:
            return
        if not self._differs(ref) and not owner.known.is_suspect(ref):
            return  # it was our own write, or its owner has looked since
        if self._is_busy(key):
            self._schedule(ref)
            return
        owner.known.suspect(ref)
        self._paces.answered(ref, now)
        if self._observer is not None:
            self._observer.woken()
        self._wake(key)

    def _forget(self, key: ObjectKey) -> None:
        owner = self._owners.pop(key, None)
        for ref in owner.resources if owner else ():
            if self._owner_of.get(ref) == key:
                del self._owner_of[ref]

    async def _tend(self) -> None:
        while True:
            await self._clock.sleep(self._limits.tick)
            self.kinds.tend()
            self._paces.sweep(self._clock.monotonic())
            for ref in [ref for ref in self._gone if ref not in self._owner_of]:
                del self._gone[ref]
            if self._observer is not None:
                self._observer.watched(kinds=len(self.kinds.watches), objects=self.kinds.objects)


def _number(obj: JsonObject) -> int:
    return _counted(version_of(obj))


def _counted(version: str) -> int:
    return int(version) if version.isdecimal() else 0


def _is_behind(stored: JsonObject, before: Known) -> bool:
    """Whether the watch has not told yet what we have seen."""
    known = before.resource_version
    return uid_of(stored) == before.uid and known.isdecimal() and _number(stored) < int(known)
