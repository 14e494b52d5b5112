"""Strategic merge patches out of three versions of an object, as Helm and kubectl make them.

A patch holds what the wanted version changes or adds to the live one, and deletes what it lacks of
the original one, which was written by us; whatever else is live is somebody else's and stays. So two
patches are made, and joined: one against the live version without deletions, and one against the
original that has nothing else.

Lists that merge item by item have directives beside them:

    {"<key>": "a", "$patch": "delete"} ....... an item of maps that goes
    $deleteFromPrimitiveList/<field> ......... items that are no maps and go
    $setElementOrder/<field> ................. the order of the items that the wanted version names
    $retainKeys .............................. the only fields of a map that may stay

Source: the Kubernetes documents on strategic merge patches; what they leave open was asked of
Helm's own engine, whose patches these are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import chain
from operator import itemgetter
from typing import Any, Final

from fluvial.helm.clientside.strategies import Rule
from fluvial.helm.clientside.values import identity_of, same, sorted_scalars, text_of, unique
from fluvial.helm.errors import MergeError
from fluvial.objects import JsonObject

__all__ = ["three_way"]

_DIRECTIVE: Final = "$patch"
_RETAIN: Final = "$retainKeys"
_DELETE: Final = "$deleteFromPrimitiveList/"
_ORDER: Final = "$setElementOrder/"


def three_way(
    original: JsonObject, modified: JsonObject, live: JsonObject, *, rule: Rule
) -> JsonObject:
    """The patch that makes of a live object what is wanted; ``{}`` where nothing is to be done.

    Args:
        original: as it was written last.
        modified: as it is wanted.
        live: as it is.
        rule: of its kind.

    Raises:
        MergeError: a list that is merged by a key has an item without it.

    """
    comparison = _Comparison(removing=False)
    changes = comparison.maps(live, modified, rule)
    deletions = _Comparison(removing=True).maps(original, modified, rule)
    return _Joining(comparison.added).maps(deletions, changes, rule)


class _Comparison:
    """Either of the two patches: changes and additions, or deletions."""

    def __init__(self, *, removing: bool) -> None:
        self._removing = removing
        self.added: list[JsonObject] = []
        """Items of the new version's lists that the old one does not have."""

    def maps(self, old: JsonObject, new: JsonObject, rule: Rule) -> JsonObject:
        _refuse_directives(old, new)
        patch: JsonObject = {}
        for key, value in new.items():
            if key in old:
                self._field(patch, key, (old[key], value), rule.below(key))
            elif not self._removing:
                patch[key] = value
        if self._removing:
            patch.update((key, None) for key in old if key not in new)
        if rule.retain:
            self._retain(patch, old, new)
        return patch

    @staticmethod
    def _retain(patch: JsonObject, old: JsonObject, new: JsonObject) -> None:
        kept = sorted_scalars(key for key, value in new.items() if value is not None)
        others = any(value is not None and key not in new for key, value in old.items())
        if kept and (patch or others):
            patch[_RETAIN] = kept

    def _field(self, patch: JsonObject, key: str, pair: tuple[Any, Any], rule: Rule) -> None:
        """A field that both versions have."""
        old, new = pair
        if type(old) is type(new) is dict and not rule.replace:
            below = self.maps(old, new, rule)
            if below:
                patch[key] = below
        elif type(old) is type(new) is list and rule.merge:
            self._lists(patch, key, (old, new), rule)
        elif not self._removing and (rule.replace or not same(old, new)):
            patch[key] = new

    def _lists(
        self, patch: JsonObject, key: str, pair: tuple[list[Any], list[Any]], rule: Rule
    ) -> None:
        """A list that merges item by item."""
        old, new = pair
        if not old:
            if new and not self._removing:
                patch[key] = new
                self.added += new
        elif rule.key:
            self._lists_of_maps(patch, key, pair, rule)
        else:
            self._lists_of_scalars(patch, key, pair)

    def _lists_of_maps(
        self, patch: JsonObject, key: str, pair: tuple[list[Any], list[Any]], rule: Rule
    ) -> None:
        old, new = pair
        for item in (*old, *new):
            if not isinstance(item, dict) or rule.key not in item:
                raise MergeError(f"an item of {key} has no {rule.key}, by which they are merged")
        items, gone = self._items(old, new, rule)
        names = [item[rule.key] for item in new]
        found = [*_ordered(items, names, rule.key), *gone]
        if found:
            patch[key] = found
        moved = not same([item[rule.key] for item in old], names)
        if names and (found or (moved and not self._removing)):
            patch[_ORDER + key] = [{rule.key: name} for name in names]

    def _items(
        self, old: list[JsonObject], new: list[JsonObject], rule: Rule
    ) -> tuple[list[JsonObject], list[JsonObject]]:
        """What changes in the items of a list, and which go."""
        items: list[JsonObject] = []
        gone: list[JsonObject] = []
        left, right = _by_name(old, rule.key), _by_name(new, rule.key)
        while left or right:
            first = left[-1] if left else None
            second = right[-1] if right else None
            order = _compared(first, second, rule.key)
            if first is not None and second is not None and order == 0:
                below = self.maps(first, second, rule)
                if below:
                    items.append({**below, rule.key: second[rule.key]})
            elif second is not None and order > 0:
                items += [] if self._removing else [second]
                self.added.append(second)
            elif first is not None and self._removing:
                gone.append({rule.key: first[rule.key], _DIRECTIVE: "delete"})
            if order <= 0:
                left.pop()
            if order >= 0:
                right.pop()
        return items, gone

    def _lists_of_scalars(
        self, patch: JsonObject, key: str, pair: tuple[list[Any], list[Any]]
    ) -> None:
        old, new = pair
        if any(isinstance(item, dict | list) for item in (*old, *new)):
            raise MergeError(f"an item of {key} is no plain value, so that they cannot be merged")
        added, gone = _without(new, old), unique(_without(old, new))
        if self._removing:
            ordered = bool(gone)
            if gone:
                patch[_DELETE + key] = gone
        else:
            # Helm compares with the sorted list, so that it sends the order of an unsorted one anew.
            ordered = not same(sorted_scalars(old), new)
            if added:
                patch[key] = _sorted_as(added, new)
        if new and ordered:
            patch[_ORDER + key] = new


def _refuse_directives(*maps: JsonObject) -> None:
    """Refuse what a server would take for a part of the patch."""
    for key in chain.from_iterable(maps):
        if key in {_DIRECTIVE, _RETAIN} or key.startswith((_DELETE, _ORDER)):
            raise MergeError(f"{key[:100]} is a directive of patches and no field")


def _by_name(items: list[JsonObject], key: str) -> list[JsonObject]:
    """Items such that the last has the first name; of equal names, that which comes last.

    Which of two items of one name is compared with which is left open; this is what Helm does.
    """
    return sorted(items, key=lambda item: text_of(item[key]), reverse=True)


def _compared(first: JsonObject | None, second: JsonObject | None, key: str) -> int:
    """Negative where the first item comes first, or is the only one."""
    if first is None or second is None:
        return 1 if first is None else -1
    left, right = text_of(first[key]), text_of(second[key])
    return (left > right) - (left < right)


def _without(items: list[Any], others: list[Any]) -> list[Any]:
    """Scalars that others do not have as often, in the order of their texts."""
    left = Counter(map(text_of, others))
    found = []
    for item in sorted_scalars(items):
        if left[text_of(item)]:
            left[text_of(item)] -= 1
        else:
            found.append(item)
    return found


def _sorted_as(
    items: list[Any], order: list[Any], name: Callable[[Any], Any] | None = None
) -> list[Any]:
    """Items in the order of their first occurrence in another list; others at the end."""
    places: dict[tuple[type, str], int] = {}
    for at, one in enumerate(order):
        places.setdefault(identity_of(one), at)

    def place(item: Any) -> int:
        return places.get(identity_of(item if name is None else name(item)), len(order))

    return sorted(items, key=place)


def _ordered(items: list[JsonObject], names: list[Any], key: str) -> list[JsonObject]:
    """Items in the order of the names; what goes is at the end."""
    kept = [item for item in items if item.get(_DIRECTIVE) != "delete"]
    gone = [item for item in items if item.get(_DIRECTIVE) == "delete"]
    return [*_sorted_as(kept, names, itemgetter(key)), *gone]


# --- joining the two -----------------------------------------------------------------------------


class _Joining:
    """Makes one patch of two, which agree wherever both say something.

    An item that is new to a live list takes no deletions: servers would keep the directives as if
    they were items. Helm's patches have them there.
    """

    def __init__(self, added: list[JsonObject]) -> None:
        self._added = {id(item) for item in added}  # they live as long as the wanted version

    def maps(self, deletions: JsonObject, changes: JsonObject, rule: Rule) -> JsonObject:
        out = {**deletions}
        for key, value in changes.items():
            old, below = out.get(key), rule.below(key)
            if type(old) is type(value) is dict and not below.replace:
                out[key] = self.maps(old, value, below)
            elif type(old) is type(value) is list and below.merge:
                out[key] = self._lists(old, value, below)
            else:
                out[key] = value
            if below.key and _ORDER + key in changes:
                _refuse_twins(key, value, changes[_ORDER + key], below.key)
        for key, order in out.items():
            if key.startswith(_ORDER) and rule.below(key[len(_ORDER) :]).key:
                _arrange(out, key[len(_ORDER) :], order, rule)
        return out

    def _lists(
        self, deletions: list[JsonObject], changes: list[JsonObject], rule: Rule
    ) -> list[JsonObject]:
        out: list[JsonObject] = []
        places: dict[tuple[type, str], int] = {}
        for item in chain(deletions, changes):
            if rule.key not in item:
                raise MergeError(f"an item of a list has no {rule.key}, by which they are merged")
            at = places.setdefault(identity_of(item[rule.key]), len(out))
            if at == len(out) or len(out) < len(deletions):
                out.append(item)
            elif id(item) in self._added and any(out[at] is one for one in deletions[at : at + 1]):
                out[at] = item
            else:
                out[at] = self.maps(out[at], item, rule)
        return out


def _refuse_twins(field: str, items: list[JsonObject], order: list[JsonObject], key: str) -> None:
    """Refuse a patch in which items of one name are not side by side, as the server would."""
    names = iter(order)
    for item in items:
        if not any(same(name[key], item[key]) for name in names):
            raise MergeError(f"items of {field} have the same {key}, by which they are merged")


def _arrange(out: JsonObject, field: str, order: list[JsonObject], rule: Rule) -> None:
    key = rule.below(field).key
    if field in out:
        out[field] = _ordered(out[field], [item[key] for item in order], key)
