"""The part of an action that touches objects: hooks, writing, deleting, waiting."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from fluvial.apply.model import Target
from fluvial.helm.clientside.writer import ClientSide, Originals
from fluvial.helm.cluster import Located, ReleaseObjects
from fluvial.helm.errors import ObjectsFailed
from fluvial.helm.hooks import Hooks
from fluvial.helm.legacy import LegacyReadiness
from fluvial.helm.options import ApplyOptions
from fluvial.helm.running import Running
from fluvial.helm.steps import ActionLog
from fluvial.helm.waiting import Waits
from fluvial.objects import ObjectRef

__all__ = ["CarryingOut"]


class CarryingOut:
    """Install, upgrade and rollback as far as they touch objects.

    Args:
        target: where and as whom.
        objects: of the release.
        waits: how objects are waited for.
        options: how it is done.
        log: told of each step.
        server_side: whether the server applies objects.

    """

    def __init__(
        self,
        target: Target,
        objects: ReleaseObjects,
        *,
        waits: Waits,
        options: ApplyOptions,
        log: ActionLog | None,
        server_side: bool,
    ) -> None:
        # Users' expressions do not count in hooks either.
        self._target = replace(target, health=None) if options.legacy_wait else target
        self._objects = objects
        self._waits = waits
        self._options = options
        self._log = log
        self._server_side = server_side
        self._ready: set[ObjectRef] = set()

    async def hooks(self, running: Running, event: str) -> None:
        """Run the hooks of an event, if any are to be run; raises as ``Hooks.run``."""
        if self._options.hooks:
            hooks = Hooks(
                self._target,
                self._objects,
                self._options.timeout,
                self._log,
                server_side=self._server_side,
            )
            await hooks.run(running, event)

    async def write(
        self,
        located: Sequence[Located],
        *,
        existing: Collection[ObjectRef],
        before: Sequence[Located] = (),
        taken_over: Collection[ObjectRef] = (),
    ) -> None:
        """Write what is wanted.

        Args:
            located: what is wanted, in its order.
            existing: what of it is there, but was not written by the revision before.
            before: what the revision before has written.
            taken_over: of which the server first makes fields ours that Helm wrote as a client.

        Raises:
            ObjectsFailed: some were refused; those of later kinds were not tried.

        """
        marked = self._objects.marked(located)
        if self._server_side:
            migrate = {*existing, *taken_over}
            strict = self._options.strict
            self._ready = await self._objects.apply(marked, strict=strict, migrate=migrate)
            return
        originals: Originals = {
            **dict.fromkeys(existing),
            **{one.ref: one.obj for one in before},
        }
        writer = ClientSide(
            self._target,
            originals=originals,
            force=self._options.force,
            strict=self._options.strict,
        )
        await writer.apply(self._objects, marked)

    async def delete_stale(self, before: Sequence[Located], after: Sequence[Located]) -> None:
        """Delete what is wanted no longer; raises ObjectsFailed."""
        wanted: set[ObjectRef] = {one.ref for one in after}
        stale = [one for one in before if one.ref not in wanted]
        await self._objects.delete(stale, spare_kept=True)

    async def wait(self, located: Sequence[Located]) -> None:
        """Wait until objects are ready, if they are to be waited for; raises WaitFailed."""
        if not self._options.wait:
            return
        target, timeout = self._target, self._options.timeout
        ready = self._ready
        if self._options.legacy_wait:
            target, ready = replace(target, health=LegacyReadiness(target)), set()
        awaited = [one for one in located if self._is_awaited(one)]
        self._objects.note(f"waiting for {len(awaited)} objects to be ready, up to {timeout:g}s")
        left = [one for one in awaited if one.ref not in ready]
        if left:
            await self._waits.until_ready(target, left, timeout=timeout)
        self._objects.note(f"{len(awaited)} objects are ready")

    def _is_awaited(self, one: Located) -> bool:
        """Whether an object can become ready, and is to: what is paused, or releases it, cannot."""
        if self._objects.is_owner(one):
            return False
        match (one.ref.group, one.ref.kind):
            case ("batch", "Job"):
                return self._options.wait_for_jobs
            case ("apps", "Deployment"):
                return (one.obj.get("spec") or {}).get("paused") is not True
            case _:
                return True

    async def clean_up(self, created: Sequence[Located]) -> list[str]:
        """Delete what the action has created, if it is to; returns what went wrong."""
        if not self._options.cleanup_on_fail:
            return []
        try:
            await self._objects.delete(list(reversed(created)))
        except ObjectsFailed as error:
            return [f"objects could not be cleaned up: {error}"]
        return []
