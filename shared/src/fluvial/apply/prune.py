"""Deleting what is no longer desired, and nothing that is not ours."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from fluvial.apply.errors import Failure
from fluvial.apply.inventory import Entry, Inventory
from fluvial.apply.model import Change, Target
from fluvial.kube.client import Propagation

__all__ = ["PruneOutcome", "PruneResult", "Pruner", "Pruning"]


class PruneOutcome(StrEnum):
    """What became of one entry."""

    DELETED = "deleted"
    ABSENT = "absent"
    HANDED_OVER = "handed over"
    PROTECTED = "protected"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Pruning:
    """One entry's result; ``uid`` is that of the object deleted, for waiting."""

    entry: Entry
    outcome: PruneOutcome
    change: Change | None
    uid: str = ""
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class PruneResult:
    """All results, in the order of deletion."""

    results: tuple[Pruning, ...]

    @property
    def changes(self) -> tuple[Change, ...]:
        """Flux's change set: deleted and skipped, for the event (``change_log``)."""
        return tuple(one.change for one in self.results if one.change is not None)

    @property
    def kept(self) -> Inventory:
        """Entries that must stay in the inventory because their deletion failed."""
        return Inventory.of(
            one.entry for one in reversed(self.results) if one.outcome is PruneOutcome.FAILED
        )

    @property
    def failures(self) -> tuple[Failure, ...]:
        """What failed."""
        return tuple(one.failure for one in self.results if one.failure is not None)

    def raise_failures(self) -> None:
        """Raise ``PruneFailed`` if anything failed; ``applied`` has the changes made."""
        raise NotImplementedError


class Pruner:
    """Deletes entries for one target."""

    def __init__(self, target: Target, *, propagation: Propagation = "Background") -> None:
        self._target = target
        self._propagation = propagation

    async def prune(self, entries: Iterable[Entry]) -> PruneResult:
        """Delete in reverse order of apply; never raises for a single object."""
        raise NotImplementedError
