"""Sets of field paths, in the form in which managedFields stores them (FieldsV1).

A set is a nested dict. A key is a path element: ``f:name`` (a field), ``k:{"name":"a"}`` (the item
of a list with these key values), ``v:"x"`` (an item of a set), ``i:0`` (an index). Its value is the
set below it; the element itself is a member if that set is empty or has the key ``.``. So the
stored JSON *is* the set: nothing is parsed, and unchanged parts are shared.

No function changes its arguments. "Nothing" is None where a subset is returned.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import orjson

__all__ = [
    "LEAF",
    "PathSet",
    "difference",
    "has_path",
    "intersection",
    "is_member",
    "key_element",
    "ordered",
    "parse",
    "path_text",
    "paths",
    "recursive_difference",
    "subset",
    "union",
    "value_element",
]

PathSet = dict[str, Any]

LEAF: PathSet = {}
_DOT = {".": LEAF}


def is_member(child: PathSet) -> bool:
    """Whether the element that leads to this subset is itself in the set."""
    return not child or "." in child


def union(left: PathSet, right: PathSet) -> PathSet:
    """Paths in either."""
    if left is right or not right:
        return left
    if not left:
        return right
    out = dict(left)
    for key, theirs in right.items():
        ours = out.get(key)
        out[key] = theirs if ours is None else _union_child(ours, theirs)
    return out


def _union_child(ours: PathSet, theirs: PathSet) -> PathSet:
    if ours is theirs:
        return ours
    if not ours:
        return theirs if is_member(theirs) else {".": LEAF, **theirs}
    if not theirs:
        return ours if "." in ours else {".": LEAF, **ours}
    return union(ours, theirs)


def intersection(left: PathSet, right: PathSet) -> PathSet | None:
    """Paths in both; None if there is none."""
    out: PathSet = {}
    for key, ours in left.items():
        theirs = right.get(key)
        if theirs is None or key == ".":
            continue
        both = is_member(ours) and is_member(theirs)
        below = intersection(ours, theirs) if ours and theirs else None
        if below is not None:
            out[key] = {".": LEAF, **below} if both else below
        elif both:
            out[key] = LEAF
    return out or None


def difference(left: PathSet, right: PathSet) -> PathSet | None:
    """Paths of ``left`` that are not in ``right``; None if there is none.

    Returns ``left`` itself if nothing was taken away.
    """
    out: PathSet | None = None
    for key, ours in left.items():
        theirs = right.get(key)
        if theirs is None or key == ".":
            continue
        kept = _difference_child(ours, theirs)
        if kept is ours:
            continue
        if out is None:
            out = dict(left)
        if kept is None:
            del out[key]
        else:
            out[key] = kept
    if out is None:
        return left or None
    return out or None


def _difference_child(ours: PathSet, theirs: PathSet) -> PathSet | None:
    if not ours:
        return None if is_member(theirs) else ours
    below = difference(ours, theirs) if theirs else ours
    if "." in ours and is_member(theirs):
        below = {key: value for key, value in (below or LEAF).items() if key != "."}
        return below or None
    if below is not None and len(below) == 1 and "." in below:
        return LEAF
    return below


def recursive_difference(left: PathSet, right: PathSet) -> PathSet | None:
    """Like ``difference``, but a member of ``right`` also takes away everything below it."""
    out: PathSet = {}
    for key, ours in left.items():
        theirs = right.get(key)
        if theirs is None or key == ".":
            out[key] = ours
            continue
        if is_member(theirs):
            continue
        kept = recursive_difference(ours, theirs) if ours else ours
        if kept is not None:
            out[key] = kept
    return out or None


def subset(left: PathSet, right: PathSet) -> bool:
    """Whether every path of ``left`` is in ``right``."""
    for key, ours in left.items():
        if key == ".":
            continue
        theirs = right.get(key)
        if theirs is None:
            return False
        if ours is theirs:
            continue
        if is_member(ours) and not is_member(theirs):
            return False
        if ours and not subset(ours, theirs):
            return False
    return True


def has_path(fields: PathSet, path: tuple[str, ...]) -> bool:
    """Whether the path, given as elements, is a member."""
    node: PathSet | None = fields
    for element in path:
        node = node.get(element) if node is not None else None
        if node is None:
            return False
    return node is not None and is_member(node)


def paths(fields: PathSet) -> Iterator[tuple[str, ...]]:
    """Every member path, in the server's order: an object's own members before what is deeper."""
    order = sorted((key for key in fields if key != "."), key=_order)
    for key in order:
        if is_member(fields[key]):
            yield (key,)
    for key in order:
        for path in paths(fields[key]):
            yield (key, *path)


def path_text(path: tuple[str, ...]) -> str:
    """A path as messages quote it: ``.spec.containers[name="a"].image``."""
    return "".join(_element_text(element) for element in path)


def _element_text(element: str) -> str:
    kind, rest = element[0], element[2:]
    if kind == "f":
        return f".{rest}"
    if kind == "k":
        pairs = orjson.loads(rest).items()
        return "[" + ",".join(f"{name}={_value_text(value)}" for name, value in pairs) + "]"
    if kind == "v":
        return f"[={_value_text(orjson.loads(rest))}]"
    return f"[{rest}]"


def _value_text(value: Any) -> str:
    return orjson.dumps(value).decode()


@functools.lru_cache(maxsize=8192)
def key_element(keys: tuple[str, ...], values: tuple[Any, ...], types: tuple[type, ...]) -> str:
    """The path element of a keyed list item; ``types`` keeps 1 and true apart in the cache."""
    del types
    pairs = ",".join(
        f"{_json(key)}:{_json(value)}" for key, value in zip(keys, values, strict=True)
    )
    return f"k:{{{pairs}}}"


def value_element(value: Any) -> str:
    """The path element of a set's item."""
    return f"v:{_json(value)}"


def _json(value: Any) -> str:
    text = orjson.dumps(value).decode()
    if "<" in text or ">" in text or "&" in text:
        for sign in "<>&":
            text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


_KINDS = {"f": 0, "k": 1, "v": 2, "i": 3}


@functools.lru_cache(maxsize=16384)
def _order(element: str) -> tuple[int, Any]:
    kind, rest = element[:1], element[2:]
    if kind == "k":
        pairs = orjson.loads(rest).items()
        return 1, [(name, _rank(value)) for name, value in pairs]
    if kind == "v":
        return 2, _rank(orjson.loads(rest))
    if kind == "i":
        return 3, int(rest)
    return _KINDS.get(kind, -1), rest


def _rank(value: Any) -> tuple[int, Any]:
    if isinstance(value, bool):
        return 2, value
    if isinstance(value, int | float):
        return 0, value
    if isinstance(value, str):
        return 1, value
    return 3, orjson.dumps(value)


def ordered(fields: PathSet) -> PathSet:
    """The same set with its keys in the order in which the server writes them."""
    if not fields:
        return fields
    keys = list(fields)
    if len(keys) > 1:
        plain = all(key[0] in "f." for key in keys)
        keys.sort() if plain else keys.sort(key=_order)
    return {key: ordered(value) if value else LEAF for key in keys for value in (fields[key],)}


def parse(data: Any) -> PathSet:
    """A set from the JSON that a client sent, in canonical form.

    Raises:
        ValueError: it is not a set: a key without a known prefix, or a value that is no object.

    """
    if not isinstance(data, dict):
        raise ValueError("a set of fields must be an object")  # noqa: TRY004  bad data
    out: PathSet = {}
    for key, value in data.items():
        if key == ".":
            out[key] = LEAF
            continue
        element = _canonical(key)
        if element:
            below = parse(value)
            out[element] = LEAF if below == _DOT else below
    return ordered(out)


def _canonical(key: str) -> str:
    """The element as this module would write it; ``""`` for kinds that are to be ignored."""
    if len(key) < 2 or key[1] != ":":
        raise ValueError(f"missing colon: {key}")
    kind, rest = key[0], key[2:]
    if kind == "f":
        return key
    if kind == "i":
        return f"i:{int(rest)}"
    if kind == "v":
        return value_element(orjson.loads(rest))
    if kind == "k":
        pairs = orjson.loads(rest)
        if not isinstance(pairs, dict):
            raise ValueError(f"the key of a list item must be an object: {key}")
        names = tuple(sorted(pairs))
        return "k:{" + ",".join(f"{_json(name)}:{_json(pairs[name])}" for name in names) + "}"
    return ""
