"""What others changed of a release's objects and records: heard at once, or found by its timer.

What an action has written and what a comparison has found is remembered in ``Memory.known``, by
version and hash. The watches tell which of that has changed, and a run then compares those objects
alone. Every tenth interval all are compared, for what no version tells: a default or an admission
webhook by which the server would make something else of the same manifest today.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, cast

from fluvial.apply import Entry, Known, OwnedWatches, Owner, Verified, encode_id, suspect_changed
from fluvial.apply.hashing import outline
from fluvial.apply.inventory import decode_id
from fluvial.apply.live import uid_of, version_of
from fluvial.helm.drift import DriftReport, IgnoreRules, detect_drift
from fluvial.helm.recordwatch import RecordWatch
from fluvial.helm.release import Release
from fluvial.kube.client import KubeClient
from fluvial.kube.resource import Resource
from fluvial.objects import JsonObject, ObjectKey, ObjectRef, key_of
from helm_controller.helmrelease.run import Run

__all__ = ["DriftStep", "noting"]

_EVERYTHING_AFTER: Final = 10
"""Intervals after which everything is compared, whatever is known of it."""


@dataclass(frozen=True, slots=True)
class DriftStep:
    """Looks for changes, and listens for them.

    Attributes:
        watches: of the objects in this cluster; ``None`` listens to nothing.
        records: likewise, of the records.

    """

    watches: OwnedWatches | None
    records: RecordWatch | None

    async def is_suspected(self, run: Run) -> bool:
        """Whether some object may not be as it was compared; costs nothing where it is watched."""
        known = run.memory.known
        if not known.covers(run.attempt) or self._is_everything_due(run):
            return True
        await self._look_for_changes(run)
        return not known.covers(run.attempt)

    async def compare(self, run: Run, release: Release, rules: IgnoreRules) -> DriftReport:
        """Compare the objects that may have changed; all of them where this run trusts no cache.

        Raises:
            ManifestError, NoMatch: as ``detect_drift``.

        """
        assert run.target is not None  # noqa: S101  # known by a step before
        memory, everything = run.memory, False
        if not run.looked:
            everything = run.fresh or self._is_everything_due(run)
            if everything:
                memory.known.clear()
            else:
                await self._look_for_changes(run)
            run.looked = True
        report = await detect_drift(run.target, release, rules, known=memory.known)
        if report.failures:
            memory.compared = None
        elif everything:
            memory.compared = run.turn.monotonic()
        return report

    def released(self, run: Run) -> None:
        """An action has written all objects; what it has left is known, and that it is new."""
        inventory = run.status.inventory
        entries = inventory.entries if inventory else ()
        run.memory.known.retain(decode_id(entry.id) for entry in entries)

    async def listen(self, run: Run) -> None:
        """From now on, hear of changes of the release's newest record, and of its objects.

        Of these only where drift is detected. What is in other clusters is not watched: the timer
        finds what changed.
        """
        assert run.tenant is not None and run.target is not None  # noqa: S101, PT018  # known by a step before
        known, detects = run.memory.known, run.spec_of.spec.detects_drift
        if not detects:
            known.clear()
        self._listen_to_records(run)
        if self.watches is None:
            return
        if run.tenant.remote or not detects:
            self.watches.release(run.key)
            return
        entries = [Entry(encode_id(ref), "") for ref in known]
        await self.watches.follow(run.key, entries, mapper=run.target.mapper, known=known)

    def release(self, key: ObjectKey) -> None:
        """The object is gone, or going: nothing of its is corrected any more."""
        if self.watches is not None:
            self.watches.release(key)
        if self.records is not None:
            self.records.release(key)

    def _listen_to_records(self, run: Run) -> None:
        if self.records is None:
            return
        if run.tenant is None or run.tenant.remote:
            self.records.release(run.key)
            return
        release = run.spec_of
        self.records.follow(
            run.key,
            namespace=release.storage_namespace,
            name=release.release_name,
            record=run.record,
        )

    async def _look_for_changes(self, run: Run) -> None:
        assert run.tenant is not None and run.target is not None  # noqa: S101, PT018  # known by a step before
        run.looked = True
        known = run.memory.known
        await suspect_changed(
            run.target,
            [Entry(encode_id(ref), "") for ref in known],
            known=known,
            watches=None if run.tenant.remote else self.watches,
            max_age=run.spec_of.spec.interval_seconds,
        )

    def _is_everything_due(self, run: Run) -> bool:
        compared, patience = run.memory.compared, run.spec_of.spec.interval_seconds
        now = run.turn.monotonic()
        return compared is None or now - compared > _EVERYTHING_AFTER * patience


def noting(client: KubeClient, *, owner: Owner, known: Verified) -> KubeClient:
    """A view of a client that notes how its writes left the owner's objects.

    So that the events about them are recognised. They are compared all the same when it is time:
    what the server made of them may not be what was asked for.
    """
    return cast("KubeClient", _Noting(client, owner, known))


class _Noting:
    """Passes everything on; what writes, it looks at the answer."""

    def __init__(self, client: KubeClient, owner: Owner, known: Verified) -> None:
        self._client = client
        self._owner = owner
        self._known = known

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def create(self, resource: Resource, obj: JsonObject, **how: Any) -> JsonObject:
        return self._noted(resource, await self._client.create(resource, obj, **how), how)

    async def replace(self, resource: Resource, obj: JsonObject, **how: Any) -> JsonObject:
        return self._noted(resource, await self._client.replace(resource, obj, **how), how)

    async def apply(
        self, resource: Resource, key: ObjectKey, body: JsonObject | bytes, **how: Any
    ) -> JsonObject:
        return self._noted(resource, await self._client.apply(resource, key, body, **how), how)

    async def patch(
        self, resource: Resource, key: ObjectKey, body: JsonObject | list[JsonObject], **how: Any
    ) -> JsonObject:
        return self._noted(resource, await self._client.patch(resource, key, body, **how), how)

    def _noted(self, resource: Resource, live: JsonObject, how: dict[str, Any]) -> JsonObject:
        if how.get("dry_run") or not self._owner.owns(live):
            return live
        key = key_of(live)
        ref = ObjectRef(resource.group, resource.kind, key.namespace, key.name)
        state = Known("", "", uid_of(live), version_of(live), outline=outline(live))
        self._known.record(ref, state)
        return live
