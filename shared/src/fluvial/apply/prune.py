"""Deleting what is no longer desired, and nothing that is not ours.

An entry leaves the inventory only after its object was deleted, was seen to be absent, or was
seen to belong to somebody else now. Each DELETE names the uid and resourceVersion of the read
that passed the owner check, so that an object that changes hands in between is not deleted.
Identity is group, kind, namespace and name; the entry's version is a hint.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby

from fluvial.apply.bounded import map_bounded
from fluvial.apply.errors import Failure, FailureReason, InvalidEntry, PruneFailed
from fluvial.apply.failures import ends_all, failure_of, kind_missing
from fluvial.apply.inventory import Entry, Inventory
from fluvial.apply.live import uid_of, version_of
from fluvial.apply.model import Action, Change, Target
from fluvial.apply.order import rank, ref_sort_key
from fluvial.apply.policy import prune_protection
from fluvial.errors import FluvialError
from fluvial.kube.client import Propagation
from fluvial.kube.discovery import NoMatch
from fluvial.kube.errors import Conflict, NotFound
from fluvial.kube.resource import Resource
from fluvial.objects import ObjectKey, ObjectRef

__all__ = ["PruneOutcome", "PruneResult", "Pruner", "Pruning"]

_CONFLICT_ATTEMPTS = 5


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

    results: tuple[Pruning, ...] = ()

    @property
    def changes(self) -> tuple[Change, ...]:
        """Flux's change set: deleted and skipped, for the event (``change_log``)."""
        return tuple(one.change for one in self.results if one.change is not None)

    @property
    def kept(self) -> Inventory:
        """Entries that must stay in the inventory, in apply order: their deletion failed."""
        return Inventory.of(
            one.entry for one in reversed(self.results) if one.outcome is PruneOutcome.FAILED
        )

    @property
    def failures(self) -> tuple[Failure, ...]:
        """What failed."""
        return tuple(one.failure for one in self.results if one.failure is not None)

    def raise_failures(self) -> None:
        """Raise ``PruneFailed`` if anything failed; ``applied`` has the changes made."""
        if self.failures:
            raise PruneFailed(failures=self.failures, applied=self.changes)


class Pruner:
    """Deletes entries for one target.

    Args:
        target: where, as whom, and whose labels an object must carry to be deleted.
        propagation: what happens to the objects' dependents (Flux: background).

    """

    def __init__(self, target: Target, *, propagation: Propagation = "Background") -> None:
        self._target = target
        self._propagation = propagation

    async def prune(self, entries: Iterable[Entry]) -> PruneResult:
        """Delete in reverse order of apply; kinds of one rank side by side.

        What fails is a result and not an exception: the rest is deleted all the same. An entry
        that cannot be read as an id is kept as failed.
        """
        readable: list[tuple[Entry, ObjectRef]] = []
        results: list[Pruning] = []
        for entry in entries:
            try:
                readable.append((entry, entry.ref))
            except InvalidEntry as error:
                failure = Failure(
                    ObjectRef("", "", "", entry.id), FailureReason.INVALID, str(error)
                )
                results.append(Pruning(entry, PruneOutcome.FAILED, None, failure=failure))
        readable.sort(key=lambda pair: ref_sort_key(pair[1]), reverse=True)
        broken: list[Failure] = []

        async def prune_one(pair: tuple[Entry, ObjectRef]) -> Pruning:
            if broken:
                text = f"{pair[1]} delete was not tried, since the API server does not answer"
                failure = Failure(pair[1], broken[0].reason, text)
                return Pruning(pair[0], PruneOutcome.FAILED, None, failure=failure)
            result = await self._prune_one(*pair)
            if result.failure is not None and ends_all(result.failure):
                broken.append(result.failure)
            return result

        for _, group in groupby(readable, key=lambda pair: rank(pair[1].kind)):
            results += await map_bounded(
                prune_one, tuple(group), limit=self._target.concurrency, name="prune"
            )
        return PruneResult(tuple(results))

    async def _prune_one(self, entry: Entry, ref: ObjectRef) -> Pruning:
        try:
            return await self._delete(entry, ref)
        except FluvialError as error:
            return self._failed(entry, ref, error)

    async def _delete(self, entry: Entry, ref: ObjectRef) -> Pruning:
        """Read, check, delete; again if the object changed between read and delete.

        Raises:
            ApiError: a read or the deletion was refused, or the server was not reached.
            FluvialError: the entry names something that no URL can be made of.

        """
        resource = await self._resource(entry, ref)
        if resource is None:
            return self._absent(entry, ref)
        key = ObjectKey(ref.namespace if resource.namespaced else "", ref.name)
        attempt = 0
        while True:
            attempt += 1
            try:
                live = await self._target.client.get(resource, key)
                kept = self._keeps(entry, ref, live)
                if kept is not None:
                    return kept
                await self._target.client.delete(
                    resource,
                    key,
                    uid=uid_of(live),
                    resource_version=version_of(live),
                    propagation=self._propagation,
                )
            except NotFound as error:
                if self._is_absence(error, key) or not await self._served(ref):
                    return self._absent(entry, ref)
                raise
            except Conflict:
                if attempt == _CONFLICT_ATTEMPTS:
                    raise
                continue
            change = Change(ref, entry.v, Action.DELETED)
            return Pruning(entry, PruneOutcome.DELETED, change, uid=uid_of(live))

    async def _resource(self, entry: Entry, ref: ObjectRef) -> Resource | None:
        """Where the kind is served now; ``None`` if a complete fresh discovery lacks it."""
        try:
            return await self._target.mapper.resource_for_kind(
                ref.group, ref.kind, version_hint=entry.v
            )
        except NoMatch:
            if await self._served(ref):
                raise
            return None

    async def _served(self, ref: ObjectRef) -> bool:
        return await self._target.mapper.has_kind_fresh(ref.group, ref.kind)

    @staticmethod
    def _is_absence(error: NotFound, key: ObjectKey) -> bool:
        """Whether the answer is a Status about that very object, not about its kind."""
        return not kind_missing(error) and error.details.get("name") == key.name

    def _keeps(self, entry: Entry, ref: ObjectRef, live: dict[str, object]) -> Pruning | None:
        """The result for an object that must not be deleted."""
        owner = self._target.owner
        if not owner.owns(live):
            why = f"its labels do not name {owner.kind} {owner.namespace}/{owner.name}"
            change = Change(ref, entry.v, Action.SKIPPED, why)
            return Pruning(entry, PruneOutcome.HANDED_OVER, change)
        why = prune_protection(owner, live)
        if why:
            change = Change(ref, entry.v, Action.SKIPPED, why)
            return Pruning(entry, PruneOutcome.PROTECTED, change)
        return None

    @staticmethod
    def _absent(entry: Entry, ref: ObjectRef) -> Pruning:
        change = Change(ref, entry.v, Action.DELETED, "it was not there")
        return Pruning(entry, PruneOutcome.ABSENT, change)

    def _failed(self, entry: Entry, ref: ObjectRef, error: FluvialError) -> Pruning:
        failure = failure_of(ref, error, masker=self._target.masker, during="delete")
        return Pruning(entry, PruneOutcome.FAILED, None, failure=failure)
