"""Reads ``application/vnd.kubernetes.protobuf`` bodies into the JSON form of the same object.

The field numbers come from Kubernetes' published ``generated.proto`` files (see
``devcluster/tools/make_protobuf.py``). A Go client writes empty values of plain fields; they are
left out here where JSON would leave them out, by the encoding rules of ``facts``.
"""

from __future__ import annotations

import base64
import functools
import gzip
import importlib.resources
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from devcluster import clock, facts

__all__ = ["MAGIC", "ProtobufError", "decode"]

MAGIC = b"k8s\0"
JsonObject = dict[str, Any]
_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
_DELETE_OPTIONS = _META + "DeleteOptions"
_MAX_DEPTH = 64


class ProtobufError(ValueError):
    """The bytes are not an object of a known kind."""


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    type: str
    mark: str  # "" one, "[]" many, "{}" map with string keys, "^" inlined
    omit_zero: bool


def decode(body: bytes) -> JsonObject:
    """The object in an envelope, with its kind and apiVersion.

    Raises:
        ProtobufError: no envelope, unknown kind, or broken bytes.

    """
    if not body.startswith(MAGIC):
        raise ProtobufError("the body has no protobuf envelope")
    try:
        meta, raw = b"", b""
        for number, value in _parts(body[len(MAGIC) :]):
            if number == 1:
                meta = _bytes(value)
            elif number == 2:
                raw = _bytes(value)
        kind = {number: _bytes(value).decode() for number, value in _parts(meta)}
        api_version, name = kind.get(1, ""), kind.get(2, "")
        message = _message_of(api_version, name)
        return {"kind": name, "apiVersion": api_version, **_message(raw, message, 0)}
    except (IndexError, UnicodeDecodeError, struct.error, orjson.JSONDecodeError) as error:
        raise ProtobufError(f"broken protobuf body: {error}") from error


def _message_of(api_version: str, kind: str) -> str:
    if kind == "DeleteOptions":
        return _DELETE_OPTIONS
    name = facts.load().kinds.get(f"{api_version}/{kind}", "")
    if kind in {"Scale", "TokenRequest"}:
        group = api_version.partition(".")[0].partition("/")[0]
        name = f"io.k8s.api.{group}.v1.{kind}"
    if name not in _messages():
        raise ProtobufError(f"no protobuf form of {kind} in {api_version}")
    return name


@functools.cache
def _messages() -> dict[str, dict[int, _Field]]:
    raw = importlib.resources.files(__package__).joinpath("messages.json.gz").read_bytes()
    encoding = facts.load().encoding
    loaded: dict[str, dict[int, _Field]] = {}
    for name, fields in orjson.loads(gzip.decompress(raw)).items():
        rules = encoding.get(name, {})
        loaded[name] = {int(number): _field(text, rules) for number, text in fields.items()}
    return loaded


def _field(text: str, rules: dict[str, str]) -> _Field:
    name, _, kind = text.partition(" ")
    mark = next((mark for mark in ("[]", "{}", "^") if kind.startswith(mark)), "")
    return _Field(name, kind.removeprefix(mark), mark, rules.get(name, "o")[0] in "oz")


# --- wire format -----------------------------------------------------------------------------


def _varint(data: bytes, at: int) -> tuple[int, int]:
    result = shift = 0
    while True:
        byte = data[at]
        at += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, at
        shift += 7
        if shift > 63:
            raise ProtobufError("broken protobuf body: varint too long")


def _parts(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    at, end = 0, len(data)
    while at < end:
        key, at = _varint(data, at)
        match key & 7:
            case 0:
                value, at = _varint(data, at)
                yield key >> 3, value
            case 1:
                yield key >> 3, data[at : at + 8]
                at += 8
            case 2:
                length, at = _varint(data, at)
                if at + length > end:
                    raise ProtobufError("broken protobuf body: truncated")
                yield key >> 3, data[at : at + length]
                at += length
            case 5:
                yield key >> 3, data[at : at + 4]
                at += 4
            case _:
                raise ProtobufError("broken protobuf body: unknown wire type")


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ProtobufError("broken protobuf body: number where bytes were expected")
    return value


def _signed(value: int | bytes) -> int:
    if isinstance(value, bytes):
        raise ProtobufError("broken protobuf body: bytes where a number was expected")
    return value - (1 << 64) if value >= 1 << 63 else value


# --- values ----------------------------------------------------------------------------------


def _message(data: bytes, name: str, depth: int) -> JsonObject:
    if depth > _MAX_DEPTH:
        raise ProtobufError("broken protobuf body: nested too deeply")
    fields = _messages()[name]
    result: JsonObject = {}
    for number, raw in _parts(data):
        field = fields.get(number)
        if field is None:
            continue
        if field.mark == "^":
            result |= _message(_bytes(raw), field.type, depth + 1)
            continue
        if field.mark == "{}":
            key, value = _entry(_bytes(raw), field.type, depth + 1)
            result.setdefault(field.name, {})[key] = value
            continue
        value = _value(raw, field.type, depth + 1)
        if field.mark == "[]":
            result.setdefault(field.name, []).append(value)
        elif not (field.omit_zero and value in (None, "", 0, False)):
            result[field.name] = value
    return result


def _entry(data: bytes, kind: str, depth: int) -> tuple[str, Any]:
    key, value = "", _EMPTY.get(kind)
    for number, raw in _parts(data):
        if number == 1:
            key = _bytes(raw).decode()
        else:
            value = _value(raw, kind, depth)
    return key, value


_EMPTY: dict[str, Any] = {"string": "", "bytes": ""}


def _value(raw: int | bytes, kind: str, depth: int) -> Any:
    special = _SPECIAL.get(kind)
    if special is not None:
        return special(raw)
    message = _messages().get(kind)
    if message is None:
        raise ProtobufError(f"no protobuf form of {kind}")
    if kind.endswith(".ExtraValue"):
        return [_bytes(item).decode() for _, item in _parts(_bytes(raw))]
    return _message(_bytes(raw), kind, depth)


def _time(raw: int | bytes) -> str | None:
    moment = _moment(raw)
    return None if moment is None else clock.format_time(moment)


def _micro_time(raw: int | bytes) -> str | None:
    moment = _moment(raw)
    return None if moment is None else clock.format_micro(moment)


def _moment(raw: int | bytes) -> datetime | None:
    numbers = {number: _signed(value) for number, value in _parts(_bytes(raw))}
    if not numbers:
        return None
    moment = datetime.fromtimestamp(numbers.get(1, 0), UTC)
    return moment.replace(microsecond=numbers.get(2, 0) // 1000)


def _int_or_string(raw: int | bytes) -> int | str:
    values = dict(_parts(_bytes(raw)))
    if values.get(1, 0) == 0:
        return _signed(values.get(2, 0))
    return _bytes(values.get(3, b"")).decode()


def _quantity(raw: int | bytes) -> str:
    return next((_bytes(value).decode() for _, value in _parts(_bytes(raw))), "0")


def _embedded(raw: int | bytes) -> Any:
    data = next((_bytes(value) for _, value in _parts(_bytes(raw))), b"")
    return orjson.loads(data) if data else None


def _duration(raw: int | bytes) -> str:
    nanos = next((_signed(value) for _, value in _parts(_bytes(raw))), 0)
    return f"{nanos / 1e9:g}s"


def _double(raw: int | bytes) -> float:
    number: float = struct.unpack("<d", _bytes(raw))[0]
    return number


def _float(raw: int | bytes) -> float:
    number: float = struct.unpack("<f", _bytes(raw))[0]
    return number


def _int32(raw: int | bytes) -> int:
    return _signed(raw)


_RUNTIME = "io.k8s.apimachinery.pkg."
_SPECIAL: dict[str, Callable[[int | bytes], Any]] = {
    "string": lambda raw: _bytes(raw).decode(),
    "bytes": lambda raw: base64.b64encode(_bytes(raw)).decode(),
    "bool": lambda raw: bool(_signed(raw)),
    "int32": _int32,
    "int64": _signed,
    "double": _double,
    "float": _float,
    _META + "Time": _time,
    _META + "MicroTime": _micro_time,
    _META + "Duration": _duration,
    _META + "FieldsV1": _embedded,
    _RUNTIME + "runtime.RawExtension": _embedded,
    _RUNTIME + "api.resource.Quantity": _quantity,
    _RUNTIME + "util.intstr.IntOrString": _int_or_string,
}
