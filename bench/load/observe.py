"""When each object became what it should be, told by watches on the harness's own clock."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from fluvial.kube.informer import Informer, InformerFactory
from fluvial.kube.resource import Resource
from fluvial.objects import JsonObject, ObjectKey, key_of

__all__ = ["Late", "Moments", "Observer", "is_ready"]

Test = Callable[[JsonObject | None], bool]


@dataclass(frozen=True, slots=True)
class Late:
    """What was not there in time."""

    kind: str
    keys: tuple[ObjectKey, ...]
    example: str
    """What one of them says of itself."""


@dataclass(slots=True)
class Moments:
    """When each of some objects first passed a test, in seconds of ``perf_counter``."""

    kind: str
    wanted: Mapping[ObjectKey, Test]
    at: dict[ObjectKey, float] = field(default_factory=dict)
    done: asyncio.Event = field(default_factory=asyncio.Event)

    def see(self, key: ObjectKey, obj: JsonObject | None) -> None:
        """Take note of an object; ``None`` where it is gone."""
        if key in self.at or key not in self.wanted or not self.wanted[key](obj):
            return
        self.at[key] = time.perf_counter()
        if len(self.at) == len(self.wanted):
            self.done.set()


class Observer:
    """Follows kinds in one namespace.

    Args:
        informers: of the bare client.
        namespace: where the workload is.

    """

    def __init__(self, informers: InformerFactory, namespace: str) -> None:
        self._informers = informers
        self._namespace = namespace
        self._followed: dict[str, Informer] = {}

    async def follow(self, resource: Resource) -> None:
        """Begin to watch a kind."""
        if resource.kind not in self._followed:
            informer = self._informers.informer(resource, namespace=self._namespace)
            self._followed[resource.kind] = informer
            await informer.wait_synced()

    def objects(self, kind: str) -> list[JsonObject]:
        """What is there now."""
        return list(self._followed[kind].store.list())

    @contextmanager
    def attending(self, *expected: Moments) -> Iterator[None]:
        """Take note of what is expected for as long as the context lasts; begin before the cause.

        Objects that pass already are seen at once.
        """
        ends = [self._attend(one) for one in expected]
        try:
            yield
        finally:
            for end in ends:
                end()

    async def wait(self, *expected: Moments, timeout: float) -> tuple[Late, ...]:
        """Wait until all that is expected has been seen; what was not after ``timeout`` seconds."""
        try:
            async with asyncio.timeout(timeout):
                for one in expected:
                    if one.wanted:
                        await one.done.wait()
        except TimeoutError:
            return tuple(self._late(one) for one in expected if len(one.at) < len(one.wanted))
        return ()

    def _attend(self, moments: Moments) -> Callable[[], None]:
        def changed(old: JsonObject | None, new: JsonObject | None) -> None:
            moments.see(key_of(new or old or {}), new)

        informer = self._followed[moments.kind]
        end = informer.subscribe(changed)
        for key in moments.wanted:
            if informer.store.get(key) is None:
                moments.see(key, None)
        return end

    def _late(self, moments: Moments) -> Late:
        keys = tuple(sorted(set(moments.wanted) - set(moments.at)))
        obj = self._followed[moments.kind].store.get(keys[0])
        return Late(moments.kind, keys, _says(obj))


def is_ready(generation: int) -> Test:
    """Whether an object says Ready=True of this generation, or a later one."""

    def ready(obj: JsonObject | None) -> bool:
        if obj is None:
            return False
        status = obj.get("status") or {}
        observed = status.get("observedGeneration", 0)
        if observed < generation or observed != obj["metadata"].get("generation"):
            return False
        conditions = status.get("conditions") or []
        return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)

    return ready


def _says(obj: JsonObject | None) -> str:
    if obj is None:
        return "it does not exist"
    conditions = (obj.get("status") or {}).get("conditions") or []
    said = [f"{one['type']}={one['status']}: {one.get('message', '')}" for one in conditions]
    return "; ".join(said) or "it says nothing of itself"
