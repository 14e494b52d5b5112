"""How a kind says what it is to the controller that runs it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from fluvial.kube.informer import Informer
from fluvial.kube.resource import Resource
from fluvial.kube.store import IndexFunction
from fluvial.objects import ObjectKey
from fluvial.runtime.outcome import Result
from fluvial.runtime.queue import WorkQueue

__all__ = ["SourceKind", "Wiring"]


@dataclass(frozen=True, slots=True)
class Wiring:
    """What triggers are made of.

    Attributes:
        own: the objects that this process reconciles, with the kind's indexes.
        everyone: the same kind without a shard's selector.
        queue: of the kind.
        other: the informer of another kind, without a shard's selector; its first list is
            waited for before anything is reconciled.

    """

    own: Informer
    everyone: Informer
    queue: WorkQueue[ObjectKey]
    other: Callable[[Resource], Informer]


@dataclass(frozen=True, slots=True)
class SourceKind:
    """One kind, ready to run: it gets a queue and workers of its own.

    Attributes:
        resource: the kind.
        reconcile: such as ``SourceReconciler.reconcile``.
        connect: wires the triggers.
        indexes: for ``Wiring.own``.
        stored_as: the kind whose objects the artifacts in storage belong to, if it is another.
        concurrency: objects at once at least, where they mostly wait.

    """

    resource: Resource
    reconcile: Callable[[ObjectKey], Awaitable[Result]]
    connect: Callable[[Wiring], None]
    indexes: Mapping[str, IndexFunction] = field(default_factory=dict)
    stored_as: Resource | None = None
    concurrency: int = 0
