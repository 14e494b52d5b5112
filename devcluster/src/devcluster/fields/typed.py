"""Merge and comparison of objects by their schema, item by item where lists and maps allow it.

``merge`` keeps the live object wherever the applied one says nothing new, and returns the very
same parts, so that ``compare`` can skip what is identical. Both walk a pair of values together with
the node of ``fields.schema``. The rules are those of structured-merge-diff (KEP-555).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from devcluster.fields.fieldset import LEAF, PathSet, key_element, value_element
from devcluster.fields.schema import Node

__all__ = ["ABSENT", "Comparison", "compare", "element_of", "equal", "everything", "merge"]


class _Absent:
    __slots__ = ()


# A value that is not there, as opposed to null.
ABSENT: Any = _Absent()


class Comparison(NamedTuple):
    """What became different between two objects; None stands for an empty set.

    Attributes:
        removed: paths that only the first object has.
        modified: paths with different values.
        added: paths that only the second object has.

    """

    removed: PathSet | None
    modified: PathSet | None
    added: PathSet | None


SAME = Comparison(None, None, None)


def equal(left: Any, right: Any) -> bool:
    """Equality of JSON values: 1 equals 1.0 but not true."""
    if left is right:
        return True
    if left != right:
        return False
    return isinstance(left, bool) == isinstance(right, bool)


class _NoElement(ValueError):
    """An item that cannot be told apart from others by a key."""


def element_of(item: Any, node: Node) -> str:
    """The path element of an item of an associative list.

    Raises:
        ValueError: the item has no key, with the reason in the server's words.

    """
    keys = node.keys
    if len(keys) == 1 and type(item) is dict:
        value = item.get(keys[0])
        if type(value) is str:
            known = node.elements.get(value)
            if known is None:
                known = _remembered(node, value, _keyed(item, node))
            return known
    if not keys:
        return _set_element(item)
    if item is None:
        raise ValueError("associative list with keys may not have a null element")
    if not isinstance(item, dict):
        raise _NoElement("associative list with keys may not have non-map elements")
    return _keyed(item, node)


_REMEMBERED = 4096


def _remembered(node: Node, value: str, element: str) -> str:
    if len(node.elements) >= _REMEMBERED:
        node.elements.clear()
    node.elements[value] = element
    return element


def _set_element(item: Any) -> str:
    if isinstance(item, dict):
        raise _NoElement("associative list without keys has an element that's a map type")
    if isinstance(item, list):
        raise _NoElement("not supported: associative list with lists as elements")
    if item is None:
        raise ValueError("associative list without keys has an element that's an explicit null")
    return value_element(item)


def _keyed(item: dict[str, Any], node: Node) -> str:
    names: list[str] = []
    values: list[Any] = []
    for key in node.keys:
        value = item.get(key, ABSENT)
        if value is ABSENT:
            value = node.key_defaults.get(key, ABSENT)
            if value is ABSENT:
                continue
        names.append(key)
        values.append(value)
    if not names:
        quoted = " ".join(f'"{key}"' for key in node.keys)
        raise ValueError(
            f"associative list with keys has an element that omits all key fields [{quoted}]"
            " (and doesn't have default values for any key fields)"
        )
    return key_element(tuple(names), tuple(values), tuple(map(type, values)))


# --- merge ---------------------------------------------------------------------------------------


def merge(live: Any, applied: Any, node: Node) -> Any:  # noqa: PLR0911  one per pair of kinds
    """The live value with the applied one laid over it; ``live`` itself if nothing changes.

    Either may be ABSENT, not both. The result is ABSENT if nothing is left to say. Applied lists
    must have passed ``conform.check``, which refuses duplicate keys.
    """
    if applied is ABSENT or applied is live:
        return live
    if live is ABSENT:
        return applied
    if isinstance(applied, dict):
        if not node.is_map or node.map_atomic:
            return live if equal(live, applied) else applied
        if not isinstance(live, dict):
            return applied
        return _merge_maps(live, applied, node)
    if isinstance(applied, list):
        if not node.associative or not isinstance(live, list):
            return live if equal(live, applied) else applied
        return _merge_lists(live, applied, node)
    if applied is None:
        keeps = (isinstance(live, dict) and node.is_map and not node.map_atomic) or (
            isinstance(live, list) and node.associative
        )
        return live if keeps and live else None
    return live if equal(live, applied) else applied


def _merge_maps(live: dict[str, Any], applied: dict[str, Any], node: Node) -> Any:
    if not applied:
        return live
    fields, element = node.fields, node.element
    out: dict[str, Any] | None = None
    for key, theirs in applied.items():
        ours = live.get(key, ABSENT)
        if ours is ABSENT:
            merged = theirs
        elif type(ours) is str and ours == theirs:
            continue
        else:
            child = fields.get(key) or element
            merged = merge(ours, theirs, child) if child is not None else theirs
            if merged is ours:
                continue
        if out is None:
            out = dict(live)
        if merged is ABSENT:
            out.pop(key, None)
        else:
            out[key] = merged
    return live if out is None else out


def _merge_lists(live: list[Any], applied: list[Any], node: Node) -> Any:
    if not applied:
        return live
    left = [element_of(item, node) for item in live]
    right = [element_of(item, node) for item in applied]
    items = node.items
    if left == right and items is not None and len(set(left)) == len(left):
        out = [merge(ours, theirs, items) for ours, theirs in zip(live, applied, strict=True)]
        if all(new is old for new, old in zip(out, live, strict=True)):
            return live
        return out
    out = _interleave((live, left), (applied, right), node)
    if len(out) == len(live) and all(new is old for new, old in zip(out, live, strict=True)):
        return live
    return out


def _interleave(
    live: tuple[list[Any], list[str]], applied: tuple[list[Any], list[str]], node: Node
) -> list[Any]:
    """Items in the applied order where both have them, live-only items kept in between."""
    (live_items, left), (applied_items, right) = live, applied
    items = node.items
    ours: dict[str, Any] = {}
    for element, item in zip(left, live_items, strict=True):
        # A duplicated live item merges with nothing.
        ours[element] = ABSENT if element in ours else item
    theirs = dict(zip(right, applied_items, strict=True))
    shared = [element for element in right if element in ours]
    shared.reverse()
    wanted = shared.pop() if shared else None
    done: set[str] = set()
    out: list[Any] = []
    at, to = 0, 0
    while at < len(left) or to < len(right):
        both = at < len(left) and to < len(right)
        if both and left[at] != right[to] and left[at] in theirs and wanted not in (None, left[at]):
            at += 1
            continue
        if both and left[at] == right[to]:
            at_next, wanted = at + 1, (shared.pop() if shared else None)
            out.append(_merge_item(ours[left[at]], theirs[right[to]], items))
            done.add(right[to])
            at, to = at_next, to + 1
            continue
        if at < len(left):
            if left[at] not in theirs:
                out.append(live_items[at])
                at += 1
                continue
            if left[at] in done:
                at += 1
        if to < len(right):
            element = right[to]
            done.add(element)
            out.append(_merge_item(ours.get(element, ABSENT), theirs[element], items))
            to += 1
            if wanted == element:
                wanted = shared.pop() if shared else None
    return out


def _merge_item(ours: Any, theirs: Any, node: Node | None) -> Any:
    return theirs if node is None else merge(ours, theirs, node)


# --- comparison ----------------------------------------------------------------------------------


def compare(old: Any, new: Any, node: Node) -> Comparison:
    """How the second value differs from the first; both are there (null included)."""
    if old is new:
        return SAME
    old_map, new_map = isinstance(old, dict), isinstance(new, dict)
    if (old_map or new_map) and node.is_map and not node.map_atomic:
        if (old_map or old is None) and (new_map or new is None):
            return _compare_maps(old or LEAF, new or LEAF, node, changed=old != new)
        return _compare_mixed(old, new, node)
    if node.associative:
        old_list, new_list = isinstance(old, list), isinstance(new, list)
        if (old_list or old is None) and (new_list or new is None) and (old or new):
            return _compare_lists(old or [], new or [], node)
    if equal(old, new):
        return SAME
    return Comparison(None, LEAF, None)


def _compare_mixed(old: Any, new: Any, node: Node) -> Comparison:
    """An object became something else or the other way round."""
    if isinstance(old, dict):
        removed = everything(old, node) if old else None
        if removed is not None:
            removed = {key: value for key, value in removed.items() if key != "."} or None
        return Comparison(removed, LEAF, None)
    added = everything(new, node) if new else None
    if added is not None:
        added = {key: value for key, value in added.items() if key != "."} or None
    return Comparison(None, LEAF, added)


def _compare_maps(
    old: dict[str, Any], new: dict[str, Any], node: Node, *, changed: bool
) -> Comparison:
    if not old and not new:
        return Comparison(None, LEAF, None) if changed else SAME
    fields, element = node.fields, node.element
    removed: PathSet = {}
    modified: PathSet = {}
    added: PathSet = {}
    for key, ours in old.items():
        theirs = new.get(key, ABSENT)
        if ours is theirs:
            continue
        child = fields.get(key) or element
        if child is None:
            continue
        if theirs is ABSENT:
            removed["f:" + key] = everything(ours, child)
        else:
            _collect("f:" + key, compare(ours, theirs, child), (removed, modified, added))
    for key, theirs in new.items():
        if key not in old:
            child = fields.get(key) or element
            if child is not None:
                added["f:" + key] = everything(theirs, child)
    return Comparison(removed or None, modified or None, added or None)


def _collect(element: str, below: Comparison, into: tuple[PathSet, PathSet, PathSet]) -> None:
    for part, out in zip(below, into, strict=True):
        if part is not None:
            out[element] = part


def _compare_lists(old: list[Any], new: list[Any], node: Node) -> Comparison:
    lefts = _grouped(old, node)
    rights = _grouped(new, node)
    into: tuple[PathSet, PathSet, PathSet] = ({}, {}, {})
    child = node.items
    for element in dict.fromkeys((*lefts, *rights)):
        ours, theirs = lefts.get(element, []), rights.get(element, [])
        if child is None:
            continue
        if len(ours) <= 1 and len(theirs) <= 1:
            _compare_items(element, (ours, theirs), child, into)
        else:
            _compare_duplicates(element, (ours, theirs), child, into)
    return Comparison(*(part or None for part in into))


def _compare_items(
    element: str,
    pair: tuple[list[Any], list[Any]],
    child: Node,
    into: tuple[PathSet, PathSet, PathSet],
) -> None:
    ours, theirs = pair
    if not theirs:
        into[0][element] = everything(ours[0], child)
    elif not ours:
        into[2][element] = everything(theirs[0], child)
    elif ours[0] is not theirs[0]:
        _collect(element, compare(ours[0], theirs[0], child), into)


def _compare_duplicates(
    element: str,
    pair: tuple[list[Any], list[Any]],
    child: Node,
    into: tuple[PathSet, PathSet, PathSet],
) -> None:
    """Items that share a key are owned as one piece."""
    ours, theirs = pair
    removed, modified, added = into
    if len(ours) > 1 and len(theirs) > 1:
        if ours != theirs:
            modified[element] = LEAF
    elif len(ours) > 1:
        if theirs:
            added[element] = everything(theirs[0], child)
        removed[element] = LEAF
    else:
        if ours:
            removed[element] = everything(ours[0], child)
        added[element] = LEAF


def _grouped(items: list[Any], node: Node) -> dict[str, list[Any]]:
    out: dict[str, list[Any]] = {}
    for item in items:
        try:
            element = element_of(item, node)
        except ValueError:
            continue
        out.setdefault(element, []).append(item)
    return out


def everything(value: Any, node: Node) -> PathSet:
    """All paths of a value that is there only once: itself, and all that is below it."""
    if isinstance(value, dict):
        if not value or not node.is_map or node.map_atomic:
            return LEAF
        fields, element = node.fields, node.element
        out: PathSet = {".": LEAF}
        for key, item in value.items():
            child = fields.get(key) or element
            if child is not None:
                out["f:" + key] = everything(item, child)
        return out if len(out) > 1 else LEAF
    if isinstance(value, list) and value and node.associative and node.items is not None:
        out = {".": LEAF}
        for element_name, items in _grouped(value, node).items():
            single = len(items) == 1
            out[element_name] = everything(items[0], node.items) if single else LEAF
        return out if len(out) > 1 else LEAF
    return LEAF
