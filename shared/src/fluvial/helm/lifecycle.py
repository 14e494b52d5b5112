"""What is done with a release: install, upgrade, roll back; ``ending`` has the rest.

Each action writes the revision as pending before it touches an object, and as deployed or failed
when it ends. Of an action that was killed in between, the pending record is left, which ``unlock``
marks as failed: the next action then starts from there. An error before the first write is raised
as it is; one after it is an ``ActionFailed``, and the revision is stored as failed.

Objects are applied by the server or by the client, as the revision's record says.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from fluvial.apply.model import Target
from fluvial.errors import FluvialError
from fluvial.helm.carrying import CarryingOut
from fluvial.helm.cluster import Located, Pause, ReleaseObjects
from fluvial.helm.errors import ActionFailed, ActionRefused, ReleaseNotFound
from fluvial.helm.making import rolled_back
from fluvial.helm.manifest import objects_of
from fluvial.helm.options import ApplyOptions
from fluvial.helm.release import Release, Status
from fluvial.helm.running import Running
from fluvial.helm.steps import ActionLog
from fluvial.helm.storage import ReleaseStorage
from fluvial.helm.waiting import Waits
from fluvial.kube.errors import AlreadyExists, NotFound
from fluvial.kube.kinds import NAMESPACE
from fluvial.objects import ObjectKey

__all__ = ["Lifecycle"]

_NAME = re.compile(
    r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*", re.ASCII
)
_LONGEST_NAME = 53
_REUSABLE = frozenset({Status.UNINSTALLED, Status.FAILED})


class Lifecycle:
    """Actions on the releases of one storage, as one tenant.

    Args:
        target: where and as whom objects are written.
        storage: the records; told as it writes.
        waits: how objects are waited for.
        log: told of each step, for events of failure.
        pause: waits between two looks at a hook; may raise WaitEnded.

    """

    def __init__(
        self,
        target: Target,
        storage: ReleaseStorage,
        waits: Waits,
        *,
        log: ActionLog | None = None,
        pause: Pause | None = None,
    ) -> None:
        self._target = target
        self._storage = storage
        self._waits = waits
        self._log = log
        self._pause = pause

    async def current(self, name: str) -> Release:
        """The revision that an upgrade starts from: the deployed one, else the newest.

        Raises:
            ReleaseNotFound: there is no release of this name.
            ActionRefused: it is pending, or uninstalled.

        """
        last = await self._storage.last(name)
        if last.status.is_pending:
            raise ActionRefused(f"release {last} is being worked on: {last.info.status}")
        if last.status is Status.DEPLOYED:
            return last
        try:
            return await self._storage.deployed(name)
        except ReleaseNotFound:
            if last.status not in {Status.FAILED, Status.SUPERSEDED}:
                raise ActionRefused(f"release {name} has no deployed revision") from None
            return last

    async def next_version(self, name: str) -> int:
        """The number of the next revision, which templates are told."""
        revisions = await self._storage.revisions(name)
        return revisions[-1].version + 1 if revisions else 1

    async def install(self, release: Release, options: ApplyOptions) -> Release:
        """Install a release that is not there.

        Args:
            release: pending, as ``making.new_release`` gives it.
            options: how.

        Returns:
            The revision, deployed.

        Raises:
            ActionRefused: the name is in use, or is none.
            OwnershipError, ManifestError, NoMatch, ApiError, StorageError: nothing was written.
            ActionFailed: the revision is stored as failed.

        """
        if len(release.name) > _LONGEST_NAME or not _NAME.fullmatch(release.name):
            raise ActionRefused(
                f"{release.name[:100]!r} is no name for a release: use up to {_LONGEST_NAME} lower"
                " case letters, digits, hyphens and dots"
            )
        last = await self._name_is_free(release, options)
        objects = self._objects(release)
        located = await objects.locate(await objects_of(release.manifest))
        existing = await objects.existing(located, take=options.take_ownership)
        if options.create_namespace:
            await self._create_namespace(release.namespace)
        if last is not None and last.status is not Status.FAILED:
            superseded = last.with_status(Status.SUPERSEDED, "superseded by new release")
            await self._storage.update(superseded)
        running = self._running(release)
        await running.create()
        run = self._run(objects, options, release)
        try:
            await run.hooks(running, "pre-install")
            await run.write(located, existing=existing)
            await run.wait(located)
            await run.hooks(running, "post-install")
        except FluvialError as error:
            raise await self._failed(running, "Release", error) from error
        running.set_status(Status.DEPLOYED, "Install complete")
        await running.record()
        return running.release

    async def upgrade(
        self, release: Release, *, current: Release, options: ApplyOptions
    ) -> Release:
        """Upgrade a release.

        Args:
            release: pending, as ``making.new_release`` gives it.
            current: what ``current`` gave when the upgrade was begun.
            options: how.

        Returns:
            The revision, deployed.

        Raises:
            OwnershipError, ManifestError, NoMatch, ApiError, StorageError: nothing was written;
                ``ReleaseExists`` says that somebody else was faster.
            ActionFailed: the revision is stored as failed.

        """
        objects = self._objects(release)
        before = await objects.locate_known(await objects_of(current.manifest))
        after = await objects.locate(await objects_of(release.manifest))
        known = {one.ref for one in before}
        added = [one for one in after if one.ref not in known]
        existing = await objects.existing(added, take=options.take_ownership)
        created = [one for one in added if one.ref not in existing]
        running = self._running(release)
        await running.create(limit=options.history_limit)
        run = self._run(objects, options, release)
        try:
            await run.hooks(running, "pre-upgrade")
            # A failed revision in between may have been applied by the client.
            settled = current.server_side and current.version == release.version - 1
            taken_over = () if settled else known
            await run.write(after, existing=existing, before=before, taken_over=taken_over)
            await run.delete_stale(before, after)
            await run.wait(after)
            await run.hooks(running, "post-upgrade")
        except FluvialError as error:
            raise await self._failed(running, "Upgrade", error, run=run, created=created) from error
        await self._supersede(current)
        running.set_status(Status.DEPLOYED, "Upgrade complete")
        await running.record()
        return running.release

    async def roll_back(self, name: str, version: int, options: ApplyOptions) -> Release:
        """Make a new revision of what an older one had, without rendering anything.

        Args:
            name: of the release.
            version: the revision to go back to.
            options: how.

        Returns:
            The revision, deployed.

        Raises:
            ReleaseNotFound: one of the two revisions is not there.
            ActionRefused: the release is pending.
            ManifestError, NoMatch, ApiError, StorageError: nothing was written.
            ActionFailed: the revision is stored as failed.

        """
        last = await self._storage.last(name)
        if last.status.is_pending:
            raise ActionRefused(f"release {last} is being worked on: {last.info.status}")
        target = await self._storage.get(name, version)
        release = rolled_back(
            target,
            last=last,
            now=self._target.clock.now(),
            server_side=options.by_server(target),
        )
        objects = self._objects(release)
        before = await objects.locate_known(await objects_of(last.manifest))
        after = await objects.locate(await objects_of(release.manifest))
        known = {one.ref for one in before}
        added = [one for one in after if one.ref not in known]
        existing = await objects.existing(added, take=True)
        created = [one for one in added if one.ref not in existing]
        running = self._running(release)
        await running.create(limit=options.history_limit)
        run = self._run(objects, options, release)
        try:
            await run.hooks(running, "pre-rollback")
            await run.write(after, existing=existing, before=before, taken_over=known)
            await run.delete_stale(before, after)
            await run.wait(after)
            await run.hooks(running, "post-rollback")
        except FluvialError as error:
            raise await self._failed(
                running, "Rollback", error, run=run, created=created
            ) from error
        for deployed in await self._storage.deployed_all(name):
            await self._supersede(deployed)
        running.set_status(Status.DEPLOYED, release.info.description)
        await running.record()
        return running.release

    async def _supersede(self, release: Release) -> None:
        """Say of a revision that another one has come; where it is gone, nothing need be said."""
        superseded = release.with_status(Status.SUPERSEDED, release.info.description)
        try:
            await self._storage.update(superseded)
        except ReleaseNotFound:
            return

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

    def _run(self, objects: ReleaseObjects, options: ApplyOptions, release: Release) -> CarryingOut:
        return CarryingOut(
            self._target,
            objects,
            waits=self._waits,
            options=options,
            log=self._log,
            server_side=release.server_side,
        )

    async def _name_is_free(self, release: Release, options: ApplyOptions) -> Release | None:
        """The record whose name is used again, if there is one."""
        try:
            last = await self._storage.last(release.name)
        except ReleaseNotFound:
            return None
        if not options.replace or last.status not in _REUSABLE:
            raise ActionRefused(
                f"release {last} is there already, and is {last.info.status}:"
                " its name cannot be used again"
            )
        return last

    async def _create_namespace(self, name: str) -> None:
        try:
            await self._target.client.get(NAMESPACE, ObjectKey("", name))
        except NotFound:
            body = {
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {"name": name, "labels": {"name": name}},
            }
            manager = self._target.field_manager
            try:
                await self._target.client.create(NAMESPACE, body, field_manager=manager)
            except AlreadyExists:
                return

    async def _failed(
        self,
        running: Running,
        what: str,
        error: FluvialError,
        *,
        run: CarryingOut | None = None,
        created: Sequence[Located] = (),
    ) -> ActionFailed:
        """Store the failure and clean up; what then goes wrong must not hide the failure itself."""
        name = running.release.name
        running.set_status(Status.FAILED, f'{what} "{name}" failed: {error}')
        problems = [str(error)]
        try:
            await running.record()
        except FluvialError as second:
            problems.append(f"the failure could not be recorded: {second}")
        if run is not None:
            problems += await run.clean_up(created)
        return ActionFailed("; ".join(problems), release=running.release)
