"""Sending a change set: those bytes and nothing else."""

from __future__ import annotations

from fluvial.apply.model import ApplyOptions, Change, ChangeSet, Target, Verified

__all__ = ["Applier"]


class Applier:
    """Applies change sets to one target."""

    def __init__(self, target: Target, options: ApplyOptions) -> None:
        self._target = target
        self._options = options

    async def apply(self, change_set: ChangeSet, *, known: Verified) -> tuple[Change, ...]:
        """Write what was planned, in order, and record what is then known.

        Raises:
            StageFailed: a write failed or the live object is not the planned one; ``applied``
                holds what was done before.

        """
        raise NotImplementedError
