"""The objects of one kind that this process reconciles, and what it stores of them.

With ``--watch-label-selector`` several processes share a kind. An object whose label changes goes
to another one. This process then does nothing to it any more, even if a timer of its own is still
running, and keeps its files until the object's status leads consumers to the other one.
"""

from __future__ import annotations

import asyncio

import msgspec

from fluvial.api.meta import Artifact
from fluvial.artifact.errors import ArtifactError
from fluvial.artifact.storage import Storage
from fluvial.kube.informer import Informer
from fluvial.log import Logger
from fluvial.objects import JsonObject, ObjectKey, key_of
from fluvial.runtime.outcome import Ignored, Result
from fluvial.runtime.queue import WorkQueue

__all__ = ["Shard"]

_AT_ONCE = 3  # files that are read by a check at once: enough for the disk, and threads are left


class Shard:
    """See above.

    Args:
        kind: of the objects, as in their ``kind``.
        own: those that match the selector.
        everyone: all of them; the same informer where there is no selector.
        storage: of this process.
        log: the process's.
        look_again: seconds between looks at an object that has gone to another process and whose
            artifact that process does not have yet.

    """

    def __init__(
        self,
        kind: str,
        *,
        own: Informer,
        everyone: Informer,
        storage: Storage,
        log: Logger,
        look_again: float,
    ) -> None:
        self._kind = kind
        self._own = own
        self._everyone = everyone
        self._storage = storage
        self._log = log
        self._look_again = look_again

    def has(self, key: ObjectKey) -> bool:
        """Whether an object is to be reconciled here, as far as it is known."""
        return key in self._own.store

    def kept(self) -> set[ObjectKey]:
        """Objects whose files stay: ours, and others' that have no artifact elsewhere yet."""
        others = self._everyone.store.list() if self._own is not self._everyone else ()
        return {
            *(key_of(obj) for obj in self._own.store.list()),
            *(key_of(obj) for obj in others if not self._leads_elsewhere(obj)),
        }

    async def leave(self, key: ObjectKey) -> Result:
        """What is left to do for an object that is gone, or another process's now.

        Raises:
            Ignored: nothing is.

        """
        obj = self._everyone.store.get(key)
        if obj is not None and not self._leads_elsewhere(obj):
            return Result(self._look_again)
        await self._storage.remove_object(self._kind, key)
        raise Ignored("the object is gone, or another shard's")

    async def check_stored(self, queue: WorkQueue[ObjectKey]) -> None:
        """Read every artifact once; objects whose own is missing or altered come first.

        For a start: until its turn comes, such an object would announce what it does not have.
        """
        found = [(key_of(obj), _artifact_of(obj)) for obj in self._own.store.list()]
        stored = [(key, artifact) for key, artifact in found if artifact is not None]
        if not stored:
            return
        left, wrong = iter(stored), []

        async def check() -> None:
            for key, artifact in left:
                if not await self._is_stored(key, artifact):
                    wrong.append(key)
                    queue.add_first(key)

        async with asyncio.TaskGroup() as group:
            for number in range(_AT_ONCE):
                group.create_task(check(), name=f"stored-{number}")
        self._log.info(
            "checked stored artifacts",
            controllerKind=self._kind,
            count=len(stored),
            wrong=len(wrong),
        )

    async def _is_stored(self, key: ObjectKey, artifact: Artifact) -> bool:
        if not self._storage.is_of(artifact, self._kind, key):
            return False
        try:
            await self._storage.verify(artifact)
        except (ArtifactError, OSError):
            return False
        return True

    def _leads_elsewhere(self, obj: JsonObject) -> bool:
        artifact = _artifact_of(obj)
        return artifact is not None and not artifact.url.startswith(self._storage.url_for(""))


def _artifact_of(obj: JsonObject) -> Artifact | None:
    try:
        return msgspec.convert((obj.get("status") or {}).get("artifact"), Artifact | None)
    except msgspec.ValidationError:
        return None  # its reconcile says what is wrong
