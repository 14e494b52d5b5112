"""Which kinds of owned objects are watched: as many as may be, and for as long as they are used.

One metadata-only watch a kind, over all owners and namespaces, under the controller's identity. Of
each object its identity, version and outline are kept. A kind that cannot be watched is left to
its users' own requests for a while, and then tried again.
"""

from __future__ import annotations

import asyncio
import functools
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from fluvial.apply.hashing import outline
from fluvial.clock import Clock
from fluvial.kube.errors import ApiError, Gone, NotFound, ServerError, TooManyRequests, Unreachable
from fluvial.kube.informer import Informer, InformerFactory, NotSynced
from fluvial.kube.reflector import Transform
from fluvial.kube.resource import Resource
from fluvial.log import Logger
from fluvial.objects import JsonObject, ObjectKey

__all__ = ["KindWatch", "KindWatches", "WatchLimits", "outliner"]

Heard = Callable[[Resource, JsonObject | None, JsonObject | None], None]

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
        peace: without a change after a wake-up until the next one is a first one again; at least
            twice the delay.
        retry: until a kind that could not be watched is tried again.
        tick: between looks at how the watches do.

    """

    kinds: int = 100
    objects: int = 100_000
    debounce: float = 0.3
    first_delay: float = 1.0
    longest_delay: float = 600.0
    peace: float = 60.0
    retry: float = 600.0
    tick: float = 5.0


@dataclass(slots=True, eq=False)
class KindWatch:
    """The watch of one kind.

    Attributes:
        informer: whose store has outlined objects.
        unsubscribe: ends the subscription to it.
        listed: when its store was last compared with a LIST, on the monotonic clock.

    """

    informer: Informer
    unsubscribe: Callable[[], None]
    listed: float
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def in_step(self) -> bool:
        """Whether the store has what the server has, as far as is known."""
        return self.informer.synced and self.informer.error is None

    def stored(self, namespace: str, name: str) -> JsonObject | None:
        """The outlined object."""
        return self.informer.store.get(ObjectKey(namespace, name))

    async def freshened(self, clock: Clock, max_age: float) -> bool:
        """Compare the store with a LIST if the last one is too old; whether it is in step then."""
        async with self._lock:
            now = clock.monotonic()
            if self.in_step and now - self.listed > max_age:
                try:
                    await self.informer.relist(_RELIST_SECONDS)
                except NotSynced:
                    return False
                self.listed = now
            return self.in_step


class KindWatches:
    """Watches kinds, by who uses them.

    Args:
        informers: of the controller's identity.
        selector: the owner label with the name, ``<group>/name``: selects whatever is owned.
        heard: told each change with the outlined object before and after.
        clock: the time.
        log: told what cannot be watched.
        limits: see there.

    """

    def __init__(
        self,
        informers: InformerFactory,
        *,
        selector: str,
        heard: Heard,
        clock: Clock,
        log: Logger,
        limits: WatchLimits,
    ) -> None:
        self._informers = informers
        self._selector = selector
        self._heard = heard
        self._clock = clock
        self._log = log
        self._limits = limits
        self.watches: dict[Resource, KindWatch] = {}
        self.refused: dict[Resource, float] = {}
        self._users: dict[Resource, set[ObjectKey]] = {}

    def use(self, user: ObjectKey, resources: Iterable[Resource]) -> None:
        """A user has objects of these kinds, and of no others any more."""
        wanted = set(resources)
        for resource, users in list(self._users.items()):
            if resource in wanted:
                continue
            users.discard(user)
            if not users:
                del self._users[resource]
                self.refused.pop(resource, None)
                self._end(resource)
        for resource in wanted:
            self._users.setdefault(resource, set()).add(user)
        self._settle()

    def tend(self) -> None:
        """End what fails or is too large; try again what was refused a while ago."""
        now = self._clock.monotonic()
        for resource, watch in list(self.watches.items()):
            error = watch.informer.error
            if isinstance(error, ApiError) and not isinstance(error, _PASSING):
                self._refuse(resource, str(error))
        while self.objects > self._limits.objects:
            largest = max(self.watches, key=lambda one: len(self.watches[one].informer.store))
            self._refuse(largest, f"more than {self._limits.objects} objects are owned")
        for resource in [one for one, until in self.refused.items() if until <= now]:
            del self.refused[resource]
        self._settle()

    @property
    def objects(self) -> int:
        """How many objects are kept."""
        return sum(len(watch.informer.store) for watch in self.watches.values())

    def close(self) -> None:
        """End all watches."""
        for resource in list(self.watches):
            self._end(resource)

    def _settle(self) -> None:
        for resource in self._users:
            if resource in self.watches or resource in self.refused:
                continue
            if len(self.watches) >= self._limits.kinds:
                self._refuse(resource, f"{self._limits.kinds} kinds are watched already")
            else:
                self._begin(resource)

    def _begin(self, resource: Resource) -> None:
        informer = self._informers.informer(
            resource,
            label_selector=self._selector,
            metadata_only=True,
            transform=outliner(self._selector),
        )
        hear = informer.subscribe(lambda old, new: self._heard(resource, old, new))
        self.watches[resource] = KindWatch(informer, hear, self._clock.monotonic())

    def _end(self, resource: Resource) -> None:
        watch = self.watches.pop(resource, None)
        if watch is not None:
            watch.unsubscribe()
            self._informers.release(watch.informer)

    def _refuse(self, resource: Resource, why: str) -> None:
        self._end(resource)
        self.refused[resource] = self._clock.monotonic() + self._limits.retry
        self._log.info(
            "a kind is not watched: drift is found at intervals",
            resource=resource.group_resource,
            reason=why,
        )


@functools.cache
def outliner(label: str) -> Transform:
    """An informer's transform that keeps identity, version, outline and owner of an object.

    The same label gives the same function, so that informers are shared.

    Args:
        label: the owner label that has the name, ``<group>/name``.

    """
    group = label.rpartition("/")[0]

    def outlined(obj: JsonObject) -> JsonObject:
        metadata = obj["metadata"]
        kept = {name: metadata[name] for name in ("name", "uid", "resourceVersion")}
        if "namespace" in metadata:
            kept["namespace"] = metadata["namespace"]
        labels = metadata.get("labels") or {}
        owner = f"{labels.get(f'{group}/namespace', '')}/{labels.get(f'{group}/name', '')}"
        return {"metadata": kept, "outline": outline(obj), "owner": sys.intern(owner)}

    return outlined
