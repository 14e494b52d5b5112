"""One object's part of a plan: what is live, what the server would make of it, what to send."""

from __future__ import annotations

from dataclasses import dataclass, replace

from fluvial.apply.diff import ObjectDiff, compare
from fluvial.apply.errors import Failure
from fluvial.apply.failures import failure_of, is_schema_error, kind_missing, namespace_missing
from fluvial.apply.hashing import live_hash
from fluvial.apply.health import HealthStatus, compute_status
from fluvial.apply.health_reader import is_covered
from fluvial.apply.live import Wanted, known_as, read_live, stamp, uid_of, version_of
from fluvial.apply.locate import Assumed
from fluvial.apply.managers import cleanup_patch
from fluvial.apply.model import (
    Action,
    ApplyOptions,
    Change,
    Known,
    PlannedChange,
    Target,
    Verified,
)
from fluvial.apply.normalize import drop_undeclared
from fluvial.apply.policy import has_ttl, ignored, only_if_absent, skips_cleanup
from fluvial.apply.recreate import refusal, wants_recreation
from fluvial.kube.errors import ApiError, Unauthorized, Unreachable
from fluvial.objects import JsonObject, gvk_of

__all__ = ["Examiner"]

_SETTLE_ATTEMPTS = 3
_UNDECLARED_LIMIT = 20
_KIND_ATTEMPTS = 20
_KIND_DELAY = 0.2


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a dry run said: ``result``, or the ``error`` that refused it."""

    sent: JsonObject
    result: JsonObject | None = None
    error: ApiError | None = None
    dropped: tuple[str, ...] = ()


class Examiner:
    """Examines objects for one target."""

    def __init__(self, target: Target, options: ApplyOptions, assumed: Assumed) -> None:
        self._target = target
        self._options = options
        self._assumed = assumed

    def without_request(self, wanted: Wanted, known: Verified) -> PlannedChange | None:
        """The plan of an object about which nothing need be asked."""
        why = ignored(self._target.owner, wanted.obj)
        if why:
            return self._skip(wanted, None, why, known)
        before = known.get(wanted.ref)
        if before is None or before.desired_hash != wanted.digest or known.is_suspect(wanted.ref):
            return None
        return self._settled(wanted, before)

    async def examine(
        self, wanted: Wanted, *, known: Verified, alone: bool
    ) -> PlannedChange | Failure:
        """Compare one object with the cluster.

        Args:
            wanted: the object.
            known: what was verified of it before; brought up to date.
            alone: it is the only one of its stage to check, so that its PATCH may be the check.

        """
        try:
            return await self._examine(wanted, known=known, alone=alone)
        except ApiError as error:
            return failure_of(
                wanted.ref,
                error,
                masker=self._target.masker,
                during="dry-run",
                objects=(wanted.obj,),
            )

    async def _examine(
        self, wanted: Wanted, *, known: Verified, alone: bool
    ) -> PlannedChange | Failure:
        before = known.get(wanted.ref)
        owner = self._target.owner
        live: JsonObject | None = None
        if before is not None and before.desired_hash == wanted.digest:
            live = await self._read(wanted)
            if live is not None and _is_as_known(live, before):
                return self._refreshed(wanted, live, before, known)
        elif alone and before is not None and self._may_go_direct(wanted, before, known):
            return self._direct(wanted, before)
        if live is None and only_if_absent(owner, wanted.obj):
            live = await self._read(wanted)
        if live is not None and (why := self._skips(wanted, live)):
            return self._skip(wanted, live, why, known)
        return await self._check(wanted, live, known)

    def _may_go_direct(self, wanted: Wanted, before: Known, known: Verified) -> bool:
        if before.skipped or known.is_suspect(wanted.ref):
            return False
        return not only_if_absent(self._target.owner, wanted.obj)

    # -- asking the server ---------------------------------------------------------------------

    async def _read(self, wanted: Wanted) -> JsonObject | None:
        return await read_live(self._target, wanted.resource, wanted.key)

    async def _check(
        self, wanted: Wanted, live: JsonObject | None, known: Verified
    ) -> PlannedChange | Failure:
        answer, live = await self._ask(wanted, live)
        if answer.result is not None and not version_of(answer.result):
            return self._creation(wanted, answer)
        if live is not None and (why := self._skips(wanted, live)):
            return self._skip(wanted, live, why, known)
        if answer.error is not None:
            return await self._refused(wanted, live, answer.error)
        return self._verdict(wanted, live, answer, known)

    async def _ask(
        self, wanted: Wanted, live: JsonObject | None
    ) -> tuple[_Answer, JsonObject | None]:
        """A dry run and the live object, of one and the same version if it holds still."""
        attempt = 0
        while True:
            attempt += 1
            answer = await self._dry_run(wanted)
            version = version_of(answer.result or {})
            if answer.result is not None and not version:
                return answer, None
            if live is None or (version and version_of(live) != version):
                final = answer.error is not None and _is_final(answer.error)
                live = None if final else await self._read(wanted)
            settled = live is None or not version or version_of(live) == version
            if settled or attempt == _SETTLE_ATTEMPTS:
                return answer, live

    async def _dry_run(self, wanted: Wanted) -> _Answer:
        """Dry run; without the fields that a built-in kind does not have, as in Flux."""
        sent = wanted.obj
        dropped: tuple[str, ...] = ()
        patience = self._kind_attempts(wanted)
        while True:
            try:
                result = await self._target.client.apply(
                    wanted.resource,
                    wanted.key,
                    stamp(sent),
                    field_manager=self._target.field_manager,
                    dry_run=True,
                )
            except ApiError as error:
                if kind_missing(error) and patience:
                    patience -= 1
                    await self._target.clock.sleep(_KIND_DELAY)
                    continue
                paths: tuple[str, ...] = ()
                if is_schema_error(error) and len(dropped) < _UNDECLARED_LIMIT:
                    sent, paths = drop_undeclared(sent, message=error.message)
                if not paths:
                    return _Answer(sent, error=error, dropped=dropped)
                dropped = (*dropped, *paths)
            else:
                return _Answer(sent, result=result, dropped=dropped)

    def _kind_attempts(self, wanted: Wanted) -> int:
        """A kind that the set has just defined may be discovered a moment before it is served."""
        expected = (wanted.ref.group, wanted.ref.kind) in self._assumed.kinds
        return _KIND_ATTEMPTS if expected and self._assumed.applied else 0

    async def _refused(
        self, wanted: Wanted, live: JsonObject | None, error: ApiError
    ) -> PlannedChange | Failure:
        namespace = wanted.key.namespace
        if (
            namespace_missing(error)
            and namespace in self._assumed.namespaces
            and not self._assumed.applied
        ):
            change = self._change(wanted, Action.CREATED, "its namespace is created by the set")
            return self._planned(wanted, change, body=stamp(wanted.obj))
        if live is not None and wants_recreation(
            error,
            owner=self._target.owner,
            desired=wanted.obj,
            live=live,
            force=self._options.force,
        ):
            failure = await refusal(self._target, wanted, live)
            return failure or self._recreation(wanted, live)
        return failure_of(
            wanted.ref,
            error,
            masker=self._target.masker,
            during="dry-run",
            objects=(wanted.obj, live),
        )

    # -- verdicts ------------------------------------------------------------------------------

    def _verdict(
        self, wanted: Wanted, live: JsonObject | None, answer: _Answer, known: Verified
    ) -> PlannedChange:
        result = answer.result or {}
        if live is None:
            # It is there, but this tenant may not read it: write, as Flux does.
            change = self._change(wanted, Action.CONFIGURED, "not readable", answer.dropped)
            body = stamp(answer.sent, uid=uid_of(result))
            planned = self._planned(wanted, change, body=body)
            return replace(planned, expected_uid=uid_of(result), checked=True)
        cleanup: tuple[JsonObject, ...] = ()
        if not skips_cleanup(self._target.owner, wanted.obj, live):
            cleanup = cleanup_patch(
                live,
                field_manager=self._target.field_manager,
                override_managers=self._options.override_managers,
            )
        diff = compare(live, result, masker=self._target.masker)
        if diff or cleanup:
            reason = "" if diff else "field managers are taken over"
            return self._configuration(wanted, live, answer, cleanup=cleanup, diff=diff, why=reason)
        self._record(wanted, live, known)
        change = self._change(wanted, Action.UNCHANGED, dropped=answer.dropped)
        planned = self._planned(wanted, change, live=live)
        return replace(planned, checked=True, ready=self._is_ready(wanted, live), diff=diff)

    def _configuration(
        self,
        wanted: Wanted,
        live: JsonObject,
        answer: _Answer,
        *,
        cleanup: tuple[JsonObject, ...],
        diff: ObjectDiff,
        why: str,
    ) -> PlannedChange:
        change = self._change(wanted, Action.CONFIGURED, why, answer.dropped)
        body = stamp(answer.sent, uid=uid_of(live), version=version_of(live))
        planned = self._planned(wanted, change, body=body, live=live)
        return replace(planned, cleanup=cleanup, checked=True, diff=diff)

    def _creation(self, wanted: Wanted, answer: _Answer) -> PlannedChange:
        change = self._change(wanted, Action.CREATED, dropped=answer.dropped)
        planned = self._planned(wanted, change, body=stamp(answer.sent))
        return replace(planned, checked=True)

    def _recreation(self, wanted: Wanted, live: JsonObject) -> PlannedChange:
        change = self._change(wanted, Action.CREATED, "a field that cannot change has changed")
        planned = self._planned(
            wanted, replace(change, recreated=True), body=stamp(wanted.obj), live=live
        )
        return replace(planned, recreate=True, checked=True)

    def _direct(self, wanted: Wanted, before: Known) -> PlannedChange:
        """The only change of its stage, to an object that is known: its PATCH is the check.

        Not so for a new object: what may be refused must not enter the inventory ahead.
        """
        change = self._change(wanted, Action.CONFIGURED)
        body = stamp(wanted.obj, uid=before.uid, version=before.resource_version)
        planned = self._planned(wanted, change, body=body)
        return replace(
            planned,
            expected_uid=before.uid,
            expected_version=before.resource_version,
            live_hash=before.live_hash,
        )

    def _skips(self, wanted: Wanted, live: JsonObject) -> str:
        why = ignored(self._target.owner, live)
        if not why and only_if_absent(self._target.owner, wanted.obj):
            why = f"{self._target.owner.group}/ssa: IfNotPresent"
        return why

    def _skip(
        self, wanted: Wanted, live: JsonObject | None, why: str, known: Verified
    ) -> PlannedChange:
        if live is not None:
            self._record(wanted, live, known, skipped=True)
        change = self._change(wanted, Action.SKIPPED, why)
        return replace(self._planned(wanted, change, live=live), ready=True)

    def _refreshed(
        self, wanted: Wanted, live: JsonObject, before: Known, known: Verified
    ) -> PlannedChange:
        self._record(wanted, live, known, skipped=before.skipped)
        return self._settled(wanted, before)

    def _settled(self, wanted: Wanted, before: Known) -> PlannedChange:
        action = Action.SKIPPED if before.skipped else Action.UNCHANGED
        planned = self._planned(wanted, self._change(wanted, action, "verified before"))
        return replace(planned, expected_uid=before.uid, live_hash=before.live_hash, ready=True)

    # -- values --------------------------------------------------------------------------------

    def _record(
        self, wanted: Wanted, live: JsonObject, known: Verified, *, skipped: bool = False
    ) -> None:
        known.record(wanted.ref, known_as(wanted.digest, live, skipped=skipped))

    def _is_ready(self, wanted: Wanted, live: JsonObject) -> bool:
        """Whether it need not be looked at again; what an expression says is asked for later."""
        if is_covered(self._target, wanted.ref):
            return False
        return compute_status(live, now=self._target.clock.now()).status is HealthStatus.CURRENT

    @staticmethod
    def _change(
        wanted: Wanted, action: Action, reason: str = "", dropped: tuple[str, ...] = ()
    ) -> Change:
        if dropped:
            reason = f"{reason}; " if reason else ""
            reason += f"dropped fields that {wanted.ref.kind} does not have: {', '.join(dropped)}"
        version = gvk_of(wanted.obj).version
        return Change(wanted.ref, version, action, reason, job_with_ttl=has_ttl(wanted.obj))

    @staticmethod
    def _planned(
        wanted: Wanted, change: Change, *, body: bytes = b"", live: JsonObject | None = None
    ) -> PlannedChange:
        return PlannedChange(
            change=change,
            resource=wanted.resource,
            key=wanted.key,
            body=body,
            desired_hash=wanted.digest,
            desired=wanted.obj if body else None,
            expected_uid=uid_of(live) if live else "",
            expected_version=version_of(live) if live else "",
            live_hash=live_hash(live) if live else "",
        )


def _is_as_known(live: JsonObject, before: Known) -> bool:
    return uid_of(live) == before.uid and live_hash(live) == before.live_hash


def _is_final(error: ApiError) -> bool:
    """Whether there is no live object to look at, or looking would fail as well."""
    if isinstance(error, Unreachable | Unauthorized):
        return True
    return kind_missing(error) or namespace_missing(error)
