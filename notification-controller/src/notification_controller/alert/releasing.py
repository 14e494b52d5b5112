"""Providers and Alerts have nothing to be cleaned up: a finalizer on them is another installation's."""

from __future__ import annotations

from dataclasses import dataclass

from fluvial.api.meta import FINALIZER
from fluvial.kube.client import KubeClient
from fluvial.kube.errors import NotFound
from fluvial.kube.informer import Informer
from fluvial.kube.resource import Resource
from fluvial.objects import JsonObject, ObjectKey
from fluvial.runtime.outcome import Ignored, Result
from fluvial.runtime.patcher import StatusPatcher
from fluvial.runtime.queue import WorkQueue
from fluvial.runtime.triggers import own_key, watch_with

__all__ = ["Releasing", "connect"]


@dataclass(frozen=True, slots=True)
class Releasing:
    """Takes the finalizer off objects of one kind that are being deleted."""

    client: KubeClient
    resource: Resource
    patcher: StatusPatcher

    async def reconcile(self, key: ObjectKey) -> Result:
        """One object.

        Raises:
            Ignored: it is gone.

        """
        try:
            obj = await self.client.get(self.resource, key)
            if _is_held(None, obj):
                await self.patcher.remove_finalizer(obj)
        except NotFound as error:
            raise Ignored from error
        return Result()


def connect(own: Informer, queue: WorkQueue[ObjectKey]) -> None:
    """Wake for objects that wait for their finalizer."""
    watch_with(own, _is_held, own_key, queue)


def _is_held(_old: JsonObject | None, new: JsonObject | None) -> bool:
    metadata = (new or {}).get("metadata") or {}
    return "deletionTimestamp" in metadata and FINALIZER in (metadata.get("finalizers") or ())
