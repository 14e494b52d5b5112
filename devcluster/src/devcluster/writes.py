"""Create, update, patch and apply: from what a client sent to one commit in the store.

The order is the API server's: decode, name, defaults, managedFields, namespace life cycle,
validation, commit. A write that changes nothing commits nothing and keeps its resourceVersion.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from devcluster import clock, errors, locks, naming, strategies
from devcluster.conversion import from_stored, to_stored
from devcluster.gate import Gate, Strictness, Written
from devcluster.identity import ADMIN, User
from devcluster.kinds import Kind, Target
from devcluster.sametype import check_patched
from devcluster.store import Row, Store, Table

__all__ = ["Hook", "Outcome", "Target", "WriteOptions", "Writer"]

JsonObject = dict[str, Any]


@dataclass(slots=True)
class WriteOptions:
    """How to write.

    ``warnings`` collects what the response's Warning headers say; ``name`` is that of the path.
    """

    manager: str = "unknown"
    user: User = ADMIN
    dry_run: bool = False
    strictness: Strictness = "Warn"
    force: bool = False
    raw: bytes = b""
    warnings: list[str] = field(default_factory=list)
    name: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The object as the caller's version sees it, and whether it was created."""

    obj: JsonObject
    created: bool = False
    row: Row | None = None


# Called with (target, new, old or None, options) before validation; may change ``new`` or raise.
Hook = Callable[[Target, JsonObject, JsonObject | None, WriteOptions], None]


class Writer:
    """All writes but deletion.

    Args:
        store: where objects live.
        gate: schema, patches and managedFields.
        hooks: admission steps in order, for all kinds.
        conversions: steps whose effect the writer owns, as if it had sent it.

    """

    def __init__(
        self, store: Store, gate: Gate, *, hooks: list[Hook], conversions: list[Hook]
    ) -> None:
        self._conversions = conversions
        self._store = store
        self._gate = gate
        self._hooks = hooks
        self.may_create: Callable[[Target, User], None] = lambda _target, _user: None
        self._finish: Callable[[Target, JsonObject], bool] = lambda _target, _obj: False

    def on_finalized(self, finish: Callable[[Target, JsonObject], bool]) -> None:
        """``finish`` says whether an object under deletion may go now (its last finalizer left)."""
        self._finish = finish

    def table(self, kind: Kind) -> Table:
        return self._store.table(kind.table)

    def live(self, target: Target) -> JsonObject | None:
        """The stored object in the target's version, or None."""
        key = f"{target.namespace}/{target.name}" if target.namespace else target.name
        row = self.table(target.kind).by_key.get(key)
        if row is None:
            return None
        kind = target.kind
        head = {"kind": kind.kind, "apiVersion": kind.api_version}
        return {**head, **from_stored(kind, row.decode())}

    def must_live(self, target: Target) -> JsonObject:
        """Raises NotFound."""
        found = self.live(target)
        if found is None:
            kind = target.kind
            raise errors.not_found(group=kind.group, plural=kind.plural, name=target.name)
        return found

    def tracked(self, target: Target, obj: JsonObject, options: WriteOptions) -> JsonObject:
        """An object that is answered and not stored, with the managedFields of its creation."""
        by = Written(options.manager, now=clock.stamp())
        status = obj.pop("status", {})
        return {**self._gate.track(target.kind, None, obj, by=by), "status": status}

    # --- create -------------------------------------------------------------------------------

    def create(self, target: Target, obj: JsonObject, options: WriteOptions) -> Outcome:
        """Store a new object; ``target.name`` may be empty (the object names itself)."""
        kind = target.kind
        obj, warnings = self._gate.check(kind, obj, mode=options.strictness, raw=options.raw)
        options.warnings += warnings
        target = naming.place(target, obj)
        self._prepare_new(kind, obj)
        obj = self._gate.default(kind, obj)
        self._convert(target, obj, None, options)
        by = Written(options.manager, now=clock.stamp())
        obj = self._gate.track(kind, None, obj, by=by)
        return self._insert(target, obj, options)

    def _convert(
        self, target: Target, new: JsonObject, old: JsonObject | None, options: WriteOptions
    ) -> None:
        for hook in self._conversions:
            hook(target, new, old, options)

    def _insert(self, target: Target, obj: JsonObject, options: WriteOptions) -> Outcome:
        kind = target.kind
        obj = self._as_stored_version(kind, obj)
        for hook in self._hooks:
            hook(target, obj, None, options)
        self._gate.validate(kind, obj, None)
        existing = self.live(target)
        if existing is not None:
            raise errors.already_exists(
                group=kind.group,
                plural=kind.plural,
                name=target.name,
                going=bool(existing["metadata"].get("deletionTimestamp")),
                generated=bool(obj["metadata"].get("generateName")),
            )
        if options.dry_run:
            return Outcome(obj, created=True)
        return self._commit(target, obj, created=True)

    def _prepare_new(self, kind: Kind, obj: JsonObject) -> None:
        meta = obj["metadata"]
        if meta.pop("resourceVersion", ""):
            raise errors.ApiFailure(
                500, "", "resourceVersion should not be set on objects to be created"
            )
        for name in ("deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"):
            meta.pop(name, None)
        meta["uid"] = str(uuid.uuid4())
        meta["creationTimestamp"] = clock.stamp()
        generation = strategies.first_generation(kind)
        if generation is not None:
            meta["generation"] = generation
        if strategies.has_status(kind):
            obj.pop("status", None)

    def _as_stored_version(self, kind: Kind, obj: JsonObject) -> JsonObject:
        """Without what the stored version of a custom resource does not know."""
        if not kind.crd or kind.version == kind.stored_version:
            return obj
        stored = replace(kind, version=kind.stored_version)
        pruned, _ = self._gate.check(stored, obj, mode="Ignore", raw=b"")
        return pruned

    # --- update and patch ---------------------------------------------------------------------

    def update(self, target: Target, obj: JsonObject, options: WriteOptions) -> Outcome:
        """Replace; creates where the kind allows it."""
        kind = target.kind
        obj, warnings = self._gate.check(kind, obj, mode=options.strictness, raw=options.raw)
        options.warnings += warnings
        naming.must_be_named(target, obj)
        target = naming.place(target, obj)
        old = self.live(target)
        if old is None:
            if not target.subresource and strategies.may_create_on_update(kind):
                self.may_create(target, options.user)
                locks.check_uid(target, obj, "")
                obj["metadata"].pop("resourceVersion", None)
                return self.create(target, obj, options)
            raise errors.not_found(group=kind.group, plural=kind.plural, name=target.name)
        if not obj["metadata"].get("resourceVersion") and not strategies.is_unconditional(kind):
            raise locks.version_required(target)
        locks.check_uid(target, obj, old["metadata"]["uid"])
        return self._replace(target, obj, old, options)

    def patch(
        self,
        target: Target,
        change: Callable[[JsonObject], JsonObject],
        options: WriteOptions,
        *,
        strategic: Any = None,
    ) -> Outcome:
        """Replace by what ``change`` makes of the live object; ``strategic`` is the patch."""
        old = self.must_live(target)
        patched = change(old)
        check_patched(target.kind, patched)
        new, warnings = self._gate.check(
            target.kind,
            _shallow(patched),
            mode=options.strictness,
            raw=options.raw,
            patch=strategic,
            patched=strategic is None,
        )
        options.warnings += warnings
        naming.must_be_named(target, new)
        naming.place(target, new)
        return self._replace(target, new, old, options)

    def _replace(
        self, target: Target, new: JsonObject, old: JsonObject, options: WriteOptions
    ) -> Outcome:
        kind = target.kind
        locks.check_version(target, new, old)
        locks.check_deletion_time(target, new, old)
        self._keep_meta(new, old)
        new = strategies.merge_for(kind, new, old, target.subresource)
        new = self._gate.default(kind, new)
        self._convert(target, new, old, options)
        # What a scale writes is the one entry that the server leaves without a time.
        now = "" if target.subresource == "scale" else clock.stamp()
        by = Written(options.manager, subresource=target.subresource, now=now)
        new = self._gate.track(kind, old, new, by=by)
        if new is old:
            return Outcome(old)
        return self._store_changed(target, new, old, options)

    def write_status(
        self, target: Target, live: JsonObject, status: JsonObject, options: WriteOptions
    ) -> Outcome:
        """Give a workload another status, on behalf of a controller inside.

        The rest of the object is neither decoded, defaulted nor checked again: it is what is
        stored.

        Args:
            target: the object, with the subresource ``status``, of a built-in kind whose status
                has no defaults.
            live: the object as ``live`` read it in this very turn of the loop, unchanged.
            status: the new status.
            options: who writes.

        """
        kind = target.kind
        head = {"kind": kind.kind, "apiVersion": kind.api_version, "status": status}
        checked, _ = self._gate.check(kind, head, mode="Ignore", raw=b"")
        new = {key: value for key, value in _shallow(live).items() if key != "status"}
        if "status" in checked:
            new["status"] = checked["status"]
        new = strategies.merge_for(kind, new, live, target.subresource)
        by = Written(options.manager, subresource=target.subresource, now=clock.stamp())
        new = self._gate.track(kind, live, new, by=by)
        return Outcome(live) if new is live else self._store_changed(target, new, live, options)

    def apply(self, target: Target, applied: JsonObject, options: WriteOptions) -> Outcome:
        """Server-side apply; creates the object when there is none."""
        kind = target.kind
        naming.check(target, applied)
        old = self.live(target)
        by = Written(options.manager, subresource=target.subresource, now=clock.stamp())
        if old is None:
            return self._apply_new(target, applied, options, by)
        locks.check_version(target, applied, old)
        new = self._gate.apply(kind, old, applied, by=by, force=options.force)
        if new is old:
            return Outcome(old)
        new = _shallow(new)
        locks.check_deletion_time(target, new, old)
        self._keep_meta(new, old)
        new = strategies.merge_for(kind, new, old, target.subresource)
        new = self._gate.default(kind, new)
        self._convert(target, new, old, options)
        return self._store_changed(target, new, old, options)

    def _apply_new(
        self, target: Target, applied: JsonObject, options: WriteOptions, by: Written
    ) -> Outcome:
        kind = target.kind
        if target.subresource:
            raise errors.not_found(group=kind.group, plural=kind.plural, name=target.name)
        self.may_create(target, options.user)
        uid = (applied.get("metadata") or {}).get("uid")
        if uid:
            raise errors.conflict(
                group=kind.group,
                plural=kind.plural,
                name=target.name,
                why=f"uid mismatch: the provided object specified uid {uid}, and no existing object"
                " was found",
            )
        obj = _shallow(self._gate.apply(kind, None, applied, by=by, force=options.force))
        naming.must_be_named(target, obj)
        target = naming.place(target, obj)
        obj["metadata"].pop("resourceVersion", None)
        self._prepare_new(kind, obj)
        obj = self._gate.default(kind, obj)
        self._convert(target, obj, None, options)
        return self._insert(target, obj, options)

    @staticmethod
    def _keep_meta(new: JsonObject, old: JsonObject) -> None:
        meta, live = new["metadata"], old["metadata"]
        meta["resourceVersion"] = live["resourceVersion"]
        for name in ("creationTimestamp", "generation"):
            if name in live:
                meta[name] = live[name]
            else:
                meta.pop(name, None)
        for name in ("uid", "deletionTimestamp", "deletionGracePeriodSeconds"):
            if name in live:
                meta.setdefault(name, live[name])
        meta.pop("selfLink", None)

    def _store_changed(
        self, target: Target, new: JsonObject, old: JsonObject, options: WriteOptions
    ) -> Outcome:
        kind = target.kind
        new = self._as_stored_version(kind, new)
        generation = strategies.next_generation(kind, new, old, target.subresource)
        if generation is not None:
            new["metadata"]["generation"] = generation
        for hook in self._hooks:
            hook(target, new, old, options)
        try:
            options.warnings += self._gate.validate(kind, new, old)
        except errors.ApiFailure as failure:
            if kind.crd and target.subresource == "status":
                raise _as_of_status(target, failure) from None
            raise
        if _same(new, old):
            return Outcome(old)
        if options.dry_run:
            return Outcome(new)
        if self._finish(target, new):
            # The last finalizer left. What watchers are told of is the state that was stored.
            self._store.delete(self.table(kind), to_stored(kind, old))
            return Outcome(new)
        return self._commit(target, new, created=False)

    def _commit(self, target: Target, obj: JsonObject, *, created: bool) -> Outcome:
        stored = to_stored(target.kind, obj)
        row = self._store.put(self.table(target.kind), stored)
        obj["metadata"]["resourceVersion"] = stored["metadata"]["resourceVersion"]
        return Outcome(obj, created=created, row=row)


def _as_of_status(target: Target, failure: errors.ApiFailure) -> errors.ApiFailure:
    """A refusal in whose texts paths begin at the status, as its own validation has it."""
    causes = [
        {**cause, "message": cause["message"].replace("status.", "", 1)}
        if f"{cause['field']} in body" in cause["message"]
        else cause
        for cause in (failure.details or {}).get("causes", ())
    ]
    kind = target.kind
    return errors.invalid(group=kind.group, kind=kind.kind, name=target.name, causes=causes)


def _shallow(obj: JsonObject) -> JsonObject:
    """A copy whose top level and metadata may be changed; defaulting copies the rest."""
    return {**obj, "metadata": dict(obj.get("metadata") or {})}


def _same(new: JsonObject, old: JsonObject) -> bool:
    """Equal but for kind, apiVersion and the times of managedFields."""
    outside = {"kind", "apiVersion", "metadata"}
    if {k: v for k, v in new.items() if k not in outside} != {
        k: v for k, v in old.items() if k not in outside
    }:
        return False
    left, right = new["metadata"], old["metadata"]
    return left == right or _timeless(left) == _timeless(right)


def _timeless(meta: JsonObject) -> JsonObject:
    entries = meta.get("managedFields") or ()
    return {
        **meta,
        "managedFields": [{k: v for k, v in entry.items() if k != "time"} for entry in entries],
    }
