"""JSON patch and merge patch, with the server's own quirks; strategic merge is in ``strategic``.

What a JSON patch cannot do (a failed test, a missing path, an unknown operation) is answered by one
and the same 422. Lenient where the server is: ``replace`` sets an absent field, ``copy`` of an
absent one sets null, a negative index counts from the end.
"""

from __future__ import annotations

from typing import Any

from devcluster.fields.errors import Cause, FieldsError, bad_request
from devcluster.fields.gotext import go_json, go_quote, go_value
from devcluster.fields.schema import JsonObject
from devcluster.fields.strategic import strategic_merge
from devcluster.fields.typed import ABSENT, equal

__all__ = ["json_patch", "merge_patch", "patched_object_refused", "strategic_merge"]

MAX_OPERATIONS = 10_000


def json_patch(obj: JsonObject, ops: Any) -> JsonObject:
    """The object after a JSON patch (RFC 6902).

    Args:
        obj: the object.
        ops: the decoded patch.

    Raises:
        FieldsError: 400 for a body that is no list of operations, 413 for more than 10,000 of
            them, 422 for an operation that does not apply.

    """
    if not isinstance(ops, list):
        raise bad_request(_cannot(ops, "[]handlers.jsonPatchOp"))
    for op in ops:
        if not isinstance(op, dict):
            raise bad_request(_cannot(op, "handlers.jsonPatchOp"))
    if len(ops) > MAX_OPERATIONS:
        raise FieldsError(
            "Request entity too large: The allowed maximum operations in a JSON patch is"
            f" {MAX_OPERATIONS}, got {len(ops)}",
            status=413,
            reason="RequestEntityTooLarge",
        )
    document = _Document(obj)
    for op in ops:
        document.run(op)
    if not isinstance(document.root, dict):
        raise _refused()
    return document.root


def _cannot(value: Any, target: str) -> str:
    kinds: list[tuple[type | tuple[type, ...], str]] = [
        (bool, "bool"),
        (str, "string"),
        ((int, float), "number"),
        (list, "array"),
    ]
    name = next((name for kind, name in kinds if isinstance(value, kind)), "object")
    return f"error decoding patch: json: cannot unmarshal {name} into Go value of type {target}"


def _refused() -> FieldsError:
    return FieldsError(
        "the server rejected our request due to an error in our request",
        status=422,
        reason="Invalid",
    )


class _Document:
    """The object being patched; containers are copied when they are first written to."""

    def __init__(self, obj: JsonObject) -> None:
        self.root: Any = obj
        self._own: dict[int, Any] = {}

    def run(self, op: JsonObject) -> None:
        name, path = op.get("op", ""), op.get("path")
        handler = _OPERATIONS.get(name)
        if handler is None or not isinstance(path, str):
            raise _refused()
        if not path and name == "replace":
            self.root = op.get("value")
            return
        handler(self, op, path)

    def add(self, op: JsonObject, path: str) -> None:
        self._insert(path, op.get("value"))

    def remove(self, _: JsonObject, path: str) -> None:
        self._take(path)

    def replace(self, op: JsonObject, path: str) -> None:
        parent, key = self._parent(path)
        if isinstance(parent, list):
            parent[_index(key, len(parent))] = op.get("value")
        else:
            parent[key] = op.get("value")

    def move(self, op: JsonObject, path: str) -> None:
        self._insert(path, self._take(self._source(op)))

    def copy(self, op: JsonObject, path: str) -> None:
        value = self._get(self._source(op))
        self._insert(path, None if value is ABSENT else value)

    def test(self, op: JsonObject, path: str) -> None:
        value = self._get(path) if path else self.root
        wanted = op.get("value")
        if not equal(None if value is ABSENT else value, wanted):
            raise _refused()

    def _source(self, op: JsonObject) -> str:
        source = op.get("from")
        if not isinstance(source, str):
            raise _refused()
        return source

    def _get(self, path: str) -> Any:
        parent, key = self._parent(path, write=False)
        if isinstance(parent, list):
            return parent[_index(key, len(parent))]
        return parent.get(key, ABSENT)

    def _take(self, path: str) -> Any:
        parent, key = self._parent(path)
        if isinstance(parent, list):
            return parent.pop(_index(key, len(parent)))
        if key not in parent:
            raise _refused()
        return parent.pop(key)

    def _insert(self, path: str, value: Any) -> None:
        parent, key = self._parent(path)
        if not isinstance(parent, list):
            parent[key] = value
        elif key == "-":
            parent.append(value)
        else:
            parent.insert(_index(key, len(parent) + 1), value)

    def _parent(self, path: str, *, write: bool = True) -> tuple[Any, str]:
        """The container that holds the path's last part, and that part."""
        parts = [part.replace("~1", "/").replace("~0", "~") for part in path.split("/")]
        if len(parts) < 2 and not path:
            raise _refused()
        if write:
            self.root = self._owned(self.root)
        node = self.root
        for part in parts[1:-1]:
            if isinstance(node, list):
                at: Any = _index(part, len(node))
            elif isinstance(node, dict) and part in node:
                at = part
            else:
                raise _refused()
            if write:
                node[at] = self._owned(node[at])
            node = node[at]
        if not isinstance(node, dict | list):
            raise _refused()
        return node, parts[-1]

    def _owned(self, node: Any) -> Any:
        if not isinstance(node, dict | list) or id(node) in self._own:
            return node
        copy = node.copy()
        # Kept alive: an id may not be given to another object meanwhile.
        self._own[id(copy)] = copy
        return copy


_OPERATIONS = {
    "add": _Document.add,
    "remove": _Document.remove,
    "replace": _Document.replace,
    "move": _Document.move,
    "copy": _Document.copy,
    "test": _Document.test,
}


def _index(text: str, length: int) -> int:
    try:
        index = int(text)
    except ValueError:
        raise _refused() from None
    if index < 0:
        index += length
    if not 0 <= index < length:
        raise _refused()
    return index


def merge_patch(obj: JsonObject, patch: Any) -> JsonObject:
    """The object after a merge patch (RFC 7386).

    Raises:
        FieldsError: 400: the patch is no object.

    """
    if patch is None:
        raise bad_request("Invalid JSON Patch")
    if not isinstance(patch, dict):
        raise bad_request(_cannot(patch, "map[string]interface {}"))
    merged: JsonObject = _merge(obj, patch)
    return merged


def _merge(target: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    out = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            out.pop(key, None)
        else:
            out[key] = _merge(out.get(key), value)
    # A map that was merged is written again, sorted; the text of a refusal shows it.
    return dict(sorted(out.items()))


def patched_object_refused(problem: str, *, patched: JsonObject | None, patch: Any) -> FieldsError:
    """The 422 for a patch whose result cannot be decoded.

    Args:
        problem: why, such as ``json: cannot unmarshal …``.
        patched: the patched object, for JSON and merge patches.
        patch: the patch itself, for strategic merge patches.

    """
    shown = go_json(patched) if patched is not None else go_value(patch)
    message = f"Invalid value: {go_quote(shown)}: {problem}"
    cause = Cause(field="patch", message=message, reason="FieldValueInvalid")
    return FieldsError(
        f' "" is invalid: {cause.text}', status=422, reason="Invalid", causes=[cause]
    )
