"""Strategic merge patch: a merge patch that knows which lists merge, and by which key.

Directives: ``$patch: replace | merge | delete``, ``$retainKeys``,
``$deleteFromPrimitiveList/<field>``, ``$setElementOrder/<field>``. Only built-in kinds have the
strategies that it needs.
"""

from __future__ import annotations

from typing import Any

from devcluster.fields.errors import FieldsError, bad_request
from devcluster.fields.gotext import go_value
from devcluster.fields.schema import JsonObject, Node, TypeSchema
from devcluster.fields.typed import equal

__all__ = ["strategic_merge"]

_DIRECTIVE = "$patch"
_RETAIN = "$retainKeys"
_DELETE = "$deleteFromPrimitiveList/"
_ORDER = "$setElementOrder/"
_LEAF = Node()


def strategic_merge(obj: JsonObject, patch: Any, schema: TypeSchema) -> JsonObject:
    """The object after a strategic merge patch.

    Raises:
        FieldsError: 400: the patch is no object; 415: the kind is a custom resource; 500: a
            directive that does not fit.

    """
    if not schema.builtin:
        raise FieldsError(
            "the body of the request was in an unknown format - accepted media types include:"
            " application/json-patch+json, application/merge-patch+json,"
            " application/apply-patch+yaml",
            status=415,
            reason="UnsupportedMediaType",
        )
    if not isinstance(patch, dict):
        kind = "array" if isinstance(patch, list) else "string"
        raise bad_request(
            f"json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}"
        )
    return _merge_map(obj, patch, schema.root)


def _failed(message: str) -> FieldsError:
    return FieldsError(message, status=500, reason="")


def _merge_map(original: JsonObject, patch: JsonObject, node: Node) -> JsonObject:
    directive = patch.get(_DIRECTIVE)
    if directive == "replace":
        return {key: value for key, value in patch.items() if key != _DIRECTIVE}
    if directive == "delete":
        return {}
    if directive is not None:
        raise _failed(f"unknown patch type: {go_value(directive)} in map: {go_value(patch)}")
    out = _retained(original, patch)
    done = _ordered_lists(out, patch, node)
    for key, value in patch.items():
        if key.startswith("$") or key in done:
            continue
        if value is None:
            out.pop(key, None)
        else:
            child = node.fields.get(key) or node.element or _LEAF
            _merge_field(out, key, value, child)
    for key, unwanted in patch.items():
        field = key[len(_DELETE) :] if key.startswith(_DELETE) else ""
        if isinstance(out.get(field), list) and isinstance(unwanted, list):
            out[field] = [item for item in out[field] if not _among(item, unwanted)]
    return out


def _merge_field(out: JsonObject, key: str, value: Any, node: Node) -> None:
    """One field that is in the patch, not null."""
    old = out.get(key)
    if isinstance(value, dict) and isinstance(old, dict):
        out[key] = value if "replace" in node.strategy else _merge_map(old, value, node)
    elif isinstance(value, list) and isinstance(old, list):
        out[key] = _merge_list(old, value, node) if "merge" in node.strategy else value
    else:
        kept = _without_directives(value)
        if kept is _NOTHING:
            out.pop(key, None)
        else:
            out[key] = kept


_NOTHING: Any = object()


def _without_directives(value: Any) -> Any:
    """A value that is new: nothing to merge with, so what carries a directive is left out."""
    if isinstance(value, dict):
        if _DIRECTIVE in value:
            return _NOTHING
        cleaned = {
            key: _without_directives(item) for key, item in value.items() if item is not None
        }
        return {key: item for key, item in cleaned.items() if item is not _NOTHING}
    if isinstance(value, list):
        items = [_without_directives(item) for item in value]
        return [item for item in items if item is not _NOTHING]
    return value


def _retained(original: JsonObject, patch: JsonObject) -> JsonObject:
    keys = patch.get(_RETAIN)
    if keys is None:
        return dict(original)
    if not isinstance(keys, list):
        raise bad_request("invalid patch format of retainKeys")
    for key, value in patch.items():
        if value is not None and key not in keys and not key.startswith("$"):
            raise bad_request("invalid patch format of retainKeys")
    return {key: value for key, value in original.items() if key in keys}


# --- lists ---------------------------------------------------------------------------------------


def _ordered_lists(out: JsonObject, patch: JsonObject, node: Node) -> set[str]:
    """Merge the lists whose order the patch gives; returns their fields."""
    done: set[str] = set()
    for directive, order in patch.items():
        if not directive.startswith(_ORDER):
            continue
        field = directive[len(_ORDER) :]
        child = node.fields.get(field) or _LEAF
        theirs = patch.get(field)
        if not isinstance(order, list) or not isinstance(theirs, list | None):
            raise bad_request("invalid patch format of setElementOrder list")
        ours = out.get(field)
        done.add(field)
        if ours is None and theirs is None:
            continue
        _check_order(theirs or [], order, child)
        merged: list[Any]
        if theirs is None:
            merged = ours or []
        elif ours is None:
            merged = _without_directives(theirs)
        else:
            merged = _merge_list(ours, theirs, child) if "merge" in child.strategy else theirs
        if not ours and not theirs:
            raise _failed("no elements in any of the given slices")
        out[field] = _arranged(merged, order, ours or [], child)
    return done


def _merge_list(original: list[Any], patch: list[Any], node: Node) -> list[Any]:
    if not node.merge_key:
        merged = list(original)
        merged += [item for at, item in enumerate(patch) if not _among(item, merged + patch[:at])]
        return _arranged(merged, patch, original, node)
    kept, plain = _directed(original, patch, node)
    key, items = node.merge_key, node.items or _LEAF
    merged = list(kept)
    for item in plain:
        if key not in item:
            raise _failed(_no_key(item, key))
        at = next((i for i, old in enumerate(merged) if _key_of(old, key) == item[key]), None)
        if at is None:
            merged.append(item)
        else:
            merged[at] = _merge_map(merged[at], item, items)
    return _arranged(merged, plain, kept, node)


def _directed(
    original: list[Any], patch: list[Any], node: Node
) -> tuple[list[Any], list[JsonObject]]:
    """The list after the patch's deletions or replacement, and the items that remain to merge."""
    key = node.merge_key
    plain: list[JsonObject] = []
    replaced = False
    for item in patch:
        if not isinstance(item, dict):
            raise _failed(f"patch has an item that is no map in a list merged by {key}")
        directive = item.get(_DIRECTIVE)
        if directive is None:
            plain.append(item)
        elif directive == "replace":
            replaced = True
        elif directive != "delete":
            raise _failed(f"unknown patch type: {go_value(directive)} in map: {go_value(item)}")
        elif key not in item:
            raise _failed(_no_key(item, key))
        else:
            original = [old for old in original if _key_of(old, key) != item[key]]
    return (plain, []) if replaced else (original, plain)


def _no_key(item: JsonObject, key: str) -> str:
    return f"map: {go_value(item)} does not contain declared merge key: {key}"


def _key_of(item: Any, key: str) -> Any:
    return item.get(key) if isinstance(item, dict) else None


def _among(item: Any, items: list[Any]) -> bool:
    return any(equal(item, other) for other in items)


def _identity(item: Any, node: Node) -> Any:
    return _key_of(item, node.merge_key) if node.merge_key else item


def _check_order(patch: list[Any], order: list[Any], node: Node) -> None:
    """Every patched item must be named by the order, in the same sequence."""
    checked = [item for item in patch if _directive(item) != "delete"]
    if not order or not checked:
        return
    at, place = 0, 0
    while at < len(checked) and place < len(order):
        if _directive(checked[at]) is not None:
            at += 1
            continue
        if equal(_identity(checked[at], node), _identity(order[place], node)):
            at += 1
        place += 1
    if at < len(checked):
        raise _failed(
            f"The order in patch list:\n{go_value(patch)}\n"
            f" doesn't match $setElementOrder list:\n{go_value(order)}\n"
        )


def _directive(item: Any) -> Any:
    return item.get(_DIRECTIVE) if isinstance(item, dict) else None


def _arranged(merged: list[Any], order: list[Any], server: list[Any], node: Node) -> list[Any]:
    """Items that the order names in that order; the server's others before those they preceded."""
    wanted = [_identity(item, node) for item in order]
    known = [_identity(item, node) for item in server]
    named = [item for item in merged if _identity(item, node) in wanted]
    named.sort(key=lambda item: wanted.index(_identity(item, node)))
    others = [item for item in merged if _identity(item, node) not in wanted]
    out: list[Any] = []
    left, right = 0, 0
    while left < len(others) and right < len(named):
        ours, theirs = _identity(others[left], node), _identity(named[right], node)
        both = ours in known and theirs in known
        if both and known.index(ours) < known.index(theirs):
            out.append(others[left])
            left += 1
        else:
            out.append(named[right])
            right += 1
    return [*out, *others[left:], *named[right:]]
