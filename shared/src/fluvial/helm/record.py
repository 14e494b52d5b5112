"""The text in which Helm keeps a release: base64 of gzip of JSON.

Whoever may write Secrets in the storage namespace decides what is read here, so nothing is taken
on trust: a text that unpacks without end, is cut off, nests without end or has the wrong shape is
a ``CorruptRecord``, whose message says what is wrong and never what was read.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import zlib
from typing import Any, Final

import msgspec
from msgspec import Raw

from fluvial.helm import gojson, gotime
from fluvial.helm.errors import CorruptRecord
from fluvial.helm.release import (
    ChartMetadata,
    Hook,
    Info,
    Release,
    fields_of_release,
)

__all__ = ["LARGEST_RECORD", "decode_release", "encode_release"]

LARGEST_RECORD: Final = 64 * 1024**2
"""Bytes that a record may have unpacked; a chart of 1 MiB packed has some 10 MiB of JSON."""

_GZIP: Final = b"\x1f\x8b\x08"
_QUICK: Final = 6
"""A fiftieth more bytes than by the highest level, in a quarter of its time."""

_HIGHEST: Final = 9
_WITH_GZIP_HEADER: Final = 31


class _StoredHookRun(msgspec.Struct, frozen=True):
    started_at: str | None = ""
    completed_at: str | None = ""
    phase: str | None = ""


class _StoredInfo(msgspec.Struct, frozen=True):
    first_deployed: str | None = ""
    last_deployed: str | None = ""
    deleted: str | None = ""
    description: str | None = ""
    status: str | None = ""
    notes: str | None = ""


class _StoredHook(msgspec.Struct, frozen=True):
    name: str | None = ""
    kind: str | None = ""
    path: str | None = ""
    manifest: str | None = ""
    events: tuple[str, ...] | None = ()
    last_run: _StoredHookRun | None = None
    weight: int | None = 0
    delete_policies: tuple[str, ...] | None = ()
    output_log_policies: tuple[str, ...] | None = ()


class _StoredRelease(msgspec.Struct, frozen=True):
    """A record as it may come: anything may be null."""

    name: str
    info: _StoredInfo | None = None
    chart: Raw = Raw()
    config: dict[str, Any] | None = None
    manifest: str | None = ""
    hooks: tuple[_StoredHook | None, ...] | None = ()
    version: int | None = 0
    namespace: str | None = ""
    apply_method: str | None = ""


class _StoredChart(msgspec.Struct, frozen=True):
    metadata: dict[str, Any] | None = None


_release_decoder = msgspec.json.Decoder(_StoredRelease)
_chart_decoder = msgspec.json.Decoder(_StoredChart)


def encode_release(release: Release, *, limit: int = 0) -> bytes:
    """The text of a record. Takes about 0.1 s for 1 MiB: call it in a thread for large charts.

    Args:
        release: the revision.
        limit: bytes of text from which no time is spared to make it smaller; no limit where 0.

    Raises:
        ValueError: the release has a time that is none, or values that JSON does not have.

    """
    data = gojson.dumps(fields_of_release(release))
    text = base64.b64encode(gzip.compress(data, _QUICK, mtime=0))
    if not limit or len(text) <= limit:
        return text
    return base64.b64encode(gzip.compress(data, _HIGHEST, mtime=0))


def decode_release(text: bytes, *, secret: str = "", version: int = 0) -> Release:
    """Read a record; one that is not packed is read too, as Helm does.

    Args:
        text: base64.
        secret: the Secret that it came from, for messages.
        version: the revision that it should be, for messages.

    Raises:
        CorruptRecord: it is not a release.

    """
    try:
        return _decode(text)
    except (binascii.Error, zlib.error, EOFError):
        problem = "it is not base64 of gzip, or it is cut off"
    except _TooLarge:
        problem = f"it has more than {LARGEST_RECORD // 1024**2} MiB unpacked"
    except RecursionError:
        problem = "it nests too deeply"
    except msgspec.ValidationError as error:
        problem = str(error)
    except (msgspec.DecodeError, UnicodeDecodeError):
        problem = "it is not JSON"
    except ValueError as error:
        problem = str(error)
    raise CorruptRecord(problem, secret=secret, version=version)


class _TooLarge(Exception):
    """More came out than may."""


def _decode(text: bytes) -> Release:
    packed = base64.b64decode(text, validate=True)
    data = _unpacked(packed) if packed[:3] == _GZIP and len(packed) > 3 else packed
    stored = _release_decoder.decode(data)
    # A copy, lest a slice keep the whole text alive.
    chart = Raw(bytes(stored.chart)) if bytes(stored.chart) != b"null" else Raw()
    return Release(
        name=stored.name,
        version=stored.version or 0,
        namespace=stored.namespace or "",
        info=_info(stored.info),
        chart=chart,
        metadata=_metadata(chart),
        config=stored.config or {},
        manifest=stored.manifest or "",
        hooks=tuple(_hook(hook) for hook in stored.hooks or () if hook is not None),
        apply_method=stored.apply_method or "",
    )


def _unpacked(packed: bytes) -> bytes:
    unpacker = zlib.decompressobj(_WITH_GZIP_HEADER)
    data = unpacker.decompress(packed, LARGEST_RECORD)
    if unpacker.unconsumed_tail:
        raise _TooLarge
    if not unpacker.eof:
        raise EOFError
    return data


def _info(stored: _StoredInfo | None) -> Info:
    if stored is None:
        return Info()
    return Info(
        first_deployed=gotime.normal(stored.first_deployed or ""),
        last_deployed=gotime.normal(stored.last_deployed or ""),
        deleted=gotime.normal(stored.deleted or ""),
        description=stored.description or "",
        status=stored.status or "",
        notes=stored.notes or "",
    )


def _hook(stored: _StoredHook) -> Hook:
    plain = _without_nulls(msgspec.to_builtins(stored))
    for name in ("started_at", "completed_at"):
        if name in (run := plain.get("last_run", {})):
            run[name] = gotime.normal(run[name])
    return msgspec.convert(plain, Hook)


def _metadata(chart: Raw) -> ChartMetadata:
    """What is said of the chart, whose other parts are not even decoded."""
    if not chart:
        return ChartMetadata()
    metadata = _chart_decoder.decode(chart).metadata
    return msgspec.convert(_without_nulls(metadata or {}), ChartMetadata)


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_without_nulls(item) for item in value]
    return value
