"""HTTP/1.1 messages between two sockets: heads to look at, bodies to pass on as they are.

Only what a relay needs: where a message ends (RFC 9112 §6), so that a connection can carry the
next one. What is malformed or too long ends the connection.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Protocol

__all__ = ["BadMessage", "Head", "read_head", "write_body"]

_MAX_LINE = 16 << 10
_MAX_LINES = 200
_CHUNK = 64 << 10
_STATUS = re.compile(rb"[1-5][0-9]{2}")
_LENGTH = re.compile(rb"[0-9]{1,18}")


class BadMessage(OSError):
    """The other side does not speak HTTP/1.1 as it should."""


class Source(Protocol):
    """Where messages come from; a socket's file is one."""

    def readline(self, limit: int, /) -> bytes:
        """The next line with its end, cut at the limit."""
        ...

    def read1(self, limit: int, /) -> bytes:
        """What there is, at least a byte; none at the end."""
        ...


class Sink(Protocol):
    """Where a body goes; a socket is one."""

    def sendall(self, data: bytes, /) -> None:
        """Send all of it."""
        ...


class Head:
    """The first line and the fields of a message.

    Args:
        first: the first line, without its end.
        fields: names as they came, with their values.

    """

    def __init__(self, first: bytes, fields: list[tuple[bytes, bytes]]) -> None:
        self.first = first
        self.fields = fields

    def get(self, name: bytes) -> bytes:
        """The values of a field, joined by commas; ``b""`` where there is none."""
        return b",".join(value for key, value in self.fields if key.lower() == name)

    def without(self, *names: bytes) -> list[tuple[bytes, bytes]]:
        """The other fields."""
        return [(key, value) for key, value in self.fields if key.lower() not in names]

    @property
    def status(self) -> int:
        """The status of a response.

        Raises:
            BadMessage: it has none.

        """
        parts = self.first.split(b" ", 2)
        if len(parts) < 2 or not parts[0].startswith(b"HTTP/1.") or not _STATUS.fullmatch(parts[1]):
            raise BadMessage("the server does not answer with HTTP")
        return int(parts[1])

    @property
    def closes(self) -> bool:
        """Whether the connection ends after this message."""
        return self.get(b"connection").lower() == b"close" or self.first.startswith(b"HTTP/1.0")

    def encode(self) -> bytes:
        """As it is sent."""
        lines = [self.first, *(key + b": " + value for key, value in self.fields)]
        return b"\r\n".join(lines) + b"\r\n\r\n"


def read_head(source: Source) -> Head | None:
    """The next head, or ``None`` where the connection ended before one.

    Raises:
        BadMessage: it is malformed or too long.

    """
    lines = list(_lines(source))
    if not lines:
        return None
    fields: list[tuple[bytes, bytes]] = []
    for line in lines[1:]:
        key, colon, value = line.partition(b":")
        if not colon or not key or key != key.strip():
            raise BadMessage("a header line is malformed")
        fields.append((key, value.strip()))
    return Head(lines[0], fields)


def write_body(source: Source, target: Sink, head: Head, *, response: bool) -> bool:
    """Pass on the body that follows a head.

    Args:
        source: where the head came from.
        target: where it goes.
        head: says how the body ends.
        response: a response without a length goes on to the end of the connection.

    Returns:
        Whether the connection can carry another message.

    Raises:
        BadMessage: it ends too early, or its length cannot be understood.

    """
    coding, length = head.get(b"transfer-encoding").lower(), head.get(b"content-length")
    if response and (head.status in {204, 304} or head.status < 200):
        return True
    if coding:
        if coding != b"chunked" or length:
            raise BadMessage("the length of a message is ambiguous")
        _write_chunks(source, target)
    elif length:
        if not _LENGTH.fullmatch(length):
            raise BadMessage("the length of a message cannot be read")
        _write_exactly(source, target, int(length))
    elif response:
        while data := source.read1(_CHUNK):
            target.sendall(data)
        return False
    return True


def _lines(source: Source) -> Iterator[bytes]:
    for number in range(_MAX_LINES):
        line = source.readline(_MAX_LINE)
        if not line and number == 0:
            return
        if not line.endswith(b"\n"):
            raise BadMessage("a header line is too long or cut")
        line = line.rstrip(b"\r\n")
        if not line:
            return
        yield line
    raise BadMessage("there are too many header lines")


def _write_exactly(source: Source, target: Sink, count: int) -> None:
    while count:
        data = source.read1(min(count, _CHUNK))
        if not data:
            raise BadMessage("a message ends too early")
        target.sendall(data)
        count -= len(data)


def _write_chunks(source: Source, target: Sink) -> None:
    while True:
        line = source.readline(_MAX_LINE)
        try:
            size = int(line.split(b";", 1)[0].strip(), 16)
        except ValueError:
            raise BadMessage("a chunk's size cannot be read") from None
        target.sendall(line)
        if size <= 0:
            break
        _write_exactly(source, target, size + 2)
    for line in _lines(source):  # trailers
        target.sendall(line + b"\r\n")
    target.sendall(b"\r\n")
