"""One reconcile of one generator: what was read, and what the status is to become."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from fluvial.api.codec import encode
from fluvial.api.meta import Condition
from fluvial.api.source_extensions import ArtifactGenerator, ExternalArtifactReference
from fluvial.clock import Clock
from fluvial.objects import JsonObject, ObjectKey, key_of
from fluvial.runtime import conditions
from fluvial.runtime.conditions import Conditioned
from source_controller.artifactgenerator.pathpattern import is_object_name

__all__ = ["GeneratorRun"]


@dataclass(slots=True)
class GeneratorRun(Conditioned):
    """The state of one reconcile.

    Attributes:
        live: the object as the server has it, after our last write.
        obj: the same, typed, as it was at the start.
        status: what the status is to become.
        conditions: what ``status.conditions`` is to become.
        requested: somebody asked for this run by annotation; no cache may answer it.
        quiet: nothing asked for this run but a timer or a trigger.

    """

    live: JsonObject
    obj: ArtifactGenerator
    clock: Clock
    status: dict[str, Any]
    conditions: list[Condition]
    requested: bool
    quiet: bool

    @classmethod
    def start(cls, live: JsonObject, obj: ArtifactGenerator, clock: Clock) -> Self:
        """A run on an object that was just read."""
        asked = obj.metadata.reconcile_request
        requested = bool(asked) and asked != obj.status.last_handled_reconcile_at
        ready = conditions.get_condition(obj.status.conditions, conditions.READY)
        tried = ready.observed_generation if ready and ready.status != "Unknown" else -1
        return cls(
            live=live,
            obj=obj,
            clock=clock,
            status=dict(live.get("status") or {}),
            conditions=list(obj.status.conditions),
            requested=requested,
            quiet=tried == obj.metadata.generation and not requested,
        )

    @property
    def key(self) -> ObjectKey:
        """Namespace and name."""
        return key_of(self.live)

    @property
    def uid(self) -> str:
        """Which object of this name it is."""
        return self.obj.metadata.uid

    @property
    def inventory(self) -> dict[str, ExternalArtifactReference]:
        """What was generated last, by name; entries that cannot be ours are forged, and ignored."""
        own = self.key.namespace
        return {
            item.name: item
            for item in self.obj.status.inventory
            if item.namespace == own and is_object_name(item.name)
        }

    @property
    def generation(self) -> int:
        """The generation that this run works on."""
        return self.obj.metadata.generation

    def now(self) -> datetime:
        """Wall time."""
        return self.clock.now()

    def generated(self, inventory: list[ExternalArtifactReference], sources_digest: str) -> None:
        """Note what was generated, and of what."""
        self.status["inventory"] = [encode(item) for item in inventory]
        self.status["observedSourcesDigest"] = sources_digest
