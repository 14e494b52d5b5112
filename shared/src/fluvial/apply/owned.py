"""Seeing at once that somebody else changed an owned object, and without asking that nobody did.

One metadata-only watch for each kind that occurs in an inventory, over all owners and namespaces,
under the controller's identity, filtered on the owner label. It decides nothing: what it says is
"look again", and the owner's next run reads and compares as the tenant.

    event -> in somebody's inventory? -> after a moment: other than verified? -> suspect, wake
    timer -> store listed within the interval? -> compare versions in memory, no request

Our own writes are recognised by what they left: a state is compared by its *outline*, which the
answer to a write has as well as the event about it. Where a kind is not watched (forbidden, too
many, not in step), the timer's LIST as the tenant goes on finding what changed.

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

from fluvial.apply.hashing import outline
from fluvial.apply.inventory import Entry
from fluvial.apply.live import uid_of, version_of
from fluvial.apply.model import Known, Mapper, Verified
from fluvial.clock import Clock
from fluvial.errors import FluvialError
from fluvial.kube.errors import ApiError, Gone, NotFound, ServerError, TooManyRequests, Unreachable
from fluvial.kube.informer import Informer, InformerFactory, NotSynced
from fluvial.kube.resource import Resource
from fluvial.log import Logger
from fluvial.objects import JsonObject, ObjectKey, ObjectRef, key_of

__all__ = ["OwnedObserver", "OwnedWatches", "Versions", "WatchLimits", "outlined"]

Versions = dict[ObjectRef, tuple[str, str]]
"""uid and resourceVersion by object."""

_RELIST_SECONDS = 30.0
_PASSING = (Gone, NotFound, ServerError, TooManyRequests, Unreachable)


@dataclass(frozen=True, slots=True)
class WatchLimits:
    """How much is watched, and how fast is acted; times in seconds.

    Attributes:
        kinds: watched at once; 0 watches nothing.
        objects: kept in memory at once, over all kinds.
        debounce: after an event until it is judged.
        first_delay: between the first two wake-ups for one object; doubled each time.
        longest_delay: to which that grows.
        retry: until a kind that could not be watched is tried again.
        tick: between looks at how the watches do.

    """

    kinds: int = 100
    objects: int = 100_000
    debounce: float = 0.3
    first_delay: float = 1.0
    longest_delay: float = 600.0
    retry: float = 600.0
    tick: float = 5.0


class OwnedObserver(Protocol):
    """What metrics want to know; must not raise."""

    def watched(self, *, kinds: int, objects: int) -> None:
        """So much is watched now."""
        ...

    def woken(self) -> None:
        """An owner was woken."""
        ...


@dataclass(slots=True, eq=False)
class _Watch:
    informer: Informer
    unsubscribe: Callable[[], None]
    listed: float
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def in_step(self) -> bool:
        return self.informer.synced and self.informer.error is None


@dataclass(slots=True)
class _Owner:
    """What one owner has in this cluster."""

    known: Verified
    resources: dict[ObjectRef, Resource]


@dataclass(slots=True)
class _Pace:
    """When an object last woke its owner, and how long the next time waits."""

    last: float
    delay: float


@dataclass(order=True, slots=True)
class _Look:
    due: float
    number: int
    ref: ObjectRef = field(compare=False)


class OwnedWatches:
    """Watches the owned objects of one cluster; run beside the controller's workers.

    Args:
        informers: of the controller's identity.
        selector: label selector of owned objects, whoever owns them.
        wake: called with the key of an owner that should look again; quick, must not raise.
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
        clock: Clock,
        log: Logger,
        limits: WatchLimits | None = None,
        observer: OwnedObserver | None = None,
    ) -> None:
        self._informers = informers
        self._selector = selector
        self._wake = wake
        self._clock = clock
        self._log = log
        self._limits = limits or WatchLimits()
        self._observer = observer
        self._watches: dict[Resource, _Watch] = {}
        self._users: dict[Resource, set[ObjectKey]] = {}
        self._refused: dict[Resource, float] = {}
        self._owners: dict[ObjectKey, _Owner] = {}
        self._owner_of: dict[ObjectRef, ObjectKey] = {}
        self._paces: dict[ObjectRef, _Pace] = {}
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
        for resource in resources.values():
            self._users.setdefault(resource, set()).add(key)
        self._settle()
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
        self._settle()

    async def versions(
        self, resource: Resource, refs: Iterable[ObjectRef], *, known: Verified, max_age: float
    ) -> Versions | None:
        """The versions of objects of one kind, without a request where the watch has them.

        The store of the kind is compared with one LIST if the last one is older than ``max_age``
        seconds: an event that was lost costs one interval.

        Returns:
            ``None``: the watch does not tell, ask the server. An object that it has not is left
            out.

        """
        watch = self._watches.get(resource)
        if watch is None or not await self._freshened(watch, max_age) or not watch.in_step:
            return None
        found: Versions = {}
        for ref in refs:
            stored = watch.informer.store.get(ObjectKey(ref.namespace, ref.name))
            if stored is None:
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
                group.create_task(self._keep_watches(), name="owned-watches")
        finally:
            for resource in list(self._watches):
                self._end(resource)

    # -- events --------------------------------------------------------------------------------

    def _heard(self, resource: Resource, old: JsonObject | None, new: JsonObject | None) -> None:
        obj = new or old
        if obj is None:
            return
        key = key_of(obj)
        ref = ObjectRef(resource.group, resource.kind, key.namespace, key.name)
        owner = self._owners.get(self._owner_of.get(ref, key))
        before = owner.known.get(ref) if owner and ref in owner.resources else None
        if owner is None or before is None:
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
        owner = self._owners.get(self._owner_of.get(ref, ObjectKey("", "")))
        before = owner.known.get(ref) if owner else None
        watch = self._watches.get(owner.resources[ref]) if owner else None
        if before is None or watch is None:
            return False
        stored = watch.informer.store.get(ObjectKey(ref.namespace, ref.name))
        if stored is None or _is_behind(stored, before):
            return False
        if version_of(stored) == before.resource_version:
            return False
        return uid_of(stored) != before.uid or stored["outline"] != before.outline

    # -- time ----------------------------------------------------------------------------------

    def _schedule(self, ref: ObjectRef) -> None:
        if ref in self._due:
            return
        due = self._clock.monotonic() + self._limits.debounce
        pace = self._paces.get(ref)
        if pace is not None:
            due = max(due, pace.last + pace.delay)
        self._due[ref] = due
        heapq.heappush(self._looks, _Look(due, next(self._numbers), ref))
        self._changed.set()

    async def _keep_time(self) -> None:
        while True:
            now = self._clock.monotonic()
            while self._looks and self._looks[0].due <= now:
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
        if self._differs(ref):
            owner.known.suspect(ref)
        if not owner.known.is_suspect(ref):
            return  # it was our own write, or its owner has looked since
        pace, limits = self._paces.get(ref), self._limits
        again = pace is not None and now - pace.last <= 2 * pace.delay
        delay = min(2 * pace.delay, limits.longest_delay) if pace and again else limits.first_delay
        self._paces[ref] = _Pace(now, delay)
        if self._observer is not None:
            self._observer.woken()
        self._wake(key)

    # -- watches -------------------------------------------------------------------------------

    async def _freshened(self, watch: _Watch, max_age: float) -> bool:
        async with watch.lock:
            now = self._clock.monotonic()
            if now - watch.listed <= max_age or not watch.in_step:
                return True
            try:
                await watch.informer.relist(_RELIST_SECONDS)
            except NotSynced:
                return False
            watch.listed = now
            return True

    def _forget(self, key: ObjectKey) -> None:
        owner = self._owners.pop(key, None)
        if owner is None:
            return
        for ref, resource in owner.resources.items():
            if self._owner_of.get(ref) == key:
                del self._owner_of[ref]
            self._users.get(resource, set()).discard(key)

    def _settle(self) -> None:
        """Watch what is used, as far as it may be, and nothing else."""
        for resource in [one for one, users in self._users.items() if not users]:
            del self._users[resource]
            self._refused.pop(resource, None)
            self._end(resource)
        for resource in self._users:
            if resource in self._watches or resource in self._refused:
                continue
            if len(self._watches) >= self._limits.kinds:
                self._refuse(resource, f"{self._limits.kinds} kinds are watched already")
            else:
                self._begin(resource)

    def _begin(self, resource: Resource) -> None:
        informer = self._informers.informer(
            resource, label_selector=self._selector, metadata_only=True, transform=outlined
        )
        hear = informer.subscribe(lambda old, new: self._heard(resource, old, new))
        self._watches[resource] = _Watch(informer, hear, self._clock.monotonic())

    def _end(self, resource: Resource) -> None:
        watch = self._watches.pop(resource, None)
        if watch is not None:
            watch.unsubscribe()
            self._informers.release(watch.informer)

    def _refuse(self, resource: Resource, why: str) -> None:
        self._end(resource)
        self._refused[resource] = self._clock.monotonic() + self._limits.retry
        if self._limits.kinds:
            self._log.info(
                "a kind is not watched: drift is found at intervals",
                resource=resource.group_resource,
                reason=why,
            )

    async def _keep_watches(self) -> None:
        while True:
            await self._clock.sleep(self._limits.tick)
            now = self._clock.monotonic()
            for resource, watch in list(self._watches.items()):
                error = watch.informer.error
                if isinstance(error, ApiError) and not isinstance(error, _PASSING):
                    self._refuse(resource, str(error))
            self._bound_memory()
            for resource in [one for one, until in self._refused.items() if until <= now]:
                del self._refused[resource]
            self._settle()
            old = [ref for ref, pace in self._paces.items() if now - pace.last > 2 * pace.delay]
            for ref in old:
                del self._paces[ref]
            if self._observer is not None:
                self._observer.watched(kinds=len(self._watches), objects=sum(self._sizes()))

    def _sizes(self) -> list[int]:
        return [len(watch.informer.store) for watch in self._watches.values()]

    def _bound_memory(self) -> None:
        while sum(self._sizes()) > self._limits.objects:
            largest = max(self._watches, key=lambda one: len(self._watches[one].informer.store))
            self._refuse(largest, f"more than {self._limits.objects} objects are owned")


def outlined(obj: JsonObject) -> JsonObject:
    """What is kept of an owned object (an informer's transform): identity, version, outline."""
    metadata = obj["metadata"]
    kept = {name: metadata[name] for name in ("name", "uid", "resourceVersion")}
    if "namespace" in metadata:
        kept["namespace"] = metadata["namespace"]
    return {"metadata": kept, "outline": outline(obj)}


def _number(obj: JsonObject) -> int:
    text = version_of(obj)
    return int(text) if text.isdecimal() else 0


def _is_behind(stored: JsonObject, before: Known) -> bool:
    """Whether the watch has not told yet what we have seen."""
    known = before.resource_version
    return uid_of(stored) == before.uid and known.isdecimal() and _number(stored) < int(known)
