"""One run of one Kustomization: what the steps hand on to each other, and how status is written."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

from fluvial.api.kustomize import Kustomization, KustomizationStatus, ResourceInventory, ResourceRef
from fluvial.apply import Inventory, Owner
from fluvial.artifact.sources import SourceName
from fluvial.clock import Clock
from fluvial.delivery.run import DeliveryRun
from fluvial.objects import JsonObject
from fluvial.runtime import conditions
from fluvial.runtime.patcher import StatusPatcher, with_status
from kustomize_controller.kustomization import reasons
from kustomize_controller.kustomization.config import Config
from kustomize_controller.kustomization.memory import Memory
from kustomize_controller.kustomization.references import source_name

__all__ = ["FIELD_MANAGER", "Run", "StatusWriter"]

FIELD_MANAGER = "gotk-kustomize-controller"
_GROUP = "kustomize.toolkit.fluxcd.io"


@dataclass(slots=True)
class Run(DeliveryRun[Kustomization, Memory]):
    """State of one run; steps read it top-down and add what later steps need.

    Attributes:
        clock: tells the time of conditions.
        started: on the monotonic clock.
        silent: status already says that this generation and revision are applied; a run that
            finds nothing new writes nothing.
        config: variables, once read.
        digest: of the built set, once built; what the history records.
        changed: whether anything was created, configured or pruned.

    """

    clock: Clock
    started: float
    silent: bool = False
    config: Config | None = None
    digest: str = ""
    changed: bool = False

    def now(self) -> datetime:
        """Wall time."""
        return self.clock.now()

    @property
    def status(self) -> KustomizationStatus:
        """The status that the run will write."""
        return self.spec_of.status

    @property
    def source_name(self) -> SourceName:
        """The object that has the artifact."""
        return source_name(self.spec_of)

    @property
    def fresh(self) -> bool:
        """Trust no cache."""
        return bool(self.requested)

    @property
    def owner(self) -> Owner:
        """Who owns what this run applies."""
        return Owner(_GROUP, "Kustomization", self.key.namespace, self.key.name)

    @property
    def revision(self) -> str:
        """The revision of the artifact, or ``""`` before it is known."""
        return self.source.artifact.revision if self.source else ""

    @property
    def attempt(self) -> str:
        """Identity of (object, generation, artifact, config), known once these are."""
        artifact = self.source.artifact if self.source else None
        parts = (
            self.spec_of.metadata.uid,
            str(self.generation),
            artifact.revision if artifact else "",
            artifact.digest if artifact else "",
            self.config.digest if self.config else "",
        )
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    @property
    def inventory(self) -> Inventory:
        """The inventory that status has now."""
        entries = self.status.inventory.entries if self.status.inventory else ()
        return Inventory.from_status({"entries": [{"id": e.id, "v": e.v} for e in entries]})

    def set_inventory(self, inventory: Inventory) -> None:
        """Put an inventory into the status that will be written."""
        entries = tuple(ResourceRef(id=entry.id, v=entry.v) for entry in inventory)
        self.status.inventory = ResourceInventory(entries=entries)

    def event_metadata(self, *, final: bool = False) -> dict[str, str]:
        """Metadata of an event about this run."""
        metadata = {}
        if self.revision:
            metadata[f"{_GROUP}/revision"] = self.revision
        if self.source and self.source.origin_revision:
            metadata[f"{_GROUP}/originRevision"] = self.source.origin_revision
        if final:
            metadata[f"{_GROUP}/commit_status"] = "update"
        return metadata


class StatusWriter:
    """Writes the status of runs."""

    def __init__(self, patcher: StatusPatcher) -> None:
        self._patcher = patcher

    async def save(self, run: Run) -> None:
        """Write what differs between the status that is there and ``run.status``.

        Inventory entries that somebody else has stored meanwhile are kept: no object is ever
        owned by nobody.

        Raises:
            Conflict: the object kept changing.
            NotFound: it is gone.

        """
        before = run.obj
        after = with_status(before, run.status)

        def rebase(latest: JsonObject, wanted: JsonObject) -> JsonObject:
            return _with_entries_since(before, latest, wanted)

        run.obj = run.memory.latest = await self._patcher.patch(before, after, rebase=rebase)
        run.taken |= run.obj is not before
        # After a conflict it may be the status of another spec than the one that is worked on.
        run.taken &= run.obj.get("spec") == before.get("spec")
        stored = _inventory_in(run.obj)
        if run.status.inventory is not None or len(stored):
            run.set_inventory(stored)

    async def progress(self, run: Run, message: str) -> None:
        """Report that a new attempt is on its way, and what it does now."""
        run.set_condition(conditions.RECONCILING, "True", reasons.PROGRESSING, message)
        in_progress = "Reconciliation in progress"
        run.set_condition(reasons.READY, "Unknown", reasons.PROGRESSING, in_progress)
        await self.save(run)

    async def store_ahead(self, run: Run, inventory: Inventory) -> None:
        """Store the union of ``inventory`` and what status has, before anything of it is written.

        Raises:
            Conflict: the object kept changing.
            NotFound: it is gone.

        """
        run.set_inventory(run.inventory.union(inventory))
        await self.save(run)


def _inventory_in(obj: JsonObject) -> Inventory:
    return Inventory.from_status((obj.get("status") or {}).get("inventory"))


def _with_entries_since(before: JsonObject, latest: JsonObject, wanted: JsonObject) -> JsonObject:
    """``wanted`` with the entries that ``latest`` has and ``before`` had not."""
    added = _inventory_in(latest).subtract(_inventory_in(before))
    if not len(added):
        return wanted
    inventory = _inventory_in(wanted).union(added).to_status()
    return {**wanted, "status": {**wanted["status"], "inventory": inventory}}
