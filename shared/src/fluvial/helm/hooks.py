"""Hooks: objects that are made at certain moments, waited for, and deleted as they say.

Those of an event run one after the other, by weight, then name. Each is deleted before it is made
unless it says otherwise; definitions of kinds are never deleted. The record says that a hook runs
before it is made, so that a process that is killed leaves no hook that nobody knows of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from fluvial.apply.model import Target
from fluvial.errors import FluvialError
from fluvial.helm.clientside.writer import ClientSide
from fluvial.helm.cluster import Located, ReleaseObjects, of_another
from fluvial.helm.errors import HelmError, HookFailed, WaitEnded
from fluvial.helm.manifest import objects_of
from fluvial.helm.output import outputs_of
from fluvial.helm.release import Hook, HookPhase
from fluvial.helm.running import Running
from fluvial.helm.steps import ActionLog
from fluvial.helm.waiting import wait_for_hook, wait_until_gone
from fluvial.kube.errors import ApiError

__all__ = ["Hooks"]

_BEFORE: Final = "before-hook-creation"
_SUCCEEDED: Final = "hook-succeeded"
_FAILED: Final = "hook-failed"
_DEFINITION: Final = "CustomResourceDefinition"


def _any(_: Hook) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Hooks:
    """Runs hooks of one release.

    Attributes:
        target: where and as whom.
        objects: of the release.
        timeout: seconds for each hook to end, and for each to be gone.
        log: told what is done, and given what hooks have written.
        server_side: whether the server applies hooks; a client makes them, and fails where they
            are there.

    """

    target: Target
    objects: ReleaseObjects
    timeout: float
    log: ActionLog | None = None
    server_side: bool = True

    async def run(
        self, running: Running, event: str, *, selected: Callable[[Hook], bool] = _any
    ) -> None:
        """Run the hooks of an event; how they went is in ``running``, but not stored yet.

        Args:
            running: the revision.
            event: such as ``pre-install`` or ``test``.
            selected: which of them to run.

        Raises:
            HookFailed: one could not be run, or has failed; those after it were not run.
            StorageError: the record could not be written.

        """
        hooks = running.release.hooks
        indexes = [
            index for index, hook in enumerate(hooks) if event in hook.events and selected(hook)
        ]
        indexes.sort(key=lambda index: (hooks[index].weight, hooks[index].name))
        for number, index in enumerate(indexes):
            await self._run_one(running, event, index=index, before=indexes[:number])
        for index in reversed(indexes):
            await self._keep_output(running.hook(index), _SUCCEEDED, event)
            await self._clean_up(running.hook(index), _SUCCEEDED, event)

    async def _run_one(
        self, running: Running, event: str, *, index: int, before: Sequence[int]
    ) -> None:
        hook = running.hook(index)
        succeeded = [(done, _SUCCEEDED) for done in before]
        try:
            await self._clean_up(hook, _BEFORE, event)
        except HookFailed:
            await self._after_failure(running, succeeded, event)
            raise
        located = await self._located(hook, event)
        running.hook_started(index)
        await running.record()
        self._note(f"running {_name(event, hook)}, up to {self.timeout:g}s")
        try:
            await self._make(located)
        except HelmError as error:
            running.hook_ended(index, HookPhase.FAILED)
            raise _failed(event, hook, error) from error
        try:
            await wait_for_hook(self.target, self.objects, located, timeout=self.timeout)
        except HelmError as error:
            running.hook_ended(index, HookPhase.FAILED)
            await self._keep_output(hook, _FAILED, event)
            await self._after_failure(running, [(index, _FAILED), *succeeded], event)
            raise _failed(event, hook, error) from error
        running.hook_ended(index, HookPhase.SUCCEEDED)
        self._note(f"{_name(event, hook)} succeeded")

    async def _make(self, located: Sequence[Located]) -> None:
        if self.server_side:
            await self.objects.apply(located, strict=True)
        else:
            await ClientSide(self.target, originals={}).apply(self.objects, located)

    def _note(self, text: str) -> None:
        if self.log is not None:
            self.log.add(text)

    async def _keep_output(self, hook: Hook, policy: str, event: str) -> None:
        """Keep what a hook has written where it has the policy; of a failed test in any case."""
        of_test = event == "test" and policy == _FAILED
        if self.log is None or not (of_test or policy in hook.output_log_policies):
            return
        try:
            located = await self._located(hook, event)
        except FluvialError:
            return
        for output in await outputs_of(self.target, _name(event, hook), located):
            self.log.keep(output)

    async def _after_failure(
        self, running: Running, hooks: Iterable[tuple[int, str]], event: str
    ) -> None:
        """Delete the hooks that have a policy; the failure is what counts, not this."""
        for index, policy in hooks:
            with suppress(HookFailed):
                await self._clean_up(running.hook(index), policy, event)

    async def _clean_up(self, hook: Hook, policy: str, event: str) -> None:
        """Delete a hook's objects where it has the policy, and wait until they are gone."""
        deletes = policy in (hook.delete_policies or (_BEFORE,))
        if hook.kind == _DEFINITION or not (deletes or policy == _BEFORE):
            return
        located = await self._located(hook, event)
        try:
            if not deletes:
                await self._refuse_others(located)
                return
            deleted = await self.objects.delete(located, refuse_others=policy == _BEFORE)
            await wait_until_gone(self.target, self.objects, deleted, timeout=self.timeout)
        except WaitEnded as error:
            if policy == _BEFORE:
                raise _failed(event, hook, error) from error
            # It is deleted, and nobody needs its name.
        except HelmError as error:
            raise _failed(event, hook, error) from error

    async def _refuse_others(self, located: Sequence[Located]) -> None:
        for one in located:
            live = await self.objects.live(one)
            if live is not None and self.objects.is_anothers(live):
                raise HookFailed(of_another(one))

    async def _located(self, hook: Hook, event: str) -> list[Located]:
        try:
            return await self.objects.locate(await objects_of(hook.manifest, source=hook.path))
        except ApiError:
            raise
        except FluvialError as error:
            raise _failed(event, hook, error) from error


def _failed(event: str, hook: Hook, error: Exception) -> HookFailed:
    return HookFailed(f"{_name(event, hook)} failed: {error}")


def _name(event: str, hook: Hook) -> str:
    return f"{event} hook {hook.path}"
