"""The index of a Helm repository: reading it as Helm and Flux do, and storing it as JSON.

An index may have 50 MiB and more, so it is never in memory as objects: each entry is checked,
cleaned and encoded as soon as it was read.

What is read as JSON may have unknown fields, what is read as YAML must not, and no key twice:
that is how Flux reads indexes. An entry that is no valid chart is left out, one with a value of
the wrong type makes the whole index invalid.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec

from fluvial.build import scalars, yaml
from fluvial.build.errors import BuildError
from fluvial.errors import FluvialError
from fluvial.semver import InvalidVersion, Version
from source_controller.helm.chart import ChartVersion, Dependency, Maintainer, clean, is_chart

__all__ = ["IndexSummary", "InvalidIndex", "rewrite"]

_DEFAULT_CHART_API: Final = "v1"
_ENTRY_DEPTH: Final = 4
"""The document, ``entries``, the list of one chart, the version."""


class InvalidIndex(FluvialError):
    """The file is no index of a Helm repository."""


class IndexSummary(msgspec.Struct, frozen=True):
    """What an index holds: numbers of charts, of their versions, and of versions left out."""

    charts: int
    versions: int
    dropped: int


class _JsonIndex(msgspec.Struct, rename="camel"):
    """An index as JSON; versions stay as they are in the file until their turn."""

    api_version: str | None = None
    entries: dict[str, list[msgspec.Raw] | None] | None = None
    generated: str | None = None
    public_keys: list[str | None] | None = None
    annotations: dict[str, str | None] | None = None
    server_info: dict[str, msgspec.Raw] | None = None


class _Entry(msgspec.Struct, frozen=True, gc=False):
    """A version that was read: its place in the order, and how it is stored."""

    version: Version
    encoded: bytes


class _Dropped(msgspec.Struct, frozen=True, gc=False):
    """A version that is no valid chart."""


class _Wrong(msgspec.Struct, frozen=True, gc=False):
    """A mapping that is no chart's version: wrong only where one has to be."""

    problem: str


_Read = _Entry | _Dropped | _Wrong
_Entries = Mapping[str, list[Any]]


def rewrite(source: Path, target: Path) -> IndexSummary:
    """Read an index and write it as JSON, cleaned and sorted: the newest version first.

    Args:
        source: YAML or JSON.
        target: a new file.

    Raises:
        InvalidIndex: the file is no index; says where.
        OSError: a file cannot be read or written.

    """
    if source.stat().st_size == 0:
        raise InvalidIndex("the index is empty")
    with source.open("rb") as stream:
        head, entries = _read(stream)
        if not head.get("apiVersion"):
            raise InvalidIndex("no API version specified")
        with target.open("wb") as out:
            return _write(out, head, entries)


def _read(stream: BinaryIO) -> tuple[dict[str, Any], _Entries]:
    if _looks_like_json(stream):
        # It is closed when the last entry that lies in it is gone, and not before.
        content = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        try:
            return _from_json(msgspec.json.decode(content, type=_JsonIndex))
        except msgspec.ValidationError as error:
            raise InvalidIndex(_location(error)) from None
        except RecursionError:
            raise InvalidIndex("it is nested too deeply") from None
        except msgspec.DecodeError:
            stream.seek(0)  # a YAML document may begin like JSON
    return _from_yaml(stream)


def _looks_like_json(stream: BinaryIO) -> bool:
    start = stream.read(1 << 12).lstrip()
    stream.seek(0)
    return start.startswith(b"{")


def _from_json(index: _JsonIndex) -> tuple[dict[str, Any], _Entries]:
    head = {
        "apiVersion": index.api_version,
        "generated": _time(index.generated, "generated"),
        "publicKeys": index.public_keys,
        "annotations": index.annotations,
    }
    entries = index.entries or {}
    read = {name: [_read_json(raw) for raw in versions or ()] for name, versions in entries.items()}
    return head, read


def _read_json(raw: msgspec.Raw) -> _Read:
    try:
        version = _DECODER.decode(raw)
    except msgspec.ValidationError as error:
        return _Wrong(_location(error))
    return _checked(version)


_DECODER: Final = msgspec.json.Decoder(ChartVersion | None)


def _from_yaml(stream: BinaryIO) -> tuple[dict[str, Any], _Entries]:
    try:
        document = yaml.load_one(stream, reduce=yaml.Reduce(_ENTRY_DEPTH, _read_yaml))
    except BuildError as error:
        raise InvalidIndex(str(error)) from error
    if not isinstance(document, dict):
        raise InvalidIndex("the index is not a mapping")
    _refuse_unknown(document, _HEAD_FIELDS, "the index")
    entries = document.pop("entries", None) or {}
    document.pop("serverInfo", None)
    try:
        head = msgspec.convert(document, _JsonIndex)
    except msgspec.ValidationError as error:
        raise InvalidIndex(_location(error)) from None
    return _from_json(head)[0], _yaml_entries(entries)


def _yaml_entries(entries: Any) -> _Entries:
    if not isinstance(entries, dict):
        raise InvalidIndex("entries is not a mapping")
    for name, versions in entries.items():
        if not isinstance(versions, list | None):
            raise InvalidIndex(f"entries.{name} is not a list")
        # What an anchor names comes as it is.
        entries[name] = [_read_yaml(v) if isinstance(v, dict) else v for v in versions or ()]
    return entries


def _read_yaml(value: dict[str, Any]) -> _Read:
    try:
        _refuse_unknown(value, _FIELDS[ChartVersion], "the entry")
        for name, model in (("dependencies", Dependency), ("maintainers", Maintainer)):
            parts = value.get(name)
            for part in parts if isinstance(parts, list) else ():
                if isinstance(part, dict):
                    _refuse_unknown(part, _FIELDS[model], name)
        for name in _NUMBERS_ALLOWED:
            value[name] = _text(value.get(name))
        if isinstance(urls := value.get("urls"), list):
            value["urls"] = [_text(url) for url in urls]
        version = msgspec.convert(value, ChartVersion)
    except InvalidIndex as error:
        return _Wrong(str(error))
    except msgspec.ValidationError as error:
        return _Wrong(_location(error))
    return _checked(version)


def _text(value: Any) -> Any:
    """Go's YAML library makes a text of these where one is wanted, though not everywhere."""
    return scalars.key_text(value) if isinstance(value, bool | int | float) else value


_NUMBERS_ALLOWED: Final = ("digest", "checksum", "engine", "tillerVersion", "url")


def _refuse_unknown(value: Iterable[str], known: frozenset[str], what: str) -> None:
    unknown = next((name for name in value if name not in known), None)
    if unknown is not None:
        raise InvalidIndex(f"unknown field {unknown[:100]!r} in {what}")


_FIELDS: Final = {
    model: frozenset(
        msgspec.structs.fields(model)[i].encode_name for i in range(len(model.__struct_fields__))
    )
    for model in (ChartVersion, Dependency, Maintainer)
}
_HEAD_FIELDS: Final = frozenset(item.encode_name for item in msgspec.structs.fields(_JsonIndex))


def _checked(chart: ChartVersion | None) -> _Read:
    if chart is None:
        return _Dropped()
    try:
        chart.created = _time(chart.created, "created")
    except InvalidIndex as error:
        return _Wrong(str(error))
    clean(chart)
    if not is_chart(chart):
        return _Dropped()
    try:
        order = Version.parse(chart.version or "")
    except InvalidVersion:
        return _Dropped()
    chart.api_version = chart.api_version or _DEFAULT_CHART_API
    return _Entry(order, _ENCODER.encode(chart))


_ENCODER: Final = msgspec.json.Encoder()


def _time(text: str | None, field: str) -> str | None:
    if text is None:
        return None
    try:
        msgspec.convert(text, datetime)
    except msgspec.ValidationError:
        raise InvalidIndex(f"{field} is not a time: {text[:100]!r}") from None
    return text


# --- writing --------------------------------------------------------------------------------------


def _write(out: BinaryIO, head: dict[str, Any], entries: _Entries) -> IndexSummary:
    """One version a line, so that a person can look at it too."""
    versions = dropped = 0
    out.write(b'{"apiVersion":' + _ENCODER.encode(head["apiVersion"]) + b',\n"entries":{')
    for number, name in enumerate(sorted(entries)):
        found = list(_sorted(name, entries[name]))
        versions += len(found)
        dropped += len(entries[name]) - len(found)
        out.write(b",\n" if number else b"\n")
        out.write(_ENCODER.encode(name) + b":[")
        out.write(b",\n".join(entry.encoded for entry in found) + b"]")
    out.write(b"}")
    for field in ("generated", "publicKeys", "annotations"):
        if head[field]:
            out.write(b',\n"' + field.encode() + b'":' + _ENCODER.encode(head[field]))
    out.write(b"}\n")
    return IndexSummary(len(entries), versions, dropped)


def _sorted(name: str, versions: list[Any]) -> Iterator[_Entry]:
    valid = []
    for number, item in enumerate(versions):
        if isinstance(item, _Wrong):
            raise InvalidIndex(f"entries.{name}[{number}]: {item.problem}")
        if isinstance(item, _Entry):
            valid.append(item)
        elif not isinstance(item, _Dropped | None):
            raise InvalidIndex(f"entries.{name}[{number}] is not a mapping")
    return iter(sorted(valid, key=lambda entry: entry.version, reverse=True))


def _location(error: msgspec.ValidationError) -> str:
    problem, _, place = str(error).partition(" - at `$")
    place = place.rstrip("`").removeprefix(".")
    return f"{place}: {problem}" if place else problem
