"""Between the dicts that the API server speaks and the typed models.

Reading is forgiving: fields that a model does not know are ignored and ``null`` is the same as
absent. What is written back to the server is made from single values (``encode``), never by
re-encoding a whole object, so nothing unknown is lost.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

import msgspec

from fluvial.errors import FluvialError
from fluvial.objects import JsonObject, key_of

__all__ = ["InvalidObject", "decode", "encode", "unsupported_fields"]

StructT = TypeVar("StructT", bound=msgspec.Struct)


class InvalidObject(FluvialError):
    """An object does not have its kind's shape; it needs a change by its author.

    Attributes:
        path: the field, such as ``spec.interval``; ``""`` for the object itself.

    """

    def __init__(self, message: str, *, path: str) -> None:
        super().__init__(message)
        self.path = path


def decode(obj: JsonObject, model: type[StructT]) -> StructT:
    """The typed form of an object.

    Args:
        obj: the object as decoded JSON; not changed, and its containers are not shared.
        model: a model of ``fluvial.api``, a whole kind or a part of one.

    Raises:
        InvalidObject: a required field is missing or a field has the wrong type or value.

    """
    try:
        return msgspec.convert(obj, model)
    except msgspec.ValidationError:
        pass
    try:
        return msgspec.convert(_without_nulls(obj), model)
    except msgspec.ValidationError as error:
        problem, _, location = str(error).partition(" - at `$")
        path = location.rstrip("`").removeprefix(".")
        what = " ".join(filter(None, (str(obj.get("kind") or ""), str(key_of(obj)))))
        where = f": {path}" if path else ""
        raise InvalidObject(f"invalid {what or 'object'}{where}: {problem}", path=path) from None


def encode(value: msgspec.Struct) -> JsonObject:
    """A model as plain JSON types, without fields that have their default.

    Equal to what the API server answers: lists are lists, also where the model has tuples
    (``msgspec.to_builtins`` keeps those, and no tuple equals a list).
    """
    result: JsonObject = msgspec.json.decode(msgspec.json.encode(value))
    return result


def unsupported_fields(obj: JsonObject, refused: Iterable[str]) -> tuple[str, ...]:
    """Which of the ``refused`` fields an object sets.

    Args:
        obj: the object as decoded JSON.
        refused: paths such as ``spec.decryption``; ``[]`` steps into lists
            (``spec.dependsOn[].readyExpr``), and ``=value`` refuses one value only
            (``spec.provider=aws``).

    Returns:
        The entries of ``refused`` that match, in their order. Null, false, empty strings, lists
        and maps count as not set.

    """
    return tuple(entry for entry in refused if _is_set(obj, entry))


def _is_set(obj: JsonObject, entry: str) -> bool:
    path, has_value, value = entry.partition("=")
    found: list[Any] = [obj]
    for step in path.split("."):
        name = step.removesuffix("[]")
        found = [item[name] for item in found if isinstance(item, dict) and name in item]
        if name != step:
            found = [item for items in found if isinstance(items, list) for item in items]
    return any(
        item == value if has_value else item not in (None, False, "", [], {}) for item in found
    )


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value
