"""What others changed of a Kustomization's objects: heard at once, or found by its timer."""

from __future__ import annotations

from dataclasses import dataclass

from fluvial.apply import OwnedWatches, Target, suspect_changed
from fluvial.objects import ObjectKey
from kustomize_controller.kustomization.run import Run

__all__ = ["DriftStep"]


@dataclass(frozen=True, slots=True)
class DriftStep:
    """Looks for changes, and listens for them.

    Attributes:
        watches: of the objects in this cluster; ``None`` listens to nothing.

    """

    watches: OwnedWatches | None

    async def is_suspected(self, run: Run, target: Target) -> bool:
        """Whether some object may not be as it was verified; costs nothing where it is watched."""
        changed = await suspect_changed(
            target,
            run.inventory,
            known=run.memory.known,
            watches=None if run.spec_of.spec.kube_config else self.watches,
            max_age=run.spec_of.spec.interval_seconds,
        )
        return bool(changed)

    async def listen(self, run: Run, target: Target) -> None:
        """From now on, hear of changes of what the run has applied.

        Objects in other clusters are not watched: their timer finds what changed.
        """
        if self.watches is None:
            return
        if run.spec_of.spec.kube_config:
            self.watches.release(run.key)
            return
        await self.watches.follow(
            run.key, run.inventory, mapper=target.mapper, known=run.memory.known
        )

    def listened(self, run: Run) -> None:
        """A wait has ended during which nothing was corrected: what was heard counts now."""
        if self.watches is not None:
            self.watches.check(run.key)

    def release(self, key: ObjectKey) -> None:
        """The object is gone, or going: nothing of its is corrected any more."""
        if self.watches is not None:
            self.watches.release(key)
