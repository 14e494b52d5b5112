"""Being woken when a waited-for object changes: one shared metadata watch for each kind.

Watches run under the controller's identity and carry metadata of owner-labelled objects only.
What comes out of here is "look again", never content.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fluvial.apply.live import version_of
from fluvial.apply.owned_kinds import outliner
from fluvial.clock import Clock
from fluvial.kube.informer import Informer, InformerFactory
from fluvial.kube.resource import Resource
from fluvial.objects import JsonObject, ObjectKey, ObjectRef, key_of

__all__ = ["WakeUps"]

_LINGER = 300.0

Woken = Callable[[ObjectRef, str], None]


@dataclass(slots=True)
class _Watch:
    informer: Informer
    unsubscribe: Callable[[], None]
    users: int = 0
    unused_since: float = 0.0


class WakeUps:
    """Watches for the kinds that are being waited for.

    Args:
        informers: of the controller's identity; ``None`` watches nothing.
        selector: label selector of owned objects (any owner).
        woken: called with an object and its resourceVersion (``""``: gone) at each change.
        clock: the time; a watch is kept for 5 minutes after its last use.

    """

    def __init__(
        self,
        informers: InformerFactory | None,
        *,
        selector: str,
        woken: Woken,
        clock: Clock,
    ) -> None:
        self._informers = informers
        self._selector = selector
        self._woken = woken
        self._clock = clock
        self._watches: dict[Resource, _Watch] = {}

    def use(self, resource: Resource) -> None:
        """Somebody waits for an object of the kind."""
        if self._informers is None:
            return
        watch = self._watches.get(resource)
        if watch is None:
            informer = self._informers.informer(
                resource,
                label_selector=self._selector,
                metadata_only=True,
                transform=outliner(
                    self._selector
                ),  # as the watches for drift have it: they are one
            )
            hear = informer.subscribe(lambda old, new: self._changed(resource, old, new))
            watch = self._watches[resource] = _Watch(informer, hear)
        watch.users += 1

    def unuse(self, resource: Resource) -> None:
        """One waits for it no longer."""
        watch = self._watches.get(resource)
        if watch is not None:
            watch.users -= 1
            watch.unused_since = self._clock.monotonic()

    def sweep(self) -> None:
        """End the watches that nobody has used for a while, or that nobody uses and that fail.

        A definition that is deleted with its objects leaves a watch of the second sort.
        """
        limit = self._clock.monotonic() - _LINGER
        for resource, watch in list(self._watches.items()):
            if watch.users > 0:
                continue
            if watch.unused_since <= limit or watch.informer.error is not None:
                self._end(resource)

    def close(self) -> None:
        """End all watches."""
        for resource in list(self._watches):
            self._end(resource)

    def covers(self, resource: Resource, key: ObjectKey) -> bool:
        """Whether a change of this object would be heard: watched, in step, and labelled."""
        watch = self._watches.get(resource)
        if watch is None or not watch.informer.synced or watch.informer.error is not None:
            return False
        return watch.informer.store.get(key) is not None

    def in_step(self, resource: Resource, key: ObjectKey, version: str) -> bool:
        """Whether the object is covered and still in this version."""
        if not self.covers(resource, key):
            return False
        stored = self._watches[resource].informer.store.get(key)
        return stored is not None and version_of(stored) == version

    def _end(self, resource: Resource) -> None:
        watch = self._watches.pop(resource)
        watch.unsubscribe()
        if self._informers is not None:
            self._informers.release(watch.informer)

    def _changed(self, resource: Resource, old: JsonObject | None, new: JsonObject | None) -> None:
        obj = new or old
        if obj is None:
            return
        key = key_of(obj)
        ref = ObjectRef(resource.group, resource.kind, key.namespace, key.name)
        self._woken(ref, "" if new is None else version_of(new))
