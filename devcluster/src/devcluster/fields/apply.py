"""Server-side apply: the applied object laid over the live one, by ownership.

``apply_patch`` merges, removes what this manager applied before and no longer does and nobody else
owns, refuses to change what others own (unless forced), and records the ownership. Fields, not
objects, are compared: an apply that changes nothing returns the live object itself.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson

from devcluster.fields import conform, fieldset, managed
from devcluster.fields.decode import Mismatch, check_types
from devcluster.fields.encoding import as_written
from devcluster.fields.errors import ApplyConflict, FieldsError, bad_request
from devcluster.fields.extract import field_set, remove_items, with_named_fields
from devcluster.fields.fieldset import LEAF, PathSet
from devcluster.fields.managed import Entry, Key, Managers
from devcluster.fields.reconcile import reconciled
from devcluster.fields.schema import JsonObject, TypeSchema
from devcluster.fields.shape import shape_of
from devcluster.fields.typed import ABSENT, Comparison, compare, equal, merge

__all__ = ["apply_patch"]

_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


class _How(NamedTuple):
    """What stays the same during one apply.

    Attributes:
        schema: the kind.
        api_version: the version of the request.
        force: whether to take fields over.
        everything: what the configuration claims.
        claims: what of it is recorded.

    """

    schema: TypeSchema
    api_version: str
    force: bool
    everything: PathSet
    claims: PathSet


def apply_patch(
    live: JsonObject | None,
    applied: JsonObject,
    *,
    schema: TypeSchema,
    manager: str,
    force: bool,
    api_version: str,
    subresource: str,
    now: str,
) -> JsonObject:
    """The object after a server-side apply, with its managedFields, not yet defaulted.

    Args:
        live: the stored object; None creates it.
        applied: the applied configuration; what it leaves out is not claimed.
        schema: the kind, in the version of the request.
        manager: the field manager.
        force: take over fields of other managers that the configuration would change.
        api_version: the version of the request.
        subresource: such as ``status``; empty for the object itself.
        now: the time, RFC 3339 in whole seconds.

    Returns:
        ``live`` itself if nothing changes.

    Raises:
        ApplyConflict: other managers own what would change.
        FieldsError: the configuration does not fit the schema (500), or names managedFields or
            another version (400).

    """
    _check(applied, schema, api_version)
    config = managed.without_managed(applied)
    how = _How(schema, api_version, force, *_claimed_by(config, schema, subresource))
    managers, old = _before(live, schema, now, subresource)
    self = Key(manager or "unknown", "Apply", "", subresource)
    try:
        result, bare = _apply(old, config, managers, self, how)
    except ApplyConflict as conflict:
        if self.manager != "kubectl" or not _csa_allows(old, schema, conflict):
            raise
        managers, old = _before(live, schema, now, subresource)
        result, bare = _apply(old, config, managers, self, how._replace(force=True))
    if bare is not old and self in result:
        result[self].time = now
    bare = _synced_last_applied(bare, applied, self)
    bare = _written(bare, old, schema)
    out = managed.with_managed(bare, managed.encode(result))
    return out if live is None else managed.settle(live, out)


def _check(applied: JsonObject, schema: TypeSchema, api_version: str) -> None:
    if applied.get("apiVersion") != api_version or applied.get("kind") != schema.kind:
        version = str(applied.get("apiVersion") or "")
        version = version if "/" in version else f"/{version}"
        raise bad_request(f"invalid object type: {version}, Kind={applied.get('kind') or ''}")
    meta = applied.get("metadata")
    if isinstance(meta, dict) and meta.get("managedFields") is not None:
        raise bad_request("metadata.managedFields must be nil")


def _claimed_by(
    config: JsonObject, schema: TypeSchema, subresource: str
) -> tuple[PathSet, PathSet]:
    """What a configuration claims: as it is, and as it is recorded.

    Raises:
        FieldsError: 500: it does not fit its schema.

    """
    try:
        shape = shape_of(config, schema.root)
    except TypeError:
        # A number that JSON text cannot carry here; nothing to remember it by.
        return _claims_of(config, schema, subresource)
    key = (shape, schema, subresource)
    found = _remembered.get(key)
    if found is None:
        found = _claims_of(config, schema, subresource)
        if len(_remembered) >= _MAX_REMEMBERED:
            del _remembered[next(iter(_remembered))]
        _remembered[key] = found
    return found


# What configurations that fit claim, by their shape; the oldest go first.
_remembered: dict[tuple[bytes, TypeSchema, str], tuple[PathSet, PathSet]] = {}
_MAX_REMEMBERED = 512


def _claims_of(config: JsonObject, schema: TypeSchema, subresource: str) -> tuple[PathSet, PathSet]:
    problems = conform.check(config, schema.root)
    if problems:
        text = problems[0]
        if len(problems) > 1:
            text = "\n".join(["errors:", *(f"  {problem}" for problem in problems)])
        raise _unfit(f"failed to create typed patch object {_named(config, schema)}: {text}")
    if schema.builtin:
        _check_decodes(config, schema)
    reset = managed.reset_fields(schema, subresource)
    everything = managed.filtered(field_set(config, schema.root) or None, reset) or LEAF
    return everything, managed.strip(everything or None) or LEAF


def _check_decodes(config: JsonObject, schema: TypeSchema) -> None:
    """Refuse scalars that have the right shape and no meaning, such as data that is not base64."""
    try:
        check_types(config, schema.root, schema.kind)
    except Mismatch as mismatch:
        kind = f"{schema.group}/{schema.version}, Kind={schema.kind}"
        raise _unfit(
            f"failed to convert new object {_named(config, schema)} to proper version: unable to"
            f" convert unstructured object to {kind}: error decoding from json: {mismatch}"
        ) from mismatch


def _named(config: JsonObject, schema: TypeSchema) -> str:
    meta = config.get("metadata")
    name = meta if isinstance(meta, dict) else {}
    key = f"{name.get('namespace', '')}/{name.get('name', '')}"
    return f"({key}; {schema.group}/{schema.version}, Kind={schema.kind})"


def _unfit(message: str) -> FieldsError:
    return FieldsError(message, status=500, reason="")


def _before(
    live: JsonObject | None, schema: TypeSchema, now: str, subresource: str
) -> tuple[Managers, JsonObject]:
    """The managers and the object that the configuration is laid over."""
    empty: JsonObject = {"apiVersion": schema.api_version, "kind": schema.kind, **schema.empty}
    if live is None:
        return {}, empty
    managers = managed.decode(live["metadata"].get("managedFields"))
    old = managed.without_managed(live)
    if managers:
        if not schema.builtin:
            for entry in managers.values():
                entry.fields = reconciled(entry.fields, schema.root)
        return managers, old
    changes = compare(empty, old, schema.root)
    owned = managed.strip(fieldset.union(changes.modified or LEAF, changes.added or LEAF) or None)
    reset = managed.reset_fields(schema, subresource)
    owned = managed.filtered(owned, reset)
    if owned is None:
        return {}, old
    key = Key("before-first-apply", "Update", schema.api_version, subresource)
    return {key: Entry(schema.api_version, owned, now)}, old


def _apply(
    old: JsonObject, config: JsonObject, managers: Managers, self: Key, how: _How
) -> tuple[Managers, JsonObject]:
    root, claims = how.schema.root, how.claims
    merged = merge(old, config, root)
    before = managers.get(self)
    if before is not None and before.fields == claims and before.api_version == how.api_version:
        managers[self] = Entry(how.api_version, before.fields, before.time, before.raw)
    else:
        managers[self] = Entry(how.api_version, how.everything, before.time if before else None)
        if before is not None:
            merged = _pruned(merged, managers, before.fields, how.schema)
        managers[self].fields = claims
    changes = compare(old, merged, root)
    reset = managed.reset_fields(how.schema, self.subresource)
    changes = Comparison(*(managed.filtered(part, reset) for part in changes))
    _settle_owners(managers, changes, self, force=how.force)
    if not claims:
        managers.pop(self, None)
    same = changes == (None, None, None) and equal(old, merged)
    return managers, old if same else merged


def _settle_owners(managers: Managers, changes: Comparison, self: Key, *, force: bool) -> None:
    """Refuse or take over what others own of the changes; nobody owns what was removed."""
    conflicts = _conflicts(managers, changes, self)
    if conflicts and not force:
        raise ApplyConflict(
            [
                (key.text, fieldset.path_text(path))
                for key in sorted(conflicts)
                for path in fieldset.paths(conflicts[key])
            ]
        )
    for key, both in conflicts.items():
        managers[key].fields = fieldset.difference(managers[key].fields, both) or LEAF
    if changes.removed is not None:
        for key, entry in managers.items():
            if key != self:
                entry.fields = fieldset.difference(entry.fields, changes.removed) or LEAF
    for key in [key for key, entry in managers.items() if not entry.fields]:
        del managers[key]


def _conflicts(managers: Managers, changes: Comparison, self: Key) -> dict[Key, PathSet]:
    """What others own of the fields that are changed or added."""
    touched = fieldset.union(changes.modified or LEAF, changes.added or LEAF)
    out: dict[Key, PathSet] = {}
    if touched:
        for key, entry in managers.items():
            both = fieldset.intersection(entry.fields, touched) if key != self else None
            if both is not None:
                out[key] = both
    return out


def _pruned(
    merged: JsonObject, managers: Managers, previous: PathSet, schema: TypeSchema
) -> JsonObject:
    """Without what this manager applied last time and that nobody owns any more."""
    owned: PathSet = LEAF
    for entry in managers.values():
        owned = fieldset.union(owned, entry.fields)
    if fieldset.subset(previous, owned):
        return merged
    root = schema.root
    last = with_named_fields(previous, root)
    pruned = remove_items(merged, last, root)
    everything = with_named_fields(field_set(merged, root), root)
    left = with_named_fields(_claims(pruned, schema), root)
    keep = fieldset.union(left, with_named_fields(owned, root))
    pruned = _without(merged, fieldset.difference(everything, keep), schema)
    left = with_named_fields(_claims(pruned, schema), root)
    gone = fieldset.difference(everything, left)
    dangling = fieldset.intersection(gone, last) if gone else None
    out: JsonObject = _without(merged, dangling, schema)
    return out


def _claims(value: Any, schema: TypeSchema) -> PathSet:
    return LEAF if value is ABSENT else field_set(value, schema.root)


def _without(merged: JsonObject, fields: PathSet | None, schema: TypeSchema) -> Any:
    if fields is None:
        return merged
    rest = remove_items(merged, fields, schema.root)
    return {} if rest is ABSENT else rest


def _written(bare: JsonObject, old: JsonObject, schema: TypeSchema) -> JsonObject:
    try:
        if schema.builtin:
            written: JsonObject = as_written(bare, schema.root, old)
        else:
            meta, node = bare.get("metadata"), schema.root.fields["metadata"]
            written = {**bare, "metadata": as_written(meta, node, old.get("metadata"))}
    except ValueError as problem:
        name = bare.get("metadata") or {}
        raise FieldsError(
            f"failed to convert new typed object ({name.get('namespace', '')}/"
            f"{name.get('name', '')}; {schema.group}/{schema.version}, Kind={schema.kind}) to object: {problem}",
            status=500,
            reason="",
        ) from problem
    return written


# --- taking over from kubectl apply --------------------------------------------------------------


def _csa_allows(old: JsonObject, schema: TypeSchema, conflict: ApplyConflict) -> bool:
    """Whether all conflicts are over fields that client-side apply set to their live values."""
    text = (old["metadata"].get("annotations") or {}).get(_LAST_APPLIED)
    if not text:
        return False
    try:
        last = orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    if not isinstance(last, dict) or last.get("apiVersion") != schema.api_version:
        return False
    allowed: PathSet | None = field_set(last, schema.root)
    for part in compare(last, old, schema.root):
        if part is not None and allowed:
            allowed = fieldset.difference(allowed, part)
    known = {fieldset.path_text(path) for path in fieldset.paths(allowed or LEAF)}
    kept = [pair for pair in conflict.conflicts if pair[1] not in known]
    if kept and len(kept) < len(conflict.conflicts):
        raise ApplyConflict(kept) from conflict
    return not kept


def _synced_last_applied(bare: JsonObject, applied: JsonObject, self: Key) -> JsonObject:
    """Kubectl's own annotation follows what kubectl applies on the server."""
    if self.manager != "kubectl":
        return bare
    annotations = (bare.get("metadata") or {}).get("annotations") or {}
    if not annotations.get(_LAST_APPLIED):
        return bare
    meta = dict(applied.get("metadata") or {})
    kept = {k: v for k, v in (meta.get("annotations") or {}).items() if k != _LAST_APPLIED}
    meta.pop("annotations", None)
    if kept:
        meta["annotations"] = kept
    value = orjson.dumps({**applied, "metadata": meta}, option=orjson.OPT_SORT_KEYS).decode() + "\n"
    return {
        **bare,
        "metadata": {**bare["metadata"], "annotations": {**annotations, _LAST_APPLIED: value}},
    }
