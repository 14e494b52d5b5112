"""Opening an object: reading it in its newest state, and making it ours, before a run.

It is read from the cache or, where our own last write is newer than that, as that write left it;
live where somebody asked for the run, and where a cache was found to be outdated.
"""

from __future__ import annotations

from typing import Generic, NamedTuple, TypeVar

from fluvial.api.codec import InvalidObject, decode
from fluvial.delivery.run import DeliveredObject
from fluvial.kube.client import KubeClient
from fluvial.kube.errors import NotFound
from fluvial.kube.resource import Resource
from fluvial.kube.store import Store
from fluvial.log import Logger
from fluvial.objects import JsonObject, ObjectKey
from fluvial.runtime.memory import Memories, ObjectMemory
from fluvial.runtime.outcome import Ignored
from fluvial.runtime.patcher import StatusPatcher

__all__ = ["ObjectGone", "Opened", "Opening"]

ObjectT = TypeVar("ObjectT", bound=DeliveredObject)
MemoryT = TypeVar("MemoryT", bound=ObjectMemory)


class ObjectGone(Ignored):
    """The object is not there any more; forget what was kept for it."""


class Opened(NamedTuple, Generic[ObjectT, MemoryT]):
    """An object to work on; the fields are those that ``DeliveryRun`` begins with."""

    key: ObjectKey
    obj: JsonObject
    spec_of: ObjectT
    memory: MemoryT
    requested: str
    live: bool


class Opening(Generic[ObjectT, MemoryT]):
    """Opens the objects of one kind.

    Args:
        client: reads what is live, under the controller's own identity.
        store: the cache.
        patcher: adds the finalizer.
        memories: what this process remembers of the kind's objects.
        resource: the kind.
        model: its typed form.
        log: is told of objects that the CRD should have refused.

    """

    def __init__(
        self,
        client: KubeClient,
        store: Store,
        patcher: StatusPatcher,
        memories: Memories[MemoryT],
        *,
        resource: Resource,
        model: type[ObjectT],
        log: Logger,
    ) -> None:
        self._client = client
        self._store = store
        self._patcher = patcher
        self._memories = memories
        self._resource = resource
        self._model = model
        self._log = log

    async def open(self, key: ObjectKey, *, live: bool) -> Opened[ObjectT, MemoryT]:
        """Read the object and make it ours by the finalizer, unless it is being deleted.

        Args:
            key: which.
            live: ask the API server, whatever the cache has.

        Raises:
            ObjectGone: there is no such object.
            Ignored: it does not have its kind's shape; that is logged, and it is left alone.
            ApiError: it could not be read or written.

        """
        cached = self._store.get(key)
        if cached is None:
            raise ObjectGone
        obj = self._memories.newest(key, cached)
        typed = self._typed(obj)
        memory = self._memories.of(key, cached)
        live = live or bool(_open_request(typed, memory.request))
        try:
            if live:
                obj = await self._client.get(self._resource, key)
            obj = await self._patcher.add_finalizer(obj)
        except NotFound:
            raise ObjectGone from None
        typed = self._typed(obj)
        # Of the object as it is now: a request that came meanwhile is answered by this run.
        requested = _open_request(typed, memory.request)
        memory.latest = obj
        memory.request = typed.metadata.reconcile_request
        return Opened(key, obj, typed, memory, requested, live)

    def _typed(self, obj: JsonObject) -> ObjectT:
        try:
            return decode(obj, self._model)
        except InvalidObject as error:
            self._log.error("the object does not have its kind's shape", error=str(error))
            raise Ignored from error


def _open_request(obj: DeliveredObject, seen: str) -> str:
    """The reconcile request that no run has answered or begun to answer, or ``""``."""
    token = obj.metadata.reconcile_request
    handled = obj.status.last_handled_reconcile_at
    return token if token and token not in {handled, seen} else ""
