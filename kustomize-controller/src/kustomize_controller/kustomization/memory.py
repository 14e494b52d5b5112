"""What the process remembers of each Kustomization: ids and hashes, never manifests."""

from __future__ import annotations

from dataclasses import dataclass, field

from fluvial.apply import PruneResult, Verified
from fluvial.runtime.memory import ObjectMemory

__all__ = ["Memory", "PendingHealth", "Removal"]


@dataclass(frozen=True, slots=True)
class PendingHealth:
    """An attempt that has been applied and whose health is awaited.

    Attributes:
        attempt: its identity.
        digest: of the applied set, for the history.
        started: on the monotonic clock, when its reconcile began.
        changed: whether the apply changed anything.
        silent: a run that found everything in place; it reports only what is new.

    """

    attempt: str
    digest: str
    started: float
    changed: bool
    silent: bool


@dataclass(frozen=True, slots=True)
class Removal:
    """Objects that were deleted with their Kustomization; ``started`` is on the monotonic clock."""

    pruned: PruneResult
    started: float


@dataclass(slots=True)
class Memory(ObjectMemory):
    """One Kustomization's.

    Attributes:
        known: what is verified of its objects.
        pending: the attempt that waits for health.
        removal: what the deletion of the object has deleted, while its end is awaited.

    """

    known: Verified = field(default_factory=Verified)
    pending: PendingHealth | None = None
    removal: Removal | None = None
