"""One action under way: what it writes to the storage, and what becomes of status by that."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from fluvial.api.helm_status import ReleaseAction
from fluvial.build.helm.model import CustomResource
from fluvial.durations import format_duration
from fluvial.errors import FluvialError
from fluvial.helm import history as past
from fluvial.helm.digests import CANONICAL
from fluvial.helm.ending import Ending
from fluvial.helm.errors import ReleaseNotFound
from fluvial.helm.inventory import release_inventory
from fluvial.helm.lifecycle import Lifecycle
from fluvial.helm.manifest import objects_of
from fluvial.helm.release import Release, Status
from fluvial.helm.steps import ActionLog
from fluvial.helm.storage import ReleaseStorage
from fluvial.helm.waiting import Waits
from fluvial.objects import JsonObject, labels_of
from fluvial.runtime import conditions
from fluvial.runtime.events import EventRecorder
from helm_controller.helmrelease import approvals, reasons, verdict
from helm_controller.helmrelease.run import FIELD_MANAGER, Run
from helm_controller.helmrelease.turns import RestingWaits

__all__ = ["Acting", "Stage", "made_for", "made_for_another"]

_HAS_OBJECTS: Final[dict[ReleaseAction, bool]] = {
    "install": True,
    "upgrade": True,
    "rollback": True,
    "uninstall": False,
    "uninstall-remediation": False,
}
"""Whether there are objects of the release after an action."""


@dataclass(slots=True)
class Acting:
    """An action under way.

    Attributes:
        lifecycle: installs, upgrades and rolls back.
        ending: tests, unlocks and uninstalls.
        log: the last steps.
        waits: how objects are waited for.
        written: every write of a record, in its order.
        crds: what the chart brings, for the inventory.

    """

    lifecycle: Lifecycle
    ending: Ending
    log: ActionLog
    waits: Waits
    written: list[Release]
    crds: Iterable[CustomResource] = field(default=())


@dataclass(frozen=True, slots=True)
class Stage:
    """Where actions are done.

    Attributes:
        waits: how objects in this cluster are waited for, in any run.
        remote_waits: how objects in other clusters are, where nothing is watched.
        algorithm: of the digests in the status.

    """

    waits: Waits
    remote_waits: Waits
    events: EventRecorder
    algorithm: str = CANONICAL

    def storage(self, run: Run, written: list[Release] | None = None) -> ReleaseStorage:
        """The records of a run's release, as the tenant."""
        assert run.tenant is not None  # noqa: S101  # known by a step before
        return ReleaseStorage(
            run.tenant.client,
            run.status.storage_namespace or run.spec_of.storage_namespace,
            observe=written.append if written is not None else None,
            clock=run.turn,
            field_manager=FIELD_MANAGER,
            seen=run.seen,
        )

    def look_again(self, run: Run) -> None:
        """Forget the records that were seen: an action may have waited for hours, and has failed.

        What is undone must not be what others have released meanwhile.
        """
        run.seen.forget(self.storage(run).namespace, run.spec_of.release_name)

    def begin(self, run: Run) -> Acting:
        """What an action needs.

        Args:
            run: with tenant and target.

        """
        assert run.target is not None and run.tenant is not None  # noqa: S101, PT018  # known by a step before
        written: list[Release] = []
        inner = self.remote_waits if run.tenant.remote else self.waits
        storage, waits = self.storage(run, written), RestingWaits(inner, run.turn)
        log = ActionLog(run.target)
        return Acting(
            Lifecycle(run.target, storage, waits, log=log, pause=run.turn.pause),
            Ending(run.target, storage, log=log, pause=run.turn.pause),
            log,
            waits,
            written,
        )

    @asynccontextmanager
    async def observed(
        self, run: Run, acting: Acting, action: ReleaseAction | None
    ) -> AsyncIterator[None]:
        """Do something; what it has written is in ``run.status`` when the context is closed.

        Args:
            run: whose status.
            acting: the action.
            action: for the history; ``None`` keeps what each revision was made by.

        """
        started = run.turn.monotonic()
        try:
            yield
            self._tell_outputs(run, reasons.PROGRESSING, acting.log)
        finally:
            if action in {"install", "upgrade"}:
                took = round(run.turn.monotonic() - started, 3)
                run.status.last_attempted_release_action_duration = format_duration(took)
            await self._observe(run, acting, action)

    async def _observe(self, run: Run, acting: Acting, action: ReleaseAction | None) -> None:
        if not acting.written:
            return
        run.status.history = list(
            past.recorded(
                past.newest_first(run.status.history),
                acting.written,
                action=action or made_by(acting.written[-1]),
                oci_digest=run.chart.digest if run.chart else "",
                algorithm=self.algorithm,
            )
        )
        if action is None:
            return
        if run.approved and action in {"install", "upgrade"}:
            approvals.carried_out(run, max(acting.written, key=lambda release: release.version))
        if not _HAS_OBJECTS[action]:
            run.status.inventory = None
            return
        newest = max(acting.written, key=lambda release: release.version)
        await self._list_objects(run, newest, acting.crds)

    async def recover(self, run: Run) -> None:
        """Take note of what a process wrote that was killed before status said so.

        Without it such a revision would count as somebody else's. Status says that an action was
        under way, and the labels in the record whose it is; whoever works on the release by other
        means leaves neither.
        """
        history = past.newest_first(run.status.history)
        reconciling = conditions.get_condition(run.status.conditions, conditions.RECONCILING)
        if not history or reconciling is None or reconciling.reason != reasons.PROGRESSING:
            return
        storage, name = self.storage(run), run.spec_of.release_name
        revisions = await storage.revisions(name)
        if not revisions or revisions[-1].version <= history[0].version:
            return
        last = await storage.get(name, revisions[-1].version)
        if last.status.is_pending or not await made_for(run, last):
            return
        known = {one.version for one in history}
        before = [await storage.get(name, one.version) for one in revisions if one.version in known]
        is_of_this_chart = run.chart is not None and run.chart.version == last.metadata.version
        run.status.history = list(
            past.recorded(
                history,
                [*before, last],
                action=made_by(last),
                oci_digest=run.chart.digest if run.chart and is_of_this_chart else "",
                algorithm=self.algorithm,
            )
        )
        if approvals.is_planned(run):
            approvals.carried_out(run, last)
        _count(run, last)
        await self._list_objects(run, last, ())

    async def released_name(self, run: Run) -> str:
        """The release that is to be uninstalled with its object, ``""`` if there is none.

        A process that was killed in its first action has left a record that no status knows; the
        labels in its manifest tell whose it is. They also tell if another HelmRelease, such as this
        one under a new name, has made the release its own.
        """
        history = past.newest_first(run.status.history)
        name = history[0].name if history else run.spec_of.release_name
        try:
            last = await self.storage(run).last(name)
        except FluvialError as error:
            if history:
                return name  # the uninstall tells what is wrong
            if isinstance(error, ReleaseNotFound):
                return ""
            raise
        if not history:
            return last.name if await made_for(run, last) else ""
        if await made_for_another(run, last):
            self.tell(
                run,
                "Normal",
                reasons.UNINSTALL_SUCCEEDED,
                f"release {name} is another HelmRelease's now: it is left alone",
            )
            return ""
        return name

    async def _list_objects(
        self, run: Run, release: Release, crds: Iterable[CustomResource]
    ) -> None:
        assert run.target is not None  # noqa: S101  # known by a step before
        try:
            run.status.inventory, odd = await release_inventory(run.target, release, crds)
        except FluvialError as error:
            self.tell(run, "Warning", reasons.INVENTORY_BUILD_FAILED, str(error))
            return
        if odd:
            self.tell(run, "Warning", reasons.NAMESPACE_CHECK_SKIPPED, "\n".join(odd))

    def tell(self, run: Run, type_: str, reason: str, message: str) -> None:
        """Report an event, masked."""
        self.events.event(
            run.obj,
            type="Warning" if type_ == "Warning" else "Trace" if type_ == "Trace" else "Normal",
            reason=reason,
            message=run.masker.text(message),
            metadata=run.event_metadata(),
        )

    def tell_failure(self, run: Run, reason: str, message: str, log: ActionLog) -> None:
        """Report a failure with the last steps; what hooks have written stays in the cluster."""
        is_wanted = reason == reasons.HEALTH_CHECK_CANCELED
        self.tell(run, "Normal" if is_wanted else "Warning", reason, log.after(message))
        self._tell_outputs(run, reason, log)

    def _tell_outputs(self, run: Run, reason: str, log: ActionLog) -> None:
        for output in log.outputs:
            self.tell(run, "Trace", reason, str(output))


def made_by(release: Release) -> ReleaseAction:
    """The action that a revision was made by, as far as it tells."""
    description = release.info.description
    rolled_back = "pending-rollback" in description or description.startswith("Rollback to ")
    if release.status is Status.PENDING_ROLLBACK or rolled_back:
        return "rollback"
    if release.status is Status.PENDING_INSTALL or "pending-install" in description:
        return "install"
    return "install" if release.version == 1 else "upgrade"


def _count(run: Run, release: Release) -> None:
    """Status after a revision whose action was killed at its very end."""
    action, status = made_by(release), run.status
    if action == "rollback":
        well = release.status is Status.DEPLOYED
        verdict.mark(
            run,
            reasons.REMEDIATED,
            "True" if well else "False",
            reasons.ROLLBACK_SUCCEEDED if well else reasons.ROLLBACK_FAILED,
            f"Helm rollback of release {release}: {release.info.description}",
        )
    elif release.status is Status.FAILED:
        status.failures += 1
        status.install_failures += action == "install"
        status.upgrade_failures += action == "upgrade"
        reason = reasons.INSTALL_FAILED if action == "install" else reasons.UPGRADE_FAILED
        message = f"Helm {action} failed for release {release}: {release.info.description}"
        verdict.mark(run, reasons.RELEASED, "False", reason, message)


async def made_for(run: Run, release: Release) -> bool:
    """Whether the labels in a record say that it was made for this run's object."""
    return any(run.owner.owns(obj) for obj in await _all_objects(release))


async def made_for_another(run: Run, release: Release) -> bool:
    """Whether a record's labels say that another HelmRelease made it, and not this one."""
    objects = await _all_objects(release)
    keys = run.owner.labels.keys()
    labelled = [obj for obj in objects if keys <= labels_of(obj).keys()]
    return bool(labelled) and not any(run.owner.owns(obj) for obj in labelled)


async def _all_objects(release: Release) -> list[JsonObject]:
    """The objects and hooks, none where they cannot be read."""
    try:
        objects = await objects_of(release.manifest)
        for hook in release.hooks:
            objects += await objects_of(hook.manifest)
    except FluvialError:
        return []
    return objects
