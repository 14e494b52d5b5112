"""One chart in a stored index, found without reading the rest of it.

A stored index was written by ``index``: one version a line, and each chart begins on a line of
its own. No text in it has a line break, so what stands at the beginning of a line is never text
of a stranger.
"""

from __future__ import annotations

import os
import re
from collections import OrderedDict
from pathlib import Path
from typing import BinaryIO

import msgspec

from source_controller.helm.choosing import Candidate, choose
from source_controller.helm.errors import NoSuchChart

__all__ = ["Chosen", "look_up"]


class Chosen(msgspec.Struct, frozen=True):
    """A version of a chart in an index.

    Attributes:
        name: of the chart.
        version: as it is published.
        url: of its package, possibly relative to the repository; ``""`` if there is none.
        digest: of the package, as the index has it.

    """

    name: str
    version: str
    url: str
    digest: str


class _Version(msgspec.Struct):
    version: str = ""
    urls: list[str | None] | None = None
    digest: str | None = None
    created: str | None = None


def look_up(index: Path, *, name: str, version: str) -> Chosen:
    """The version of a chart that is meant.

    Args:
        index: written by ``index.rewrite``.
        name: of the chart.
        version: see ``choosing.choose``.

    Raises:
        NoSuchChart: the index has no such chart, or no such version of it.
        OSError: the file cannot be read.

    """
    versions = _versions(index, name)
    if not versions:
        raise NoSuchChart(f"the index has no chart {name!r}")
    place = choose((Candidate(v.version, v.created or "") for v in versions), version)
    found = versions[place]
    url = next((url for url in found.urls or () if url), "")
    return Chosen(name, found.version, url, found.digest or "")


def _versions(index: Path, name: str) -> list[_Version]:
    with index.open("rb") as stream:
        status = os.fstat(stream.fileno())
        key = (str(index), status.st_ino, status.st_size, status.st_mtime_ns)
        table = _TABLES.get(key)
        if table is None:
            table = _TABLES[key] = _scan(stream)
            if len(_TABLES) > _MAX_TABLES:
                _TABLES.popitem(last=False)
        _TABLES.move_to_end(key)
        start, end = table.get(msgspec.json.encode(name), (0, 0))
        stream.seek(start)
        block = stream.read(end - start)
    try:
        return _DECODER.decode(block[: block.rfind(b"]") + 1])
    except msgspec.MsgspecError:  # a list of the index' own, not a chart
        return []


def _scan(stream: BinaryIO) -> _Table:
    """Where the versions of each chart begin and end, by its name as JSON."""
    table: _Table = {}
    name, start, place = b"", 0, 0
    for line in stream:
        if line.startswith(b'"'):
            if name:
                table.setdefault(name, (start, place))
            found = _NAME.match(line)
            name, start = (found[1], place + found.end() - 1) if found else (b"", 0)
        place += len(line)
    if name:
        table.setdefault(name, (start, place))
    return table


_Table = dict[bytes, tuple[int, int]]
_MAX_TABLES = 8
_TABLES: OrderedDict[tuple[str, int, int, int], _Table] = OrderedDict()
"""Of the indexes that were looked at last; a worker serves one namespace."""

_NAME = re.compile(rb'("(?:[^"\\\n]|\\.)*"):\[')
_DECODER = msgspec.json.Decoder(list[_Version])
