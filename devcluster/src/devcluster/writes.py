"""Create, update, patch and apply: from what a client sent to one commit in the store.

The order is the API server's: decode, name, defaults, managedFields, namespace life cycle,
validation, commit. A write that changes nothing commits nothing and keeps its resourceVersion.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from devcluster import clock, errors, strategies
from devcluster.conversion import from_stored, to_stored
from devcluster.gate import Gate, Strictness, Written
from devcluster.identity import ADMIN, User
from devcluster.kinds import Kind
from devcluster.store import Row, Store, Table

__all__ = ["Hook", "Outcome", "Target", "WriteOptions", "Writer"]

JsonObject = dict[str, Any]
_SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_IMMUTABLE_META = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds")


@dataclass(frozen=True, slots=True)
class Target:
    """What a request addresses."""

    kind: Kind
    namespace: str = ""
    name: str = ""
    subresource: str = ""


@dataclass(slots=True)
class WriteOptions:
    """How to write; ``warnings`` collects what the response's Warning headers say."""

    manager: str = "unknown"
    user: User = ADMIN
    dry_run: bool = False
    strictness: Strictness = "Warn"
    force: bool = False
    raw: bytes = b""
    warnings: list[str] = field(default_factory=list)


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

    """

    def __init__(self, store: Store, gate: Gate, *, hooks: list[Hook]) -> None:
        self._store = store
        self._gate = gate
        self._hooks = hooks
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

    # --- create -------------------------------------------------------------------------------

    def create(self, target: Target, obj: JsonObject, options: WriteOptions) -> Outcome:
        """Store a new object; ``target.name`` may be empty (the object names itself)."""
        kind = target.kind
        obj, warnings = self._gate.check(kind, obj, mode=options.strictness, raw=options.raw)
        options.warnings += warnings
        target = self._named(target, obj)
        self._prepare_new(kind, obj)
        obj = self._gate.default(kind, obj)
        by = Written(options.manager, now=clock.stamp())
        obj = _fresh(self._gate.track(kind, None, obj, by=by))
        return self._insert(target, obj, options)

    def _insert(self, target: Target, obj: JsonObject, options: WriteOptions) -> Outcome:
        kind = target.kind
        for hook in self._hooks:
            hook(target, obj, None, options)
        self._gate.validate(kind, obj, None)
        if self.live(target) is not None:
            raise errors.already_exists(group=kind.group, plural=kind.plural, name=target.name)
        if options.dry_run:
            return Outcome(obj, created=True)
        return self._commit(target, obj, created=True)

    def _named(self, target: Target, obj: JsonObject) -> Target:
        kind = target.kind
        meta = obj.setdefault("metadata", {})
        if kind.namespaced:
            given = meta.setdefault("namespace", target.namespace)
            if given != target.namespace:
                raise errors.bad_request(
                    "the namespace of the provided object does not match the namespace sent on"
                    " the request"
                )
        elif meta.pop("namespace", ""):
            raise errors.bad_request(
                "the namespace of the provided object does not match the namespace sent on"
                " the request"
            )
        if not meta.get("name") and meta.get("generateName"):
            base = meta["generateName"][:58]
            meta["name"] = base + "".join(secrets.choice(_SUFFIX_ALPHABET) for _ in range(5))
        if target.name and meta.get("name") and meta["name"] != target.name:
            raise errors.bad_request(
                f"the name of the object ({meta['name']}) does not match the name on the URL"
                f" ({target.name})"
            )
        if target.name:
            meta["name"] = target.name
        if not meta.get("name"):
            raise errors.invalid(
                group=kind.group,
                kind=kind.kind,
                name="",
                causes=[
                    {
                        "reason": "FieldValueRequired",
                        "message": "Required value: name or generateName is required",
                        "field": "metadata.name",
                    }
                ],
            )
        return replace(target, name=meta["name"])

    def _prepare_new(self, kind: Kind, obj: JsonObject) -> None:
        meta = obj["metadata"]
        if meta.pop("resourceVersion", ""):
            raise errors.bad_request("resourceVersion should not be set on objects to be created")
        for name in ("deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "generation"):
            meta.pop(name, None)
        meta["uid"] = str(uuid.uuid4())
        meta["creationTimestamp"] = clock.stamp()
        generation = strategies.first_generation(kind)
        if generation is not None:
            meta["generation"] = generation
        if strategies.has_status(kind):
            obj.pop("status", None)

    # --- update and patch ---------------------------------------------------------------------

    def update(self, target: Target, obj: JsonObject, options: WriteOptions) -> Outcome:
        """Replace; creates where the kind allows it."""
        kind = target.kind
        obj, warnings = self._gate.check(kind, obj, mode=options.strictness, raw=options.raw)
        options.warnings += warnings
        target = self._named(target, obj)
        old = self.live(target)
        if old is None:
            if not target.subresource and strategies.may_create_on_update(kind):
                return self.create(target, obj, options)
            raise errors.not_found(group=kind.group, plural=kind.plural, name=target.name)
        if not obj["metadata"].get("resourceVersion") and not strategies.is_unconditional(kind):
            raise _version_required(target)
        return self._replace(target, obj, old, options)

    def patch(
        self,
        target: Target,
        change: Callable[[JsonObject], JsonObject],
        options: WriteOptions,
    ) -> Outcome:
        """Replace by what ``change`` makes of the live object."""
        old = self.must_live(target)
        new = _fresh(change(old))
        new, warnings = self._gate.check(target.kind, new, mode=options.strictness, raw=options.raw)
        options.warnings += warnings
        self._named(target, new)
        return self._replace(target, new, old, options)

    def _replace(
        self, target: Target, new: JsonObject, old: JsonObject, options: WriteOptions
    ) -> Outcome:
        kind = target.kind
        self._check_versions(target, new, old)
        self._keep_meta(new, old)
        new = strategies.merge_for(kind, new, old, target.subresource)
        new = self._gate.default(kind, new)
        by = Written(options.manager, subresource=target.subresource, now=clock.stamp())
        new = self._gate.track(kind, old, new, by=by)
        if new is old:
            return Outcome(old)
        return self._store_changed(target, _fresh(new), old, options)

    def apply(self, target: Target, applied: JsonObject, options: WriteOptions) -> Outcome:
        """Server-side apply; creates the object when there is none."""
        kind = target.kind
        self._named(target, applied)
        old = self.live(target)
        by = Written(options.manager, subresource=target.subresource, now=clock.stamp())
        if old is None:
            return self._apply_new(target, applied, options, by)
        self._check_versions(target, applied, old)
        new = self._gate.apply(kind, old, applied, by=by, force=options.force)
        if new is old:
            return Outcome(old)
        new = _fresh(new)
        self._keep_meta(new, old)
        new = strategies.merge_for(kind, new, old, target.subresource)
        new = self._gate.default(kind, new)
        return self._store_changed(target, new, old, options)

    def _apply_new(
        self, target: Target, applied: JsonObject, options: WriteOptions, by: Written
    ) -> Outcome:
        kind = target.kind
        if target.subresource:
            raise errors.not_found(group=kind.group, plural=kind.plural, name=target.name)
        if applied["metadata"].get("uid"):
            raise errors.conflict(
                group=kind.group,
                plural=kind.plural,
                name=target.name,
                why=f"uid mismatch: the provided object specified uid {applied['metadata']['uid']},"
                " and no existing object was found",
            )
        obj = _fresh(self._gate.apply(kind, None, applied, by=by, force=options.force))
        self._prepare_new(kind, obj)
        return self._insert(target, self._gate.default(kind, obj), options)

    def _check_versions(self, target: Target, new: JsonObject, old: JsonObject) -> None:
        kind, meta, live = target.kind, new["metadata"], old["metadata"]
        if meta.get("uid") and meta["uid"] != live["uid"]:
            raise errors.conflict(
                group=kind.group,
                plural=kind.plural,
                name=target.name,
                why=f"Precondition failed: UID in precondition: {meta['uid']},"
                f" UID in object meta: {live['uid']}",
            )
        wanted = meta.get("resourceVersion")
        if wanted and wanted != live["resourceVersion"]:
            raise errors.conflict(group=kind.group, plural=kind.plural, name=target.name)

    @staticmethod
    def _keep_meta(new: JsonObject, old: JsonObject) -> None:
        meta, live = new["metadata"], old["metadata"]
        meta["resourceVersion"] = live["resourceVersion"]
        for name in (*_IMMUTABLE_META, "generation"):
            if name in live:
                meta[name] = live[name]
            else:
                meta.pop(name, None)
        meta.pop("selfLink", None)

    def _store_changed(
        self, target: Target, new: JsonObject, old: JsonObject, options: WriteOptions
    ) -> Outcome:
        kind = target.kind
        generation = strategies.next_generation(kind, new, old)
        if generation is not None:
            new["metadata"]["generation"] = generation
        for hook in self._hooks:
            hook(target, new, old, options)
        self._gate.validate(kind, new, old)
        if _same(new, old):
            return Outcome(old)
        if options.dry_run:
            return Outcome(new)
        return self._commit(target, new, created=False)

    def _commit(self, target: Target, obj: JsonObject, *, created: bool) -> Outcome:
        stored = to_stored(target.kind, obj)
        table = self.table(target.kind)
        if not created and self._finish(target, obj):
            row = self._store.delete(table, stored)
        else:
            row = self._store.put(table, stored)
        obj["metadata"]["resourceVersion"] = stored["metadata"]["resourceVersion"]
        return Outcome(obj, created=created, row=row)


def _version_required(target: Target) -> errors.ApiFailure:
    kind = target.kind
    cause = {
        "reason": "FieldValueInvalid",
        "message": "Invalid value: 0: must be specified for an update",
        "field": "metadata.resourceVersion",
    }
    return errors.invalid(group=kind.group, kind=kind.plural, name=target.name, causes=[cause])


def _fresh(obj: JsonObject) -> JsonObject:
    """A copy that shares nothing, so that hooks may change it in place."""
    copied: JsonObject = orjson.loads(orjson.dumps(obj))
    copied.setdefault("metadata", {})
    return copied


def _same(new: JsonObject, old: JsonObject) -> bool:
    """Equal but for kind and apiVersion."""
    outside = {"kind", "apiVersion"}
    return {k: v for k, v in new.items() if k not in outside} == {
        k: v for k, v in old.items() if k not in outside
    }
