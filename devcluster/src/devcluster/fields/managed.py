"""metadata.managedFields: who owns which field, after a create, update or patch.

Entries are kept per manager, operation, subresource and, for updates, apiVersion. The rules:

- what an update changes or adds becomes the updating manager's and nobody else's; what it removes
  is nobody's;
- an entry's time moves only when its operation changed the object;
- at most ten update entries; the oldest are merged into ``ancient-changes``;
- an object whose managedFields were emptied is not tracked until it is applied.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson

from devcluster.fields import fieldset
from devcluster.fields.fieldset import LEAF, PathSet
from devcluster.fields.schema import JsonObject, TypeSchema
from devcluster.fields.typed import Comparison, compare

__all__ = [
    "Entry",
    "Key",
    "Managers",
    "decode",
    "decode_foreign",
    "disown",
    "encode",
    "filtered",
    "reset_fields",
    "settle",
    "strip",
    "track_update",
    "with_managed",
    "without_managed",
]

MAX_UPDATERS = 10

# Never owned by anyone.
_STRIPPED: PathSet = {
    "f:apiVersion": LEAF,
    "f:kind": LEAF,
    "f:metadata": {
        ".": LEAF,
        "f:name": LEAF,
        "f:namespace": LEAF,
        "f:creationTimestamp": LEAF,
        "f:selfLink": LEAF,
        "f:uid": LEAF,
        "f:clusterName": LEAF,
        "f:generation": LEAF,
        "f:managedFields": LEAF,
        "f:resourceVersion": LEAF,
    },
}

_SPEC: PathSet = {"f:spec": LEAF}
_STATUS: PathSet = {"f:status": LEAF}
_BOTH: PathSet = {"f:spec": LEAF, "f:metadata": LEAF}
# What a write to a subresource cannot change and therefore cannot own.
_RESET_BY_STATUS: dict[tuple[str, str], PathSet] = {
    ("apps", "Deployment"): {"f:spec": LEAF, "f:metadata": {"f:labels": LEAF}},
    ("", "Pod"): {
        "f:spec": LEAF,
        "f:metadata": {"f:deletionTimestamp": LEAF, "f:ownerReferences": LEAF},
    },
    ("networking.k8s.io", "ServiceCIDR"): _BOTH,
    ("storage.k8s.io", "VolumeAttachment"): _BOTH,
    ("storage.k8s.io", "CSINode"): _BOTH,
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"): _BOTH,
}
# Built-in kinds with a status field whose main resource does not ignore it, or that have none.
_NO_RESET = frozenset(
    {("", "Event"), ("events.k8s.io", "Event"), ("apiregistration.k8s.io", "APIService")}
)


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """What tells two entries apart; ``api_version`` is empty for appliers."""

    manager: str
    operation: str
    api_version: str
    subresource: str

    @property
    def text(self) -> str:
        """The manager as conflict messages name it."""
        out = f'"{self.manager}"'
        if self.subresource:
            out += f' with subresource "{self.subresource}"'
        if self.operation == "Update":
            out += f" using {self.api_version}"
        return out


@dataclass(slots=True)
class Entry:
    """One manager's fields; ``raw`` is the stored entry as long as nothing changed."""

    api_version: str
    fields: PathSet
    time: str | None
    raw: JsonObject | None = None


Managers = dict[Key, Entry]


def decode(entries: Any) -> Managers:
    """The managers of stored entries, which are in canonical form."""
    out: Managers = {}
    for raw in entries or ():
        operation = raw["operation"]
        version = raw["apiVersion"]
        key = Key(
            raw.get("manager", ""),
            operation,
            version if operation == "Update" else "",
            raw.get("subresource", ""),
        )
        out[key] = Entry(version, raw.get("fieldsV1") or LEAF, raw.get("time"), raw)
    return out


def decode_foreign(entries: Any) -> Managers:
    """The managers of entries that a client sent.

    Raises:
        ValueError: an entry is not well-formed, in the server's words.

    """
    if not isinstance(entries, list):
        raise ValueError("managedFields must be a list")  # noqa: TRY004  bad data
    clean: list[JsonObject] = []
    for index, raw in enumerate(entries):
        if raw.get("operation") not in {"Apply", "Update"}:
            raise ValueError("operation must be `Apply` or `Update`")
        if not raw.get("apiVersion"):
            raise ValueError("apiVersion must not be empty")
        if not raw.get("fieldsType"):
            raise ValueError(f"missing fieldsType in managed fields entry {index}")
        if raw["fieldsType"] != "FieldsV1":
            raise ValueError(
                f'invalid fieldsType "{raw["fieldsType"]}" in managed fields entry {index}'
            )
        clean.append({**raw, "fieldsV1": fieldset.parse(raw.get("fieldsV1") or {})})
    return decode(clean)


def encode(managers: Managers) -> list[JsonObject]:
    """The entries in the server's order: appliers first, then by time and name."""
    keys = sorted(
        managers,
        key=lambda key: (
            key.operation,
            managers[key].time or "",
            key.manager,
            managers[key].api_version,
            key.subresource,
        ),
    )
    return [_encode(key, managers[key]) for key in keys]


def _encode(key: Key, entry: Entry) -> JsonObject:
    raw = entry.raw
    if raw is not None and raw.get("fieldsV1") is entry.fields:
        if raw.get("time") == entry.time:
            return raw
        if "time" in raw and entry.time is not None:
            return {**raw, "time": entry.time}
    out: JsonObject = {"manager": key.manager, "operation": key.operation}
    out["apiVersion"] = entry.api_version
    if entry.time:
        out["time"] = entry.time
    out["fieldsType"] = "FieldsV1"
    out["fieldsV1"] = fieldset.ordered(entry.fields)
    if key.subresource:
        out["subresource"] = key.subresource
    return out


def without_managed(obj: JsonObject) -> JsonObject:
    """The object without managedFields; itself if it has none."""
    meta = obj.get("metadata")
    if not isinstance(meta, dict) or "managedFields" not in meta:
        return obj
    return {**obj, "metadata": {key: meta[key] for key in meta if key != "managedFields"}}


def with_managed(obj: JsonObject, entries: list[JsonObject]) -> JsonObject:
    """The object with these entries, as the last key of its metadata; none if there are none."""
    meta = dict(obj.get("metadata") or {})
    meta.pop("managedFields", None)
    if entries:
        meta["managedFields"] = entries
    return {**obj, "metadata": meta}


def reset_fields(schema: TypeSchema, subresource: str) -> PathSet | None:
    """Fields that a write to the main resource or a subresource cannot own."""
    key = (schema.group, schema.kind)
    if not schema.builtin:
        if not schema.has_status:
            return None
        return _BOTH if subresource == "status" else (_STATUS if not subresource else None)
    if "status" not in schema.root.fields or key in _NO_RESET:
        return None
    if subresource == "status":
        return _RESET_BY_STATUS.get(key, _SPEC)
    return None if subresource and subresource != "finalize" else _STATUS


def filtered(fields: PathSet | None, reset: PathSet | None) -> PathSet | None:
    """The set without what is reset, and without anything below it."""
    if fields is None or reset is None:
        return fields
    return fieldset.recursive_difference(fields, reset)


def strip(fields: PathSet | None) -> PathSet | None:
    """The set without the fields that nobody owns."""
    return fieldset.difference(fields, _STRIPPED) if fields else None


def disown(managers: Managers, comparison: Comparison) -> None:
    """Take what changed away from its owners; empty entries disappear."""
    for part in comparison:
        if part is None:
            continue
        for key, entry in list(managers.items()):
            kept = fieldset.difference(entry.fields, part)
            if kept is entry.fields:
                continue
            if kept is None:
                del managers[key]
            else:
                entry.fields = kept


def track_update(
    live: JsonObject | None,
    new: JsonObject,
    *,
    schema: TypeSchema,
    manager: str,
    api_version: str,
    subresource: str,
    now: str,
) -> JsonObject:
    """The new object with the managedFields that this write leaves behind.

    Args:
        live: the stored object; None for a create.
        new: the object to be stored, defaulted and admitted. Its own managedFields, if the client
            sent any, replace the stored ones first; ``[]`` or ``[{}]`` clears them.
        schema: its kind.
        manager: the field manager; empty counts as ``unknown``.
        api_version: the version of the request.
        subresource: such as ``status``; empty for the object itself.
        now: the time, RFC 3339 in whole seconds.

    Returns:
        ``live`` itself if nothing but timestamps would differ.

    """
    managers = _starting_point(live, new, subresource)
    bare = without_managed(new)
    if not managers and live is not None:
        return settle(live, with_managed(bare, []))
    old = without_managed(live) if live is not None else _empty(schema)
    changes = compare(old, _shared(bare, old), schema.root)
    reset = reset_fields(schema, subresource)
    changes = Comparison(*(filtered(part, reset) for part in changes))
    disown(managers, changes)
    mine = strip(fieldset.union(changes.modified or LEAF, changes.added or LEAF) or None)
    if mine is not None:
        key = Key(manager or "unknown", "Update", api_version, subresource)
        previous = managers.get(key)
        fields = fieldset.union(previous.fields, mine) if previous else mine
        managers[key] = Entry(api_version, fields, now)
    cap_updaters(managers)
    out = with_managed(bare, encode(managers))
    return out if live is None else settle(live, out)


def _shared(new: JsonObject, old: JsonObject) -> JsonObject:
    """``new`` with the very parts of ``old`` where they say the same, for ``compare`` to skip.

    The bytes are compared, because to Python 1 equals true.
    """
    out = dict(new)
    for key, value in new.items():
        before = old.get(key)
        if value is before:
            continue
        if isinstance(value, dict) and isinstance(before, dict) and len(value) == len(before):
            out[key] = before if orjson.dumps(value) == orjson.dumps(before) else value
    return out


def _starting_point(live: JsonObject | None, new: JsonObject, subresource: str) -> Managers:
    """The entries before this write."""
    stored = (live or {}).get("metadata", {}).get("managedFields")
    sent = (new.get("metadata") or {}).get("managedFields")
    if subresource or sent is None or sent is stored or sent == stored:
        return decode(stored)
    if sent in ([], [{}]):
        return {}
    try:
        return decode_foreign(sent)
    except (ValueError, AttributeError, TypeError):
        return decode(stored)


def _empty(schema: TypeSchema) -> JsonObject:
    return {"apiVersion": schema.api_version, "kind": schema.kind, **schema.empty}


def cap_updaters(managers: Managers) -> None:
    """Merge the oldest update entries until there are no more than ten."""
    updaters = [key for key in managers if key.operation == "Update"]
    surplus = len(updaters) - MAX_UPDATERS
    if surplus <= 0:
        return
    updaters.sort(key=lambda key: (managers[key].time or "", key))
    first_of: dict[str, Key] = {}
    for key in updaters:
        if surplus <= 0:
            return
        entry = managers[key]
        first = first_of.setdefault(entry.api_version, key)
        if first == key:
            continue
        bucket = Key("ancient-changes", "Update", entry.api_version, "")
        if bucket not in managers:
            managers[bucket] = managers.pop(first)
        merged = fieldset.union(entry.fields, managers[bucket].fields)
        if bucket != key:
            del managers[key]
        managers[bucket] = Entry(entry.api_version, merged, entry.time)
        surplus -= 1


def settle(live: JsonObject, new: JsonObject) -> JsonObject:
    """``live`` itself if the new object differs from it only in the times of managedFields.

    The server calls this once more after admission, so that a write that changes nothing keeps its
    resourceVersion and its timestamps.
    """
    if live is new:
        return live
    if not _same_entries(
        live.get("metadata", {}).get("managedFields") or (),
        new.get("metadata", {}).get("managedFields") or (),
    ):
        return new
    return live if without_managed(live) == without_managed(new) else new


def _same_entries(left: Iterable[JsonObject], right: Iterable[JsonObject]) -> bool:
    ours = {_identity(entry): entry.get("fieldsV1") for entry in left}
    theirs = {_identity(entry): entry.get("fieldsV1") for entry in right}
    return ours == theirs


def _identity(entry: JsonObject) -> tuple[Any, ...]:
    return (
        entry.get("manager"),
        entry.get("operation"),
        entry.get("apiVersion"),
        entry.get("subresource"),
    )
