"""One chart in a stored index, found without reading the rest of it.

A stored index was written by ``index``: one version a line, and each chart begins on a line of
its own. No text in it has a line break, so what stands at the beginning of a line is never text
of a stranger.
"""

from __future__ import annotations

import mmap
from pathlib import Path

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
    start = b"\n" + msgspec.json.encode(name) + b":["
    with index.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        place = data.find(start)
        if place < 0:
            return []
        first = place + len(start) - 1
        end = data.find(b'\n"', first)  # the next chart, or what follows the charts
        block = data[first : end if end >= 0 else len(data)]
        try:
            return _DECODER.decode(block[: block.rfind(b"]") + 1])
        except msgspec.MsgspecError:  # a list of the index' own, not a chart
            return []


_DECODER = msgspec.json.Decoder(list[_Version])
