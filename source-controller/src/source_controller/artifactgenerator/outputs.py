"""The ExternalArtifacts of generators: found, written, watched and deleted, never somebody else's.

One that exists already is taken over only if it is of this very generator; every write names the
uid and version that were looked at, so that nobody's object is overwritten in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from weakref import WeakValueDictionary

from fluvial.api.source_extensions import GENERATOR_LABEL, ArtifactGenerator
from fluvial.clock import Clock, format_time
from fluvial.kube.client import KubeClient
from fluvial.kube.errors import ApiError, Conflict, NotFound
from fluvial.kube.kinds import EXTERNAL_ARTIFACT
from fluvial.objects import JsonObject, ObjectKey, key_of
from source_controller.artifactgenerator import reasons
from source_controller.artifactgenerator.desired import (
    MANAGER,
    Desired,
    belongs_to,
    generator_named_by,
)
from source_controller.source.run import StepFailed

__all__ = ["Outputs"]

_DELETED = "deleted"
_TRIES = 3


class Outputs:
    """Reads and writes ExternalArtifacts, and remembers what they are to be.

    Args:
        client: under the controller's own identity.
        clock: dates conditions.

    """

    def __init__(self, client: KubeClient, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._wanted: dict[ObjectKey, tuple[ObjectKey, Desired]] = {}
        # Generators that want what is somebody else's.
        self._refused: dict[ObjectKey, set[ObjectKey]] = {}
        self._writing: set[ObjectKey] = set()
        # Versions that our own last writes made, by which their events are known.
        self._ours: dict[ObjectKey, set[str]] = {}
        self._locks: WeakValueDictionary[ObjectKey, asyncio.Lock] = WeakValueDictionary()

    def lock(self, key: ObjectKey) -> asyncio.Lock:
        """Held while an ExternalArtifact or its files are changed.

        One generator may get a name in the very moment in which another one gives it up.
        """
        return self._locks.setdefault(key, asyncio.Lock())

    async def of(self, generator: ArtifactGenerator) -> dict[str, JsonObject]:
        """What there is of a generator, by name; by label, so that nothing is ever forgotten.

        Raises:
            ApiError: the API server could not be asked.

        """
        page = await self._client.list_all(
            EXTERNAL_ARTIFACT,
            namespace=generator.metadata.namespace,
            label_selector=f"{GENERATOR_LABEL}={generator.metadata.uid}",
        )
        return {key_of(item).name: item for item in page.items}

    async def read(self, key: ObjectKey) -> JsonObject | None:
        """One, whosever it is; ``None`` if there is none."""
        try:
            return await self._client.get(EXTERNAL_ARTIFACT, key)
        except NotFound:
            return None

    async def write(
        self, generator: ArtifactGenerator, desired: Desired, live: JsonObject | None
    ) -> bool:
        """Bring one to what it is to be; nothing is sent where nothing differs.

        Args:
            generator: whose it is.
            desired: with an artifact.
            live: as it was read; ``None`` if it is not there.

        Returns:
            Whether anything was written.

        Raises:
            StepFailed: ``ReconciliationFailed``: it is somebody else's, or the API server refuses.

        """
        self._claim(generator, desired, live)
        self._writing.add(desired.key)
        try:
            for _ in range(_TRIES - 1):
                try:
                    return await self._write(desired, live)
                except Conflict:
                    live = await self.read(desired.key)
                    self._claim(generator, desired, live)
            return await self._write(desired, live)
        except Conflict as error:
            raise _failed(desired.key, "somebody else writes it all the time") from error
        except ApiError as error:
            raise _failed(desired.key, str(error)) from error
        finally:
            self._writing.discard(desired.key)

    def check(self, generator: ArtifactGenerator, key: ObjectKey, live: JsonObject | None) -> None:
        """See to it that one is the generator's own, or nobody's, before its files are touched.

        Args:
            generator: that wants it.
            key: of the ExternalArtifact.
            live: as it was read; ``None`` if it is not there.

        Raises:
            StepFailed: ``ReconciliationFailed``: it is somebody else's.

        """
        if live is not None and not belongs_to(live, generator):
            owner = ObjectKey(generator.metadata.namespace, generator.metadata.name)
            self._refused.setdefault(key, set()).add(owner)
            raise _failed(
                key, "it exists, and is not of this generator: delete it or change the name"
            )

    def _claim(
        self, generator: ArtifactGenerator, desired: Desired, live: JsonObject | None
    ) -> None:
        """Remember whose it is to be, unless it is somebody else's."""
        self.check(generator, desired.key, live)
        owner = ObjectKey(generator.metadata.namespace, generator.metadata.name)
        self._no_longer_refused(desired.key, owner)
        self._wanted[desired.key] = (owner, desired)
        self._ours[desired.key] = set()

    async def _write(self, desired: Desired, live: JsonObject | None) -> bool:
        written = False
        if live is None or not (desired.is_spec_of(live) and desired.is_all_we_wrote(live)):
            # One that is not there is made without force: should it be there now, it is not ours.
            live = await self._client.apply(
                EXTERNAL_ARTIFACT,
                desired.key,
                desired.body(**_precondition(live)),
                field_manager=MANAGER,
                force=live is not None,
            )
            self._note(desired.key, live)
            written = True
        if not desired.is_status_of(live):
            body = desired.status_body(
                int(live["metadata"].get("generation", 0)),
                format_time(self._clock.now()),
                **_precondition(live),
            )
            live = await self._client.apply(
                EXTERNAL_ARTIFACT,
                desired.key,
                body,
                field_manager=MANAGER,
                force=True,
                subresource="status",
            )
            self._note(desired.key, live)
            written = True
        return written

    def _note(self, key: ObjectKey, live: JsonObject) -> None:
        self._ours[key].add(str(live["metadata"]["resourceVersion"]))

    async def delete(self, generator: ArtifactGenerator, name: str) -> bool:
        """Delete one unless it is somebody else's.

        Returns:
            Whether there is none any more, so that its files may go.

        Raises:
            ApiError: the API server could not be asked, or somebody wrote to it meanwhile.

        """
        key = ObjectKey(generator.metadata.namespace, name)
        owner = ObjectKey(generator.metadata.namespace, generator.metadata.name)
        self._no_longer_refused(key, owner)
        live = await self.read(key)
        if live is not None and not belongs_to(live, generator):
            return False
        if self._wanted.get(key, (owner,))[0] == owner:
            self._wanted.pop(key, None)
        if live is None:
            return True
        metadata = live["metadata"]
        self._ours[key] = {_DELETED}
        try:
            await self._client.delete(
                EXTERNAL_ARTIFACT,
                key,
                uid=str(metadata["uid"]),
                resource_version=str(metadata["resourceVersion"]),
            )
        except NotFound:
            return True
        return True

    def remembered(self, key: ObjectKey) -> Desired | None:
        """What this process last wrote, or found as it is to be."""
        found = self._wanted.get(key)
        return found[1] if found else None

    def forget(self, generator: ObjectKey) -> None:
        """A generator is gone."""
        self._wanted = {key: item for key, item in self._wanted.items() if item[0] != generator}
        self._ours = {key: item for key, item in self._ours.items() if key in self._wanted}
        for key in tuple(self._refused):
            self._no_longer_refused(key, generator)

    def _no_longer_refused(self, key: ObjectKey, owner: ObjectKey) -> None:
        waiting = self._refused.get(key, set())
        waiting.discard(owner)
        if not waiting:
            self._refused.pop(key, None)

    def watch(
        self, wake: Callable[[ObjectKey], None]
    ) -> Callable[[JsonObject | None, JsonObject | None], None]:
        """A subscriber that wakes the generators that a change of an ExternalArtifact concerns.

        That is whose it is, if somebody else changed it, and who was refused it, if it is free now.
        """

        def changed(old: JsonObject | None, new: JsonObject | None) -> None:
            key = key_of(new or old or {})
            if new is None or (old and generator_named_by(old) != generator_named_by(new)):
                for waiting in self._refused.get(key, ()):
                    wake(waiting)
            if self._is_our_doing(key, new):
                return
            owner, desired = self._wanted.get(key, (None, None))
            if owner is None or desired is None:
                # What is seen first at a start is no change: generators are queued anyway.
                named = generator_named_by(old) if old else None
                if named is not None:
                    wake(named)
            elif new is None or not (desired.is_spec_of(new) and desired.is_status_of(new)):
                wake(owner)

        return changed

    def _is_our_doing(self, key: ObjectKey, new: JsonObject | None) -> bool:
        ours = self._ours.get(key, set())
        if new is None:
            return _DELETED in ours and key not in self._wanted
        return key in self._writing or str(new["metadata"].get("resourceVersion")) in ours


def _precondition(live: JsonObject | None) -> Mapping[str, str]:
    if live is None:
        return {}
    metadata = live["metadata"]
    return {"uid": str(metadata["uid"]), "resourceVersion": str(metadata["resourceVersion"])}


def _failed(key: ObjectKey, problem: str) -> StepFailed:
    return StepFailed(
        "",
        reasons.RECONCILIATION_FAILED,
        f"{key.name} reconcile failed: ExternalArtifact '{key}': {problem}",
    )
