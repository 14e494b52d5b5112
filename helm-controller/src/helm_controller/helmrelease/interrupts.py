"""What ends a wait before its time: the HelmRelease is deleted, or something newer is wanted.

The queue hands out a key to one worker at a time, so whatever happens to an object while its run
waits would be dealt with after that wait. A run that begins therefore leaves an ``Interruption``
here, and the informers' events find it by its key. A deletion ends every wait of the run. Changes
end the wait for objects only, and only behind the gate CancelHealthCheckOnNewRevision: a hook that
was begun may be half way through a migration. What only may have changed is confirmed first.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from fluvial.api.meta import RECONCILE_REQUEST, Artifact
from fluvial.artifact.sources import source_id
from fluvial.helm.errors import WaitEnded
from fluvial.kube.store import Store
from fluvial.objects import JsonObject, ObjectKey, annotations_of, key_of
from fluvial.runtime.wiring import BY_SOURCE

__all__ = ["Interruption", "Interrupts"]

Confirm = Callable[[], Awaitable[bool]]


class Interruption:
    """Ends the waits of one run; without a cause it ends none.

    Attributes:
        hit: whether a wait was ended.

    """

    def __init__(self) -> None:
        self.hit = False
        self._deletion = ""
        self._change = ""
        self._suspicion = ""
        self._confirm: Confirm | None = None
        self._scopes: dict[asyncio.Timeout, bool] = {}

    # --- what events say -------------------------------------------------------------------------

    def delete(self, cause: str) -> None:
        """The object is deleted: nothing is waited for any more."""
        self._deletion = self._deletion or cause
        self._end_waits(all_of_them=True)

    def change(self, cause: str) -> None:
        """Something newer is wanted: objects are not waited for any more."""
        self._change = self._change or cause
        self._end_waits(all_of_them=False)

    def suspect(self, cause: str) -> None:
        """Something may have changed: ``confirm`` knows."""
        self._suspicion = self._suspicion or cause
        self._end_waits(all_of_them=False)

    def confirm_by(self, confirm: Confirm) -> None:
        """Say how to find out whether a suspicion is true."""
        self._confirm = confirm

    def over(self) -> None:
        """Nothing that is known of the object matters any more."""
        self._deletion = self._change = self._suspicion = ""
        # It knows the run, and the run knows this: together they would stay until the next garbage
        # collection, with the chart and the record.
        self._confirm = None

    def _end_waits(self, *, all_of_them: bool) -> None:
        now = asyncio.get_running_loop().time()
        for scope, by_changes in self._scopes.items():
            if (all_of_them or by_changes) and not scope.expired():
                scope.reschedule(now)

    # --- what runs do ----------------------------------------------------------------------------

    def check(self) -> None:
        """Go on only if nothing has ended; raises WaitEnded."""
        if self._deletion or self.hit:
            raise WaitEnded(self._deletion or self._change)

    async def through(self, wait: Awaitable[None]) -> bool:
        """Wait for objects.

        Returns:
            Whether the wait has ended by itself; else it has to be begun again.

        Raises:
            WaitEnded: it was ended.

        """
        try:
            async with self._breakable(by_changes=True):
                await wait
        except WaitEnded:
            if self._deletion or self._change:
                self.hit = True
                raise
        else:
            return True
        cause, self._suspicion = self._suspicion, ""
        if self._confirm is not None and await self._confirm():
            self.change(cause)
        return False

    async def sleep(self, nap: Awaitable[None]) -> None:
        """Wait between two looks at what is no object of a release; raises WaitEnded."""
        try:
            async with self._breakable(by_changes=False):
                await nap
        except WaitEnded:
            self.hit = True
            raise

    @asynccontextmanager
    async def _breakable(self, *, by_changes: bool) -> AsyncIterator[None]:
        """What is awaited in here is cancelled, and ``WaitEnded`` raised, when it is to end."""
        scope = asyncio.timeout(None)
        try:
            async with scope:
                self._scopes[scope] = by_changes
                if self._cause(by_changes=by_changes):
                    scope.reschedule(asyncio.get_running_loop().time())
                yield
        except TimeoutError:
            if not scope.expired():
                raise
            raise WaitEnded(self._cause(by_changes=by_changes)) from None
        finally:
            self._scopes.pop(scope, None)

    def _cause(self, *, by_changes: bool) -> str:
        changed = (self._change or self._suspicion) if by_changes else ""
        return self._deletion or changed


class _InHand:
    """A run: its object as it began, and the artifact that it releases."""

    def __init__(self, obj: JsonObject, interruption: Interruption) -> None:
        self.uid = obj["metadata"].get("uid")
        self.version = _version(obj)
        self.spec = _wanted(obj)
        self.request = annotations_of(obj).get(RECONCILE_REQUEST)
        self.artifact: Artifact | None = None
        self.interruption = interruption


class Interrupts:
    """Tells runs what becomes of their objects.

    Args:
        own: all objects, as the cache has them.
        by_changes: gate CancelHealthCheckOnNewRevision.

    """

    def __init__(self, own: Store, *, by_changes: bool = False) -> None:
        self._own = own
        self._by_changes = by_changes
        self._in_hand: dict[ObjectKey, _InHand] = {}

    @contextmanager
    def of(self, key: ObjectKey, obj: JsonObject) -> Iterator[Interruption]:
        """What ends the waits of a run while the context is open.

        Args:
            key: the object's.
            obj: as the run began with it.

        """
        interruption = Interruption()
        self._in_hand[key] = _InHand(obj, interruption)
        self.changed(None, self._own.get(key))  # what has come since the run read it
        try:
            yield interruption
        finally:
            del self._in_hand[key]
            interruption.over()

    def releases(self, key: ObjectKey, artifact: Artifact) -> None:
        """Say which artifact a run is about to release."""
        self._in_hand[key].artifact = artifact

    # --- events ----------------------------------------------------------------------------------

    def changed(self, _old: JsonObject | None, new: JsonObject | None) -> None:
        """A HelmRelease has changed; what an informer calls.

        One that leaves the cache without having been deleted may only have another label.
        """
        run = self._in_hand.get(key_of(new)) if new is not None else None
        if run is None or new is None:
            return
        metadata, name = new["metadata"], f"HelmRelease {key_of(new)}"
        if metadata.get("uid") != run.uid:
            # One of before is what a cache has that is behind: the run has read what is live.
            if _version(new) >= run.version:
                run.interruption.delete(f"{name} was deleted")
        elif _is_suspended(new):
            return  # the action goes on, and nothing is done afterwards
        elif metadata.get("deletionTimestamp"):
            run.interruption.delete(f"{name} is being deleted")
        elif self._by_changes and _version(new) > run.version:
            if _wanted(new) != run.spec:
                run.interruption.change(f"{name} has changed")
            elif annotations_of(new).get(RECONCILE_REQUEST) not in {None, run.request}:
                run.interruption.change(f"{name} is to be reconciled")

    def source_changed(self, source: JsonObject | None) -> None:
        """A source has changed."""
        artifact = ((source or {}).get("status") or {}).get("artifact")
        if not self._by_changes or source is None or not artifact:
            return
        name = source_id(str(source.get("kind", "")), key_of(source))
        for obj in self._own.by_index(BY_SOURCE, name):
            run = self._in_hand.get(key_of(obj))
            if run is not None and run.artifact is not None and _is_new(artifact, run.artifact):
                run.interruption.change(f"{name} has a new artifact")

    def add(self, key: ObjectKey, *, low_priority: bool = False) -> None:
        """A ConfigMap or Secret that a HelmRelease names has changed; as a queue has it."""
        del low_priority
        run = self._in_hand.get(key)
        if run is not None and self._by_changes:
            run.interruption.suspect("the values have changed")


def _is_new(artifact: JsonObject, before: Artifact) -> bool:
    """Whether it is another one, and not one that the run's own has replaced already."""
    same = (artifact.get("revision"), artifact.get("digest")) == (before.revision, before.digest)
    return not same and str(artifact.get("lastUpdateTime", "")) >= before.last_update_time


def _wanted(obj: JsonObject) -> dict[str, Any]:
    """The spec but for what says whether anything is done at all."""
    spec: dict[str, Any] = obj.get("spec") or {}
    return {name: value for name, value in spec.items() if name != "suspend"}


def _is_suspended(obj: JsonObject) -> bool:
    return bool((obj.get("spec") or {}).get("suspend"))


def _version(obj: JsonObject) -> int:
    text = str(obj["metadata"].get("resourceVersion", ""))
    return int(text) if text.isdecimal() else 0
