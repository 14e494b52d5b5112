"""The revision that an action works on: what it is now, and what of it has been stored."""

from __future__ import annotations

import msgspec

from fluvial.clock import Clock
from fluvial.helm import gotime
from fluvial.helm.release import Hook, HookPhase, HookRun, Release, Status
from fluvial.helm.steps import ActionLog
from fluvial.helm.storage import ReleaseStorage

__all__ = ["Running"]


class Running:
    """One revision while an action goes on.

    Args:
        release: as it is to begin with.
        storage: where it is written.
        clock: for the times of hooks.
        log: told what is written.

    """

    def __init__(
        self,
        release: Release,
        *,
        storage: ReleaseStorage,
        clock: Clock,
        log: ActionLog | None = None,
    ) -> None:
        self.release = release
        self._storage = storage
        self._clock = clock
        self._log = log

    def set_status(self, status: Status, description: str) -> None:
        """Change the state, without writing it."""
        self.release = self.release.with_status(status, description)

    async def create(self, *, limit: int = 0) -> None:
        """Write the revision for the first time, which is the lock; raises as the storage does."""
        await self._storage.create(self.release, limit=limit)
        self._note()

    async def record(self) -> None:
        """Write the revision as it is now."""
        await self._storage.update(self.release)
        self._note()

    def _note(self) -> None:
        if self._log is not None:
            self._log.add(f"stored release {self.release} as {self.release.info.status}")

    def hook(self, index: int) -> Hook:
        """A hook as it is now."""
        return self.release.hooks[index]

    def hook_started(self, index: int) -> None:
        """A hook is about to be made."""
        run = HookRun(started_at=self._now(), phase=HookPhase.RUNNING)
        self._set_run(index, run)

    def hook_ended(self, index: int, phase: HookPhase) -> None:
        """A hook has ended."""
        run = self.hook(index).last_run
        ended = msgspec.structs.replace(run, completed_at=self._now(), phase=phase.value)
        self._set_run(index, ended)

    def _set_run(self, index: int, run: HookRun) -> None:
        hooks = list(self.release.hooks)
        hooks[index] = msgspec.structs.replace(hooks[index], last_run=run)
        self.release = msgspec.structs.replace(self.release, hooks=tuple(hooks))

    def _now(self) -> str:
        return gotime.format_nano(self._clock.now())
