"""The engine's idea of what a cluster can do, set to what this cluster can do.

Helm renders for a cluster with the cluster's own version and API versions. The binding passes a
version only in a normalised form, and adds API versions to a built-in list of some fifty that are
long gone from most clusters: ``.Capabilities.APIVersions.Has "policy/v1beta1"`` would be true
everywhere, and charts would choose kinds that do not exist. Its other way to the true ones is a
whole installation in a dry run, which asks the cluster about every single object.

The library copies those defaults out of one Go structure at each render. This module finds the
structure and writes to it before a render: two words for each text, three for the list. Texts and
list stand in memory of this process that Go's collector does not know and therefore ignores.
Where the structure is found is checked by its whole content, and what was written by rendering it
(``engine``). A library of another shape thus fails at the start of a worker, and says so.
"""

from __future__ import annotations

import ctypes
import os
import re
import struct
from collections.abc import Iterator, Sequence

from fluvial.kube.capabilities import Capabilities

__all__ = ["DefaultCapabilities", "ProcessMemory", "UnknownLayout"]

_TEXT = struct.Struct("=QQ")
"""A Go string: address and length."""
_LIST = struct.Struct("=QQQ")
"""A Go slice: address, length, capacity."""
_TEXTS_BEFORE = 4
"""Version, normalised version, major, minor; the list of API versions follows."""
_HEAD = _TEXTS_BEFORE * _TEXT.size
_SIZE = _HEAD + _LIST.size
_WORD = 8
_PAGE = 4096
_LONGEST = 256
_NEARBY = 1 << 32
"""Go's heap lies in one piece; the structure is this near to the list that it points to."""
_MAPPING = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \d+\s*(.*)")


class UnknownLayout(RuntimeError):
    """The library's memory is not as this module knows it."""


class ProcessMemory:
    """Reads this process' memory; an address that is none gives fewer bytes, never a crash.

    What it needs is opened at once, so that it works behind a fence.
    """

    def __init__(self) -> None:
        self._memory = os.open("/proc/self/mem", os.O_RDONLY | os.O_CLOEXEC)
        self._mappings = os.open("/proc/self/maps", os.O_RDONLY | os.O_CLOEXEC)

    def close(self) -> None:
        """Read no more."""
        os.close(self._memory)
        os.close(self._mappings)

    def read(self, address: int, size: int) -> bytes:
        """Up to ``size`` bytes."""
        try:
            return os.pread(self._memory, size, address)
        except (OSError, OverflowError):
            return b""

    def text(self, header: bytes) -> str | None:
        """The Go string of which these are the two words; ``None`` if it is very long."""
        address, length = _TEXT.unpack(header)
        if length > _LONGEST:
            return None
        return self.read(address, length).decode(errors="replace") if length else ""

    def writable(self, library: str) -> list[tuple[int, int]]:
        """Where a library has its variables: its writable mappings and the nameless one behind."""
        found: list[tuple[int, int]] = []
        behind = 0
        with open(os.dup(self._mappings), encoding="utf-8") as lines:  # noqa: PTH123  # by descriptor
            for match in filter(None, map(_MAPPING.match, lines)):
                start, end = int(match[1], 16), int(match[2], 16)
                ours = match[4].endswith(library) or (start == behind and not match[4])
                behind = end if ours else 0
                if ours and "w" in match[3]:
                    found.append((start, end))
        return found


class DefaultCapabilities:
    """Finds the structure once; ``set`` replaces its content.

    Args:
        memory: of this process.
        library: name of the library's file.
        version: Kubernetes version that the untouched library has.
        api_versions: likewise, in its order.

    Raises:
        UnknownLayout: it is not found exactly once.

    """

    def __init__(
        self, memory: ProcessMemory, *, library: str, version: str, api_versions: Sequence[str]
    ) -> None:
        found = set(_find(memory, memory.writable(library), version, api_versions))
        if len(found) != 1:
            raise UnknownLayout(f"its capabilities are in {len(found)} places of its memory")
        self._address = found.pop()
        self._held: list[object] = []
        self._current: Capabilities | None = None

    def set(self, capabilities: Capabilities) -> None:
        """Make them the library's; not while it renders."""
        if capabilities == self._current:
            return
        held: list[object] = []
        versions = b"".join(_text(each, held) for each in capabilities.api_versions)
        count = len(capabilities.api_versions)
        address = _place(versions or bytes(_TEXT.size), held)  # without one it would be nil
        content = (
            _text(capabilities.version, held)
            + _text("", held)  # where there is no normalised version, the other one counts
            + _text(capabilities.major, held)
            + _text(capabilities.minor, held)
            + _LIST.pack(address, count, count)
        )
        words = (ctypes.c_uint64 * (_SIZE // _WORD)).from_address(self._address)
        for number, word in enumerate(memoryview(content).cast("Q")):
            words[number] = word  # whole words: Go's collector may look at any moment
        self._held, self._current = held, capabilities


def _find(
    memory: ProcessMemory,
    mappings: Sequence[tuple[int, int]],
    version: str,
    api_versions: Sequence[str],
) -> Iterator[int]:
    """Addresses that a variable of the library points to and that hold such a structure."""
    data = [memory.read(start, end - start) for start, end in mappings]
    count = len(api_versions)
    lists = {
        address
        for block in data
        for address in _lists(block, count)
        if _has_texts(memory, address, api_versions)
    }
    for address in _words(data):
        if address % _WORD or not any(abs(address - each) < _NEARBY for each in lists):
            continue
        content = memory.read(address, _SIZE)
        if len(content) < _SIZE or _LIST.unpack_from(content, _HEAD)[0] not in lists:
            continue
        texts = [memory.text(content[at : at + _TEXT.size]) for at in range(0, _HEAD, _TEXT.size)]
        if texts == [version, version, *version.removeprefix("v").split(".")[:2]]:
            yield address


def _words(blocks: Sequence[bytes]) -> set[int]:
    """Every different word; most pages have never been written to."""
    empty = bytes(_PAGE)
    return {
        word
        for block in blocks
        for start in range(0, len(block), _PAGE)
        if (page := block[start : start + _PAGE]) != empty
        for word in memoryview(page).cast("Q")
    }


def _lists(block: bytes, count: int) -> Iterator[int]:
    """What could be the address of a list of ``count`` elements, that is full."""
    wanted = struct.pack("=QQ", count, count)
    at = block.find(wanted)
    while at != -1:
        if at % _WORD == 0 and at >= _WORD:
            yield struct.unpack_from("=Q", block, at - _WORD)[0]
        at = block.find(wanted, at + 1)


def _has_texts(memory: ProcessMemory, address: int, texts: Sequence[str]) -> bool:
    content = memory.read(address, len(texts) * _TEXT.size)
    if len(content) < len(texts) * _TEXT.size:
        return False
    return all(
        memory.text(content[number * _TEXT.size : (number + 1) * _TEXT.size]) == text
        for number, text in enumerate(texts)
    )


def _text(value: str, held: list[object]) -> bytes:
    data = value.encode()
    return _TEXT.pack(_place(data, held), len(data))


def _place(data: bytes, held: list[object]) -> int:
    if not data:
        return 0
    buffer = ctypes.create_string_buffer(data, len(data))
    held.append(buffer)
    return ctypes.addressof(buffer)
