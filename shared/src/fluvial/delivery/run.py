"""One run of one object that is made from a source: what every kind's steps hand on."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import KW_ONLY, dataclass, field
from typing import Generic, TypeVar

from fluvial.api.helm import HelmRelease
from fluvial.api.kustomize import Kustomization
from fluvial.api.meta import Condition
from fluvial.apply import HealthExpressions, Masker
from fluvial.artifact.sources import Source, SourceName
from fluvial.kube.tenants import Actor
from fluvial.objects import JsonObject, ObjectKey
from fluvial.runtime.conditions import Conditioned
from fluvial.runtime.memory import ObjectMemory

__all__ = ["DeliveredObject", "DeliveryRun"]


DeliveredObject = Kustomization | HelmRelease
"""The kinds whose objects bring a source into a cluster."""

ObjectT = TypeVar("ObjectT", bound=DeliveredObject)
MemoryT = TypeVar("MemoryT", bound=ObjectMemory)


@dataclass(slots=True)
class DeliveryRun(Conditioned, Generic[ObjectT, MemoryT]):
    """State of one run; a kind has a subclass with what its own steps need.

    The first six are what ``Opening.open`` answers.

    Attributes:
        key: namespace and name.
        obj: the object as the API server last had it.
        spec_of: its typed form; its status is the one that the run will write.
        memory: what this process remembers of the object.
        requested: the reconcile request that this run answers, or ``""``.
        live: object and source were read from the API server, or confirmed by it, in this run.
        taken: the API server has this very object, with this spec.
        source: the artifact, once found.
        health: how the health of some kinds is read, once compiled.
        masker: hides every string that came from a Secret.

    """

    key: ObjectKey
    obj: JsonObject
    spec_of: ObjectT
    memory: MemoryT
    requested: str
    live: bool
    _: KW_ONLY
    taken: bool = False
    source: Source | None = None
    health: HealthExpressions | None = None
    masker: Masker = field(default_factory=Masker)

    @property
    @abstractmethod
    def source_name(self) -> SourceName:
        """The object that has the artifact."""

    @property
    def generation(self) -> int:
        """The generation that this run is about."""
        return self.spec_of.metadata.generation

    @property
    def conditions(self) -> list[Condition]:
        """Those of the status that will be written."""
        return self.spec_of.status.conditions

    @conditions.setter
    def conditions(self, conditions: list[Condition]) -> None:
        self.spec_of.status.conditions = conditions

    @property
    def is_deleted(self) -> bool:
        """Whether somebody has asked for the object to go."""
        return self.spec_of.metadata.deletion_timestamp is not None

    @property
    def actor(self) -> Actor:
        """What the object says about who acts for it."""
        spec = self.spec_of.spec
        return Actor(self.key, spec.service_account_name or "", spec.kube_config)

    @property
    def dependency_keys(self) -> list[ObjectKey]:
        """The objects of the kind that must come first."""
        return [key for key, _ in self.dependencies]

    @property
    def dependencies(self) -> list[tuple[ObjectKey, str]]:
        """Each of them with the expression that says when it is ready, or ``""``."""
        own = self.key.namespace
        return [
            (ObjectKey(one.namespace or own, one.name), one.ready_expr)
            for one in self.spec_of.spec.depends_on
        ]

    @abstractmethod
    def event_metadata(self) -> dict[str, str]:
        """Metadata of an event about this run."""
