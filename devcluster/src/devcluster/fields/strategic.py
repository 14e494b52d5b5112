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
    out = _retained(original, patch)
    deletions, orders = _list_directives(patch)
    _delete_items(out, deletions)
    for key, value in patch.items():
        if key.startswith("$"):
            continue
        if value is None:
            out.pop(key, None)
            continue
        child = node.fields.get(key) or node.element or _LEAF
        out[key] = _merge_value(out.get(key), value, child)
        if isinstance(value, list) and key in orders and "merge" in child.strategy:
            _check_order(value, orders[key], child)
            out[key] = _reordered(out[key], orders[key], child)
    for field, order in orders.items():
        if field not in patch and isinstance(out.get(field), list):
            child = node.fields.get(field) or _LEAF
            out[field] = _reordered(out[field], order, child)
    return out


def _delete_items(out: JsonObject, deletions: JsonObject) -> None:
    for field, unwanted in deletions.items():
        if isinstance(out.get(field), list) and isinstance(unwanted, list):
            out[field] = [item for item in out[field] if not _among(item, unwanted)]


def _retained(original: JsonObject, patch: JsonObject) -> JsonObject:
    keys = patch.get(_RETAIN)
    if keys is None:
        return dict(original)
    if not isinstance(keys, list):
        raise _failed(f"{_RETAIN} directive should be a list of keys")
    for key in patch:
        if key not in keys and not key.startswith("$"):
            raise _failed(f"{_RETAIN} directive is invalid: {key} is not in it")
    return {key: value for key, value in original.items() if key in keys}


def _list_directives(patch: JsonObject) -> tuple[JsonObject, JsonObject]:
    deletions = {k[len(_DELETE) :]: v for k, v in patch.items() if k.startswith(_DELETE)}
    orders = {k[len(_ORDER) :]: v for k, v in patch.items() if k.startswith(_ORDER)}
    return deletions, {key: value for key, value in orders.items() if isinstance(value, list)}


def _merge_value(original: Any, patch: Any, node: Node) -> Any:
    if isinstance(patch, dict):
        if not isinstance(original, dict) or "replace" in node.strategy:
            return _without_directives(patch, node)
        return _merge_map(original, patch, node)
    if isinstance(patch, list):
        if "merge" not in node.strategy:
            return patch
        return _merge_list(original if isinstance(original, list) else [], patch, node)
    return patch


def _without_directives(patch: Any, node: Node) -> Any:
    """A value that is new: its directives have nothing to work on."""
    if isinstance(patch, dict):
        return _merge_map({}, patch, node)
    if isinstance(patch, list) and "merge" in node.strategy:
        return _merge_list([], patch, node)
    return patch


def _merge_list(original: list[Any], patch: list[Any], node: Node) -> list[Any]:
    items = node.items or _LEAF
    if not node.merge_key:
        out = list(original)
        for item in patch:
            if not _among(item, out):
                out.append(item)
        return out
    if any(isinstance(item, dict) and item.get(_DIRECTIVE) == "replace" for item in patch):
        return [item for item in patch if not (isinstance(item, dict) and item.get(_DIRECTIVE))]
    key = node.merge_key
    out = list(original)
    for item in patch:
        if not isinstance(item, dict):
            raise _failed(f"patch has an item that is no map in a list merged by {key}")
        if key not in item:
            raise _failed(f"map: {go_value(item)} does not contain declared merge key: {key}")
        at = next((i for i, old in enumerate(out) if _key_of(old, key) == item[key]), None)
        if item.get(_DIRECTIVE) == "delete":
            out = [old for old in out if _key_of(old, key) != item[key]]
        elif at is None:
            out.append(_without_directives(item, items))
        else:
            out[at] = _merge_map(out[at], item, items)
    return out


def _key_of(item: Any, key: str) -> Any:
    return item.get(key) if isinstance(item, dict) else None


def _among(item: Any, items: list[Any]) -> bool:
    return any(equal(item, other) for other in items)


def _identity(item: Any, node: Node) -> Any:
    return _key_of(item, node.merge_key) if node.merge_key else item


def _check_order(patch: list[Any], order: list[Any], node: Node) -> None:
    """Every patched item must be named by the order, in the same sequence."""
    wanted = [_identity(item, node) for item in order]
    at = 0
    for item in patch:
        if isinstance(item, dict) and item.get(_DIRECTIVE) == "delete":
            continue
        identity = _identity(item, node)
        while at < len(wanted) and not equal(wanted[at], identity):
            at += 1
        if at >= len(wanted):
            raise _failed(
                f"The order in patch list:\n{go_value(patch)}\n"
                f" doesn't match $setElementOrder list:\n{go_value(order)}\n"
            )


def _reordered(merged: list[Any], order: list[Any], node: Node) -> list[Any]:
    """Items named by the order in that order; the server's own items where they were."""
    wanted = [_identity(item, node) for item in order]
    named = [item for item in merged if _identity(item, node) in wanted]
    named.sort(key=lambda item: wanted.index(_identity(item, node)))
    out: list[Any] = []
    queue = iter(named)
    pending = next(queue, None)
    rest = [item for item in merged if _identity(item, node) not in wanted]
    place = {id(item): at for at, item in enumerate(merged)}
    for item in rest:
        while pending is not None and place[id(pending)] < place[id(item)]:
            out.append(pending)
            pending = next(queue, None)
        out.append(item)
    while pending is not None:
        out.append(pending)
        pending = next(queue, None)
    return out
