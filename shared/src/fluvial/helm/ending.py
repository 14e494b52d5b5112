"""What else is done with a release: tested, unlocked, uninstalled."""

from __future__ import annotations

from typing import Final

import msgspec

from fluvial.apply.model import Target
from fluvial.errors import FluvialError
from fluvial.helm import gotime
from fluvial.helm.cluster import Pause, ReleaseObjects
from fluvial.helm.errors import ActionFailed, ActionRefused, HookFailed, ReleaseNotFound
from fluvial.helm.history import is_selected
from fluvial.helm.hooks import Hooks
from fluvial.helm.kinds import uninstall_key
from fluvial.helm.manifest import objects_of
from fluvial.helm.options import TestOptions, UninstallOptions
from fluvial.helm.ownership import survives_uninstall
from fluvial.helm.release import Release, Status
from fluvial.helm.running import Running
from fluvial.helm.steps import ActionLog
from fluvial.helm.storage import ReleaseStorage
from fluvial.helm.waiting import wait_until_gone

__all__ = ["Ending", "is_unlocked"]

_UNLOCKED: Final = "Release unlocked from stale"


class Ending:
    """Actions on releases that are there.

    Args:
        target: where and as whom.
        storage: the records; told as it writes.
        log: told of each step.
        pause: waits between two looks at what is to end or to go; may raise WaitEnded.

    """

    def __init__(
        self,
        target: Target,
        storage: ReleaseStorage,
        *,
        log: ActionLog | None = None,
        pause: Pause | None = None,
    ) -> None:
        self._target = target
        self._storage = storage
        self._log = log
        self._pause = pause

    async def unlock(self, name: str) -> Release | None:
        """Mark a revision as failed that was left pending; ``None`` if there is none.

        Raises:
            StorageError, ApiError: it could not be read or written.

        """
        try:
            last = await self._storage.last(name)
        except ReleaseNotFound:
            return None
        if not last.status.is_pending:
            return None
        text = f"{_UNLOCKED} '{last.info.status}' state"
        unlocked = last.with_status(Status.FAILED, text)
        await self._storage.update(unlocked)
        return unlocked

    async def test(self, name: str, options: TestOptions) -> Release:
        """Run the tests of the newest revision; their results are in its record.

        Returns:
            The revision, whose selected tests have all succeeded.

        Raises:
            ReleaseNotFound: there is no such release.
            ActionFailed: a test has failed.

        """
        release = await self._storage.last(name)
        running = self._running(release)
        hooks = Hooks(
            self._target,
            self._objects(release),
            options.timeout,
            self._log,
            server_side=release.server_side,
        )
        try:
            await hooks.run(
                running,
                "test",
                selected=lambda hook: is_selected(hook.name, options.filters),
            )
        except HookFailed as error:
            await running.record()
            raise ActionFailed(str(error), release=running.release) from error
        await running.record()
        return running.release

    async def uninstall(self, name: str, options: UninstallOptions) -> Release:
        """Delete a release's objects, then its records; it can be repeated from wherever it ended.

        Returns:
            The newest revision, uninstalled.

        Raises:
            ReleaseNotFound: there is no such release.
            ActionRefused: it is uninstalled already, and its records are to be kept.
            ActionFailed: objects or hooks stand in the way; the records are kept.

        """
        last = await self._storage.last(name)
        if last.status is Status.UNINSTALLED:
            if options.keep_history:
                raise ActionRefused(f"release {last} is uninstalled already")
            await self._storage.purge(last)
            return last
        now = gotime.format_nano(self._target.clock.now())
        info = msgspec.structs.replace(last.info, deleted=now)
        running = self._running(msgspec.structs.replace(last, info=info))
        running.set_status(Status.UNINSTALLING, "Deletion in progress (or silently failed)")
        try:
            await self._delete(running, options)
        except FluvialError as error:
            raise ActionFailed(str(error), release=running.release) from error
        running.set_status(Status.UNINSTALLED, "Uninstallation complete")
        if not options.keep_history:
            # Not written first: a record that says so would keep the name from being used again.
            await self._storage.purge(running.release)
            return running.release
        await running.record()
        for deployed in await self._storage.deployed_all(name):
            await self._storage.update(
                deployed.with_status(Status.SUPERSEDED, deployed.info.description)
            )
        return running.release

    async def _delete(self, running: Running, options: UninstallOptions) -> None:
        release = running.release
        objects = self._objects(release)
        hooks = Hooks(self._target, objects, options.timeout, self._log)
        await running.record()
        if options.hooks:
            await hooks.run(running, "pre-delete")
        found = [obj for obj in await objects_of(release.manifest) if not survives_uninstall(obj)]
        found.sort(key=lambda obj: uninstall_key(str(obj.get("kind"))))
        deleted = await objects.delete(
            await objects.locate_known(found), propagation=options.propagation
        )
        if options.wait:
            await wait_until_gone(self._target, objects, deleted, timeout=options.timeout)
        if options.hooks:
            await hooks.run(running, "post-delete")

    def _objects(self, release: Release) -> ReleaseObjects:
        return ReleaseObjects(
            self._target,
            name=release.name,
            namespace=release.namespace,
            log=self._log,
            pause=self._pause,
        )

    def _running(self, release: Release) -> Running:
        return Running(release, storage=self._storage, clock=self._target.clock, log=self._log)


def is_unlocked(release: Release) -> bool:
    """Whether a revision failed only because nobody finished it."""
    return release.status is Status.FAILED and release.info.description.startswith(_UNLOCKED)
