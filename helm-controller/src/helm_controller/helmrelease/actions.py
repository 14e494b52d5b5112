"""What is done when the state machine has decided; each leaves conditions and events behind.

An action that fails before it has written a record has changed nothing that counts: the error goes
up and is tried again under backoff. One that fails later is counted, and the state machine decides
what follows.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Literal

from fluvial.api.helm import HelmRelease
from fluvial.apply import asked_to_wait
from fluvial.durations import format_duration
from fluvial.errors import FluvialError
from fluvial.helm import history as past
from fluvial.helm.errors import ActionFailed, ActionRefused, ReleaseNotFound
from fluvial.helm.facts import Step
from fluvial.helm.observing import FORCE_REQUEST
from fluvial.helm.options import ApplyOptions, TestOptions, UninstallOptions
from fluvial.helm.policy import Policy
from fluvial.helm.release import Release, Status
from fluvial.runtime.outcome import Failed, Stalled, Waiting
from helm_controller.helmrelease import reasons, verdict
from helm_controller.helmrelease.acting import Acting, Stage, made_for, made_for_another
from helm_controller.helmrelease.approvals import carried_out, found, is_planned
from helm_controller.helmrelease.plans import Plans, adopts
from helm_controller.helmrelease.rendering import Made, Rendering
from helm_controller.helmrelease.run import Run, StatusWriter

__all__ = ["Actions", "forget_failures"]

_SUCCEEDED: Final = {"install": reasons.INSTALL_SUCCEEDED, "upgrade": reasons.UPGRADE_SUCCEEDED}
_FAILED: Final = {"install": reasons.INSTALL_FAILED, "upgrade": reasons.UPGRADE_FAILED}

ReleaseVerb = Literal["install", "upgrade"]


@dataclass(frozen=True, slots=True)
class Actions:
    """Does what was decided."""

    stage: Stage
    rendering: Rendering
    plans: Plans
    writer: StatusWriter

    async def install(self, run: Run, policy: Policy, *, version: int) -> bool:
        """Install as a revision; raises Failed or Waiting if nothing has been stored.

        Returns:
            Whether the objects are now as they were rendered.

        """
        options = ApplyOptions.of_install(run.spec_of)

        async def make() -> Made:
            return await self.rendering.make(
                run, version=version, before=None, server_side=options.by_server(None)
            )

        planned = await self.plans.agreed(run, make, current=None, options=options)
        run.status.history = []

        async def work(acting: Acting) -> Release:
            await self.rendering.definitions(run, acting.waits, before=None)
            made = planned or await make()
            acting.crds, run.archive = made.crds, None
            return await acting.lifecycle.install(made.release, options)

        return bool(await self._release(run, policy, verb="install", options=options, work=work))

    async def upgrade(self, run: Run, policy: Policy, step: Step, *, last: Release) -> bool:
        """Upgrade the newest revision, or adopt it; raises and returns as ``install``."""
        options = ApplyOptions.of_upgrade(run.spec_of)

        async def make(current: Release) -> Made:
            return await self.rendering.make(
                run,
                version=last.version + 1,
                before=current,
                server_side=options.by_server(last),
            )

        planned: Made | None = None
        if is_planned(run):
            if not run.status.history:
                found(run, last)
            current = await self._current(run, last)
            planned = await self.plans.agreed(
                run,
                lambda: make(current),
                current=current,
                options=options,
                may_adopt=step.adopt_if_same,
            )

        async def work(acting: Acting) -> Release:
            current = await self._current(run, last)
            if step.adopt_if_same:
                made = planned or await make(current)
                if await adopts(run, current, made):
                    acting.crds, run.archive = made.crds, None
                    acting.written.append(current)
                    return current
            await self.rendering.definitions(run, acting.waits, before=current)
            made = planned or await make(current)
            acting.crds, run.archive = made.crds, None
            return await acting.lifecycle.upgrade(made.release, current=current, options=options)

        released = await self._release(run, policy, verb="upgrade", options=options, work=work)
        return released is not None and released.version > last.version

    async def _current(self, run: Run, last: Release) -> Release:
        """The revision that an upgrade starts from."""
        if last.status is Status.DEPLOYED:
            return last
        return await self.stage.begin(run).lifecycle.current(last.name)

    async def _release(
        self,
        run: Run,
        policy: Policy,
        *,
        verb: ReleaseVerb,
        options: ApplyOptions,
        work: Callable[[Acting], Awaitable[Release]],
    ) -> Release | None:
        """Do it; the revision, ``None`` if it failed."""
        run.clear(reasons.TEST_SUCCESS)
        run.status.last_attempted_release_action = verb
        verdict.progressing(
            run, f"Running '{verb}' action with timeout of {format_duration(options.timeout)}"
        )
        await self.writer.save(run)
        acting = self.stage.begin(run)
        try:
            async with self.stage.observed(run, acting, verb):
                release = await work(acting)
        except (Waiting, Stalled, Failed):
            raise
        except FluvialError as error:
            _answer_force(run)
            await self._release_failed(run, acting, error, verb=verb)
            return None
        except Exception:
            # Nobody foresaw it, and what was stored is pending: it is not tried more often for that.
            _count_failure(run, acting, verb)
            raise
        _answer_force(run)
        run.clear(reasons.REMEDIATED)
        verdict.rendered(run)
        message = _succeeded(verb, release)
        verdict.mark(run, reasons.RELEASED, "True", _SUCCEEDED[verb], message)
        if policy.tests:
            verdict.mark(
                run,
                reasons.TEST_SUCCESS,
                "Unknown",
                reasons.AWAITING_TESTS,
                f"Release {_named(release)} is awaiting tests",
            )
        remedy = policy.install if verb == "install" else policy.upgrade
        if remedy.retry_seconds is not None:
            forget_failures(run)
        self._end(run, "Normal", _SUCCEEDED[verb], message)
        return release

    async def _release_failed(
        self, run: Run, acting: Acting, error: FluvialError, *, verb: ReleaseVerb
    ) -> None:
        message = f"Helm {verb} failed for release {verdict.full_name(run)}: {error}"
        reason = verdict.failure(run, _FAILED[verb])
        verdict.mark(run, reasons.RELEASED, "False", reason, message)
        _count_failure(run, acting, verb)
        self.stage.tell_failure(run, reason, message, acting.log)
        if not acting.written:
            raise Failed(reason, message, retry_after=asked_to_wait(error) or None) from error
        self.stage.look_again(run)
        verdict.summarise(run)
        await self.writer.save(run)

    async def test(self, run: Run, policy: Policy) -> None:
        """Run the tests of the newest revision."""
        options = TestOptions.of(run.spec_of)
        name = run.spec_of.release_name
        verdict.progressing(
            run, f"Running 'test' action with timeout of {format_duration(options.timeout)}"
        )
        await self.writer.save(run)
        failure: FluvialError | None = None
        acting = self.stage.begin(run)
        async with self.stage.observed(run, acting, None):
            try:
                release = await acting.ending.test(name, options)
            except ActionFailed as error:
                failure, release = error, error.release
        tests = past.hooks_tested(release, options.filters)
        run.status.history = list(past.with_tests(tuple(run.status.history), tests))
        if failure is None:
            done = f"{len(tests)} test hook(s) completed successfully" if tests else "no test hooks"
            message = f"{_succeeded('test', release)}: {done}"
            verdict.mark(run, reasons.TEST_SUCCESS, "True", reasons.TEST_SUCCEEDED, message)
            self._end(run, "Normal", reasons.TEST_SUCCEEDED, message)
            return
        message = f"Helm test failed for release {_named(release)}: {failure}"
        reason = verdict.failure(run, reasons.TEST_FAILED)
        verdict.mark(run, reasons.TEST_SUCCESS, "False", reason, message)
        run.status.failures += 1
        self._count_failed_test(run, policy)
        self.stage.look_again(run)
        verdict.summarise(run)
        self.stage.tell_failure(run, reason, message, acting.log)
        await self.writer.save(run)

    def _count_failed_test(self, run: Run, policy: Policy) -> None:
        """A failed test is a failure of the action that made the release, where tests count."""
        if run.status.last_attempted_release_action == "install":
            run.status.install_failures += 0 if policy.install.ignores_tests else 1
        elif run.status.last_attempted_release_action == "upgrade":
            run.status.upgrade_failures += 0 if policy.upgrade.ignores_tests else 1

    async def roll_back(self, run: Run, step: Step) -> bool:
        """Go back to an older revision; whether it went well."""
        assert step.target is not None  # noqa: S101  # decided together with it
        options, version = ApplyOptions.of_rollback(run.spec_of), step.target.version

        async def work(acting: Acting) -> Release:
            name = run.spec_of.release_name
            return await acting.lifecycle.roll_back(name, version, options)

        return await self._remediate(
            run,
            verb="rollback",
            kind="rollback",
            outcome=(reasons.ROLLBACK_SUCCEEDED, reasons.ROLLBACK_FAILED),
            work=work,
        )

    async def uninstall(self, run: Run) -> bool:
        """Uninstall because of a failure; whether it went well."""

        async def work(acting: Acting) -> Release:
            options = UninstallOptions.of(run.spec_of)
            return await acting.ending.uninstall(run.spec_of.release_name, options)

        return await self._remediate(
            run,
            verb="uninstall",
            kind="uninstall-remediation",
            outcome=(reasons.UNINSTALL_SUCCEEDED, reasons.UNINSTALL_FAILED),
            work=work,
        )

    async def _remediate(
        self,
        run: Run,
        *,
        verb: Literal["rollback", "uninstall"],
        kind: Literal["rollback", "uninstall-remediation"],
        outcome: tuple[str, str],
        work: Callable[[Acting], Awaitable[Release]],
    ) -> bool:
        verdict.progressing(run, f"Running '{verb}' action to undo a failure")
        await self.writer.save(run)
        succeeded, failed = outcome
        acting = self.stage.begin(run)
        try:
            async with self.stage.observed(run, acting, kind):
                release = await work(acting)
        except FluvialError as error:
            message = f"Helm {verb} failed for release {verdict.full_name(run)}: {error}"
            failed = verdict.failure(run, failed)
            verdict.mark(run, reasons.REMEDIATED, "False", failed, message)
            run.status.failures += 1
            self.stage.tell_failure(run, failed, message, acting.log)
            if not acting.written:
                raise Failed(failed, message) from error
            verdict.summarise(run)
            await self.writer.save(run)
            return False
        message = _succeeded(verb, release)
        verdict.mark(run, reasons.REMEDIATED, "True", succeeded, message)
        self._end(run, "Normal", succeeded, message)
        return True

    async def unlock(self, run: Run) -> None:
        """Mark what was left pending as failed, so that the next action starts from there.

        A release of others does not become ours by that.
        """
        has_history = bool(run.status.history)
        acting = self.stage.begin(run)
        async with self.stage.observed(run, acting, None):
            release = await acting.ending.unlock(run.spec_of.release_name)
        if release is None:
            return
        if not has_history and not await made_for(run, release):
            run.status.history = []
        elif is_planned(run):
            carried_out(run, release)
        message = f"Unlocked release {_named(release)}: {release.info.description}"
        verdict.mark(run, reasons.RELEASED, "False", reasons.PENDING_RELEASE, message)
        self._end(run, "Warning", reasons.PENDING_RELEASE, message)

    async def finish_uninstall(self, run: Run, last: Release) -> None:
        """Uninstall to its end what was left half way; a missing record is the end.

        Raises:
            Failed: StateError, for what another HelmRelease has made; UninstallFailed.

        """
        if await made_for_another(run, last):
            raise Failed(
                reasons.STATE_ERROR,
                f"release {_named(last)} is being uninstalled, and is another HelmRelease's",
            )
        await self.take_away(run, run.spec_of)
        run.status.history = []
        run.status.inventory = None
        await self.writer.save(run)

    async def take_away(self, run: Run, release: HelmRelease, *, name: str = "") -> None:
        """Uninstall for good; that there is nothing (any more) is as good.

        Args:
            run: with tenant and target.
            release: whose options count.
            name: of the release; that of the object by default.

        Raises:
            Failed: UninstallFailed.

        """
        message = ""
        acting = self.stage.begin(run)
        try:
            async with self.stage.observed(run, acting, "uninstall"):
                done = await acting.ending.uninstall(
                    name or release.release_name, UninstallOptions.of(release)
                )
                message = _succeeded("uninstall", done)
        except (ReleaseNotFound, ActionRefused):
            message = f"Helm uninstall: release {name or release.release_name} is not there"
        except FluvialError as error:
            message = f"Helm uninstall failed for release {name or release.release_name}: {error}"
            reason = verdict.failure(run, reasons.UNINSTALL_FAILED)
            verdict.mark(run, reasons.RELEASED, "False", reason, message)
            run.status.failures += 1
            self.stage.tell_failure(run, reason, message, acting.log)
            raise Failed(reason, message) from error
        verdict.mark(run, reasons.RELEASED, "False", reasons.UNINSTALL_SUCCEEDED, message)
        self.stage.tell(run, "Normal", reasons.UNINSTALL_SUCCEEDED, message)

    def _end(self, run: Run, type_: str, reason: str, message: str) -> None:
        """Tell how an action ended; status is written by what comes next, an action or the end.

        If the process is killed before, the record tells it (``Stage.recover``).
        """
        verdict.summarise(run)
        self.stage.tell(run, type_, reason, message)


def _answer_force(run: Run) -> None:
    """A release by force is made once: what comes later may last, and may be killed."""
    if run.forced:
        run.status.last_handled_force_at = run.spec_of.metadata.annotations[FORCE_REQUEST]
        run.forced = False


def _count_failure(run: Run, acting: Acting, verb: ReleaseVerb) -> None:
    """One that was stored also counts for what retries and remediation follow from."""
    stored = bool(acting.written)
    run.status.failures += 1
    run.status.install_failures += stored and verb == "install"
    run.status.upgrade_failures += stored and verb == "upgrade"


def forget_failures(run: Run) -> None:
    """Begin to count anew."""
    run.status.failures = 0
    run.status.install_failures = 0
    run.status.upgrade_failures = 0


def _named(release: Release) -> str:
    """``apps/web.v2 with chart podinfo@6.5.0``."""
    chart = release.metadata
    return (
        f"{release.namespace}/{release.name}.v{release.version}"
        f" with chart {chart.name}@{chart.version}"
    )


def _succeeded(verb: verdict.Verb, release: Release) -> str:
    return f"Helm {verb} succeeded for release {_named(release)}"
