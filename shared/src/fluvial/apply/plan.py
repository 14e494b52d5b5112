"""The plan of one stage: what would be written, checked by the server as the tenant."""

from __future__ import annotations

from fluvial.apply.model import ApplyOptions, ChangeSet, Target, Verified
from fluvial.apply.order import Stage

__all__ = ["Planner"]


class Planner:
    """Plans stages for one target; holds no state of its own."""

    def __init__(self, target: Target, options: ApplyOptions) -> None:
        self._target = target
        self._options = options

    async def plan_stage(self, stage: Stage, *, known: Verified) -> ChangeSet:
        """Compare a stage with the cluster; writes nothing.

        Raises:
            StageRejected: some object cannot be applied; every failing object is listed.

        """
        raise NotImplementedError
