"""The inventory: which objects a Kustomization owns, as its status stores it.

An entry is ``{id: "<namespace>_<name>_<group>_<kind>", v: "<version>"}``. Identity is the id; ``v``
is a hint that old versions of an object were written with. The order is the order of apply, and
every operation keeps it. Ids are those of Flux and of kstatus' object metadata.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from fluvial.apply.errors import InvalidEntry
from fluvial.objects import JsonObject, ObjectRef, gvk_of, ref_of

__all__ = ["Entry", "Inventory", "decode_id", "encode_id", "entry_of"]

_RBAC_GROUP = "rbac.authorization.k8s.io"
_RBAC_KINDS = frozenset({"Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"})


def encode_id(ref: ObjectRef) -> str:
    """The id of an object; ``:`` in names of the four RBAC kinds becomes ``__``.

    Raises:
        InvalidEntry: the id would read back as another object (a name with underscores), so that
            a later prune would look for the wrong one. Rename the object.

    """
    name = ref.name
    if ref.group == _RBAC_GROUP and ref.kind in _RBAC_KINDS:
        name = name.replace(":", "__")
    text = f"{ref.namespace}_{name}_{ref.group}_{ref.kind}"
    if not ref.kind or not ref.name or decode_id(text) != ref:
        raise InvalidEntry(
            f"{ref} cannot be recorded in the inventory: its name contains characters that the "
            "inventory uses as separators; rename the object"
        )
    return text


def decode_id(text: str) -> ObjectRef:
    """The object that an id names.

    The first ``_`` ends the namespace, the last starts the kind, the last but one the group.

    Raises:
        InvalidEntry: the text has fewer than three separators, or no name or kind.

    """
    namespace, found, rest = text.partition("_")
    rest, found_kind, kind = rest.rpartition("_")
    name, found_group, group = rest.rpartition("_")
    name = name.replace("__", ":")
    if not (found and found_kind and found_group and name and kind):
        raise InvalidEntry(
            f"invalid inventory id {text[:300]!r}: expected <namespace>_<name>_<group>_<kind>"
        )
    return ObjectRef(group, kind, namespace, name)


@dataclass(frozen=True, slots=True)
class Entry:
    """One inventory entry, as stored."""

    id: str
    v: str

    @property
    def ref(self) -> ObjectRef:
        """The object; raises ``InvalidEntry`` where the id has no reading."""
        return decode_id(self.id)


def entry_of(obj: JsonObject) -> Entry:
    """The entry of a desired object; raises ``InvalidEntry`` as ``encode_id`` does."""
    return Entry(encode_id(ref_of(obj)), gvk_of(obj).version)


@dataclass(frozen=True, slots=True)
class Inventory:
    """Entries in apply order, one for each id."""

    entries: tuple[Entry, ...] = ()

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> Inventory:
        """An inventory of these entries; of two with one id the first position and last ``v``."""
        by_id: dict[str, Entry] = {}
        for entry in entries:
            by_id[entry.id] = entry
        return cls(tuple(by_id.values()))

    @classmethod
    def from_status(cls, status: JsonObject | None) -> Inventory:
        """Read ``status.inventory`` (``{"entries": [{"id", "v"}]}``); ``None`` is empty."""
        rows = (status or {}).get("entries") or []
        return cls.of(Entry(str(row.get("id") or ""), str(row.get("v") or "")) for row in rows)

    def to_status(self) -> JsonObject:
        """The value of ``status.inventory``."""
        return {"entries": [{"id": entry.id, "v": entry.v} for entry in self.entries]}

    def union(self, other: Iterable[Entry]) -> Inventory:
        """These entries, then those of ``other`` that are new; ``v`` is the newer one's."""
        return Inventory.of((*self.entries, *other))

    def subtract(self, other: Iterable[Entry]) -> Inventory:
        """The entries whose id is not in ``other``; versions are not compared."""
        gone = {entry.id for entry in other}
        return Inventory(tuple(entry for entry in self.entries if entry.id not in gone))

    def ids(self) -> frozenset[str]:
        """All ids."""
        return frozenset(entry.id for entry in self.entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)
