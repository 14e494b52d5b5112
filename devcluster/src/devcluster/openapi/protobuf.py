"""``/openapi/v2`` in protobuf, the only form in which Go clients ask for it.

kubectl needs it to check a List before it sends the items. The message is gnostic's
``openapi.v2.Document``, of which the definitions are written and the paths left out: no client
reads those here.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any

import orjson

__all__ = ["MEDIA_TYPE", "encode", "wants_protobuf"]

JsonObject = dict[str, Any]
MEDIA_TYPE = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
_ASKED = frozenset({MEDIA_TYPE, "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"})

# Field numbers of Document, its parts, and Schema.
_SWAGGER, _INFO, _DEFINITIONS = 1, 2, 9
_TITLE, _VERSION = 1, 2
_NAME, _VALUE = 1, 2
_ITEM = 1  # of the messages that wrap one list
_YAML = 2  # of Any
_EXTENSION = 31


def wants_protobuf(accept: str) -> bool:
    """Whether an Accept header names one of the two spellings of the media type."""
    return any(part.partition(";")[0].strip() in _ASKED for part in accept.split(","))


def encode(document: JsonObject) -> bytes:
    """A Swagger 2.0 document as a ``Document`` message."""
    info = document["info"]
    definitions = (_named(n, _schema(s)) for n, s in document["definitions"].items())
    return b"".join(
        (
            _text(_SWAGGER, document["swagger"]),
            _bytes(_INFO, _text(_TITLE, info["title"]) + _text(_VERSION, info["version"])),
            _bytes(_DEFINITIONS, b"".join(_bytes(_ITEM, entry) for entry in definitions)),
        )
    )


def _schema(schema: Mapping[str, Any]) -> bytes:
    parts: list[bytes] = []
    for key, value in schema.items():
        if key.startswith("x-"):
            parts.append(_bytes(_EXTENSION, _named(key, _any(value))))
        elif key in _FIELDS and value is not None:
            number, write = _FIELDS[key]
            parts.append(write(number, value))
    return b"".join(parts)


def _named(name: str, value: bytes) -> bytes:
    return _text(_NAME, name) + _bytes(_VALUE, value)


def _any(value: Any) -> bytes:
    """JSON is YAML, which is what the message carries."""
    return _text(_YAML, orjson.dumps(value).decode() + "\n")


# --- writers: field number and value to bytes --------------------------------------------------


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _bytes(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _text(number: int, value: str) -> bytes:
    return _bytes(number, value.encode())


def _texts(number: int, values: list[str]) -> bytes:
    return b"".join(_text(number, value) for value in values)


def _integer(number: int, value: float) -> bytes:
    return _varint(number << 3) + _varint(int(value) & (1 << 64) - 1)


def _double(number: int, value: float) -> bytes:
    return _varint(number << 3 | 1) + struct.pack("<d", value)


def _example(number: int, value: Any) -> bytes:
    return _bytes(number, _any(value))


def _examples(number: int, values: list[Any]) -> bytes:
    return b"".join(_example(number, value) for value in values)


def _one(number: int, schema: JsonObject) -> bytes:
    return _bytes(number, _bytes(_ITEM, _schema(schema)))


def _some(number: int, schemas: list[JsonObject]) -> bytes:
    return b"".join(_bytes(number, _schema(schema)) for schema in schemas)


def _types(number: int, value: str | list[str]) -> bytes:
    return _bytes(number, _texts(_ITEM, [value] if isinstance(value, str) else value))


def _additional(number: int, value: bool | JsonObject) -> bytes:  # noqa: FBT001 (JSON schema's own union)
    if isinstance(value, bool):
        return _bytes(number, _integer(2, value))
    return _one(number, value)


def _properties(number: int, value: JsonObject) -> bytes:
    entries = (_named(name, _schema(schema)) for name, schema in value.items())
    return _bytes(number, b"".join(_bytes(_ITEM, entry) for entry in entries))


_FIELDS: dict[str, tuple[int, Callable[[int, Any], bytes]]] = {
    "$ref": (1, _text),
    "format": (2, _text),
    "title": (3, _text),
    "description": (4, _text),
    "default": (5, _example),
    "multipleOf": (6, _double),
    "maximum": (7, _double),
    "exclusiveMaximum": (8, _integer),
    "minimum": (9, _double),
    "exclusiveMinimum": (10, _integer),
    "maxLength": (11, _integer),
    "minLength": (12, _integer),
    "pattern": (13, _text),
    "maxItems": (14, _integer),
    "minItems": (15, _integer),
    "uniqueItems": (16, _integer),
    "maxProperties": (17, _integer),
    "minProperties": (18, _integer),
    "required": (19, _texts),
    "enum": (20, _examples),
    "additionalProperties": (21, _additional),
    "type": (22, _types),
    "items": (23, _one),
    "allOf": (24, _some),
    "properties": (25, _properties),
}
