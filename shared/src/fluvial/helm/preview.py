"""What an install or upgrade would do to objects, asked of the server as the tenant; writes nothing.

The new manifest is compared with what is live, and the stored one tells what would be deleted.
Hooks are not part of it: they run anew each time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from fluvial.apply.bounded import map_bounded
from fluvial.apply.diff import ObjectDiff, compare
from fluvial.apply.errors import Failure, FailureReason
from fluvial.apply.model import Action, Target
from fluvial.helm.clientside.writer import ClientSide
from fluvial.helm.cluster import Located, ReleaseObjects
from fluvial.helm.errors import MergeError
from fluvial.helm.manifest import objects_of
from fluvial.helm.ownership import is_kept, not_owned
from fluvial.helm.release import Release
from fluvial.kube.errors import ApiError
from fluvial.objects import JsonObject, ObjectRef

__all__ = ["PlannedObject", "Preview", "preview"]


@dataclass(frozen=True, slots=True)
class PlannedObject:
    """What would become of one object.

    Attributes:
        ref: the object.
        action: created, configured, unchanged, deleted, or skipped where it would be kept.
        diff: for what would be configured, masked.

    """

    ref: ObjectRef
    action: Action
    diff: ObjectDiff = field(default_factory=ObjectDiff)

    def __str__(self) -> str:
        """``ConfigMap/ns/name configured``."""
        return f"{self.ref} {self.action}"


@dataclass(frozen=True, slots=True)
class Preview:
    """What an action would do.

    Attributes:
        objects: in the order in which they would be written, then deleted.
        failures: objects that the server, or their owner, would refuse.

    """

    objects: tuple[PlannedObject, ...]
    failures: tuple[Failure, ...] = ()

    @property
    def changes(self) -> bool:
        """Whether anything would be written or deleted."""
        idle = {Action.UNCHANGED, Action.SKIPPED}
        return any(one.action not in idle for one in self.objects)

    def text(self) -> str:
        """A line for each object, its differences below."""
        return "\n".join(f"{one}\n{one.diff.text()}".rstrip() for one in self.objects)


async def preview(
    target: Target,
    release: Release,
    *,
    current: Release | None,
    take_ownership: bool = True,
    force: bool = False,
) -> Preview:
    """Tell what an install or upgrade would do.

    Args:
        target: where and as whom.
        release: as it would be released.
        current: what it would start from; ``None`` for an install.
        take_ownership: whether objects of others would be taken.
        force: whether objects would be replaced, where the client applies them.

    Raises:
        ManifestError: one of the manifests is no stream of objects.
        NoMatch: the server does not serve a kind.

    """
    objects = ReleaseObjects(target, name=release.name, namespace=release.namespace)
    after = objects.marked(await objects.locate(await objects_of(release.manifest)))
    before: Sequence[Located] = ()
    if current is not None:
        before = await objects.locate_known(await objects_of(current.manifest))
    wanted = {one.ref for one in after}
    client_side: ClientSide | None = None
    if not release.server_side:
        originals: dict[ObjectRef, JsonObject | None] = dict.fromkeys(wanted)
        originals |= {one.ref: one.obj for one in before}
        client_side = ClientSide(
            target, originals=originals, force=force, strict=False, dry_run=True
        )
    question = _Question(
        target, objects, release, take_ownership=take_ownership, client_side=client_side
    )
    found: list[PlannedObject | Failure | None] = []
    found += await map_bounded(
        question.wanted, after, limit=target.concurrency, name="preview-wanted"
    )
    stale = [one for one in before if one.ref not in wanted]
    found += await map_bounded(
        question.stale, stale, limit=target.concurrency, name="preview-stale"
    )
    planned = tuple(one for one in found if isinstance(one, PlannedObject))
    return Preview(planned, tuple(one for one in found if isinstance(one, Failure)))


class _Question:
    """One preview."""

    def __init__(
        self,
        target: Target,
        objects: ReleaseObjects,
        release: Release,
        *,
        take_ownership: bool,
        client_side: ClientSide | None,
    ) -> None:
        self._target = target
        self._objects = objects
        self._release = release
        self._take = take_ownership
        self._client_side = client_side

    async def wanted(self, one: Located) -> PlannedObject | Failure:
        try:
            live = await self._objects.live(one)
            if live is not None and (refusal := self._refusal(one, live)) is not None:
                return refusal
            result = await self._written(one, live)
        except ApiError as error:
            return self._objects.failure(one, error, during="dry-run")
        except MergeError as error:
            return Failure(one.ref, FailureReason.INVALID, f"{one.ref} dry-run failed: {error}")
        if live is None:
            return PlannedObject(one.ref, Action.CREATED)
        diff = compare(live, result, masker=self._target.masker)
        return PlannedObject(one.ref, Action.CONFIGURED if diff else Action.UNCHANGED, diff)

    async def _written(self, one: Located, live: JsonObject | None) -> JsonObject:
        if self._client_side is not None:
            return await self._client_side.write(one, live)
        return await self._target.client.apply(
            one.resource,
            one.key,
            one.obj,
            field_manager=self._target.field_manager,
            dry_run=True,
        )

    def _refusal(self, one: Located, live: JsonObject) -> Failure | None:
        if self._take:
            return None
        release = self._release
        why = not_owned(live, name=release.name, namespace=release.namespace)
        if not why:
            return None
        return Failure(one.ref, FailureReason.OTHER, f"{one.ref} belongs to others: {why}")

    async def stale(self, one: Located) -> PlannedObject | Failure | None:
        try:
            live = await self._objects.live(one)
        except ApiError as error:
            return self._objects.failure(one, error, during="get")
        if live is None:
            return None
        kept = is_kept(live) or self._objects.is_anothers(live)
        return PlannedObject(one.ref, Action.SKIPPED if kept else Action.DELETED)
