"""Sending a change set: those bytes and nothing else.

The bytes carry the uid and resourceVersion of the live object that was compared, so the server
refuses them for any other. Where only status has moved on (the hash of the rest is the planned
one) they are sent again for the new version; anything else is planned again. Objects of one kind
rank are written side by side, ranks one after the other, and the first failure ends the stage.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from fluvial.apply.bounded import map_bounded
from fluvial.apply.errors import Failure, StageFailed
from fluvial.apply.failures import failure_of, is_schema_error
from fluvial.apply.hashing import live_hash
from fluvial.apply.immutable import is_immutable, is_replaced
from fluvial.apply.live import known_as, stamp, uid_of, version_of
from fluvial.apply.model import (
    Action,
    ApplyOptions,
    Change,
    ChangeSet,
    PlannedChange,
    Target,
    Verified,
)
from fluvial.apply.order import rank
from fluvial.apply.recreate import delete_and_wait
from fluvial.kube.errors import AlreadyExists, ApiError, Conflict, Forbidden, NotFound
from fluvial.kube.resource import Resource
from fluvial.objects import JsonObject

__all__ = ["Applier"]

_STAMP_ATTEMPTS = 4


class _Outdated(Exception):
    """The live object is not the planned one, or only a full check can tell what to do."""


class Applier:
    """Applies change sets to one target."""

    def __init__(self, target: Target, options: ApplyOptions) -> None:
        self._target = target
        self._options = options

    async def apply(self, change_set: ChangeSet, *, known: Verified) -> tuple[Change, ...]:
        """Write what was planned, in order, and record what is then known.

        Args:
            change_set: a stage's plan.
            known: brought up to date with every answer.

        Raises:
            StageFailed: a write failed (``failures``), or a live object is not the planned one
                (``outdated``: plan again); ``applied`` holds what was done before.

        """
        run = _Run(self._target, self._options, known)
        for _, group in groupby(change_set.planned, key=lambda one: rank(one.change.ref.kind)):
            await map_bounded(run.write, tuple(group), limit=self._target.concurrency, name="apply")
            if run.ended:
                raise StageFailed(
                    failures=run.failures,
                    applied=run.in_order(change_set.planned, written=True),
                    outdated=run.outdated,
                )
        return run.in_order(change_set.planned, written=False)


class _Run:
    """The writing of one change set."""

    def __init__(self, target: Target, options: ApplyOptions, known: Verified) -> None:
        self._target = target
        self._options = options
        self._known = known
        self._done: dict[int, Change] = {}
        self.failures: list[Failure] = []
        self.outdated = False

    @property
    def ended(self) -> bool:
        return bool(self.failures) or self.outdated

    def in_order(self, planned: Iterable[PlannedChange], *, written: bool) -> tuple[Change, ...]:
        return tuple(
            self._done[id(one)]
            for one in planned
            if id(one) in self._done and (one.writes or not written)
        )

    async def write(self, planned: PlannedChange) -> None:
        """Carry out one planned change; nothing more once another one has failed."""
        if not planned.writes:
            self._done[id(planned)] = planned.change
            return
        if self.ended:
            return
        try:
            change = await self._send(planned)
        except _Outdated:
            self._known.forget(planned.change.ref)
            self.outdated = True
        except ApiError as error:
            self._known.forget(planned.change.ref)
            self.failures.append(
                failure_of(
                    planned.change.ref,
                    error,
                    masker=self._target.masker,
                    during="apply",
                    objects=(planned.desired,),
                )
            )
        else:
            if change is not None:
                self._done[id(planned)] = change

    async def _send(self, planned: PlannedChange) -> Change | None:
        resource = planned.resource
        if resource is None:
            raise _Outdated
        if planned.recreate:
            return await self._recreate(planned, resource)
        body = planned.body
        if planned.cleanup:
            cleaned = await self._clean_up(planned, resource)
            body = stamp(body, uid=planned.expected_uid, version=version_of(cleaned))
        return await self._patch(planned, resource, body)

    async def _recreate(self, planned: PlannedChange, resource: Resource) -> Change | None:
        version = planned.expected_version
        for _ in range(_STAMP_ATTEMPTS):
            try:
                failure = await delete_and_wait(
                    self._target,
                    planned,
                    resource,
                    version=version,
                    timeout=self._options.recreate_timeout,
                )
            except Conflict:
                version = await self._version_now(planned, resource)
                continue
            if failure is not None:
                self.failures.append(failure)
                return None
            return await self._patch(planned, resource, planned.body)
        raise _Outdated

    async def _clean_up(self, planned: PlannedChange, resource: Resource) -> JsonObject:
        try:
            return await self._target.client.patch(
                resource,
                planned.key,
                list(planned.cleanup),
                patch_type="json",
                field_manager=self._target.field_manager,
            )
        except (Conflict, NotFound):
            raise _Outdated from None

    async def _patch(self, planned: PlannedChange, resource: Resource, body: bytes) -> Change:
        for _ in range(_STAMP_ATTEMPTS):
            try:
                result = await self._target.client.apply(
                    resource, planned.key, body, field_manager=self._target.field_manager
                )
            except AlreadyExists:
                raise
            except ApiError as error:
                if _needs_full_check(error, planned):
                    raise _Outdated from None
                if not isinstance(error, Conflict) or not planned.live_hash:
                    raise
                version = await self._version_now(planned, resource)
                body = stamp(planned.body, uid=planned.expected_uid, version=version)
                continue
            return self._record(planned, result)
        raise _Outdated

    async def _version_now(self, planned: PlannedChange, resource: Resource) -> str:
        """The live object's newer version, if it differs from the planned one only in status."""
        try:
            live = await self._target.client.get(resource, planned.key)
        except (NotFound, Forbidden):
            raise _Outdated from None
        if uid_of(live) != planned.expected_uid or live_hash(live) != planned.live_hash:
            raise _Outdated
        return version_of(live)

    def _record(self, planned: PlannedChange, result: JsonObject) -> Change:
        self._known.record(planned.change.ref, known_as(planned.desired_hash, result))
        same = planned.expected_version and version_of(result) == planned.expected_version
        if same and not planned.checked:
            return planned.change.with_action(Action.UNCHANGED)
        return planned.change


def _needs_full_check(error: ApiError, planned: PlannedChange) -> bool:
    """Whether the answer is about the plan's premises rather than about the object."""
    if is_replaced(error):
        return True
    if planned.checked:
        return False
    return is_schema_error(error) or is_immutable(error)
