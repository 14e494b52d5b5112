"""One object on an API server, and a cache of it that may lag behind."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from fluvial.api.kustomize import Kustomization
from fluvial.api.meta import FINALIZER, RECONCILE_REQUEST
from fluvial.artifact.sources import SourceName
from fluvial.clock import RealClock
from fluvial.delivery.opening import Opening
from fluvial.delivery.run import DeliveryRun
from fluvial.kube.client import KubeClient
from fluvial.kube.errors import NotFound
from fluvial.kube.kinds import KUSTOMIZATION
from fluvial.kube.store import Store
from fluvial.log import get_logger
from fluvial.objects import JsonObject, ObjectKey
from fluvial.runtime.memory import Memories, ObjectMemory
from fluvial.runtime.patcher import StatusPatcher, apply_merge

KEY = ObjectKey("team", "app")
SOURCE = SourceName(KEY, "GitRepository", KEY)


def kustomization(version: int = 1, *, request: str = "", **metadata: Any) -> JsonObject:
    """A Kustomization that has its finalizer."""
    annotations = {RECONCILE_REQUEST: request} if request else {}
    return {
        "metadata": {
            "namespace": "team",
            "name": "app",
            "uid": "u",
            "generation": 1,
            "resourceVersion": str(version),
            "finalizers": [FINALIZER],
            "annotations": annotations,
            **metadata,
        },
        "spec": {
            "interval": "1m",
            "prune": True,
            "sourceRef": {"kind": "GitRepository", "name": "app"},
        },
    }


@dataclass(slots=True)
class Run(DeliveryRun[Kustomization, ObjectMemory]):
    """A run that knows its source."""

    def now(self) -> datetime:
        """Wall time."""
        return RealClock().now()

    @property
    def source_name(self) -> SourceName:
        """The object that has the artifact."""
        return SOURCE

    def event_metadata(self) -> dict[str, str]:
        """Nothing but a mark."""
        return {"of": "the run"}


class Cluster:
    """An API server with at most one object.

    Attributes:
        live: the object as the server has it.
        store: the cache.
        reads: how often the object was read live.

    """

    def __init__(self, live: JsonObject | None, cached: JsonObject | None = None) -> None:
        self.live = live
        self.reads = 0
        self.store = Store()
        cached = live if cached is None else cached
        self.store.replace([cached] if cached else [])
        self.memories = Memories(ObjectMemory, on_forget=lambda _: None)

    @property
    def client(self) -> KubeClient:
        """Speaks to the server."""
        return cast("KubeClient", self)

    async def get(self, *_: Any, **__: Any) -> JsonObject:
        """The object."""
        self.reads += 1
        return deepcopy(self._found())

    async def patch(self, _resource: Any, _key: ObjectKey, patch: JsonObject, **_: Any) -> Any:
        """The object with a merge patch, in its next version."""
        version = int(self._found()["metadata"]["resourceVersion"]) + 1
        patch = apply_merge(patch, {"metadata": {"resourceVersion": str(version)}})
        self.live = apply_merge(self._found(), patch)
        return deepcopy(self.live)

    def opening(self) -> Opening[Kustomization, ObjectMemory]:
        """Opens the object."""
        patcher = StatusPatcher(
            self.client, KUSTOMIZATION, field_manager="m", owned=frozenset(), clock=RealClock()
        )
        return Opening(
            self.client,
            self.store,
            patcher,
            self.memories,
            resource=KUSTOMIZATION,
            model=Kustomization,
            log=get_logger("test"),
        )

    def _found(self) -> JsonObject:
        if self.live is None:
            raise NotFound("there is none", status=404)
        return self.live
