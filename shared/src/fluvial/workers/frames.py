"""Length-prefixed JSON between a worker and its parent.

A frame is 4 bytes of length (big endian) and that many bytes of JSON. Frames have a connection of
their own, so that nothing a library prints can be taken for one.
"""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

import orjson

from fluvial.objects import JsonObject

if TYPE_CHECKING:
    import asyncio  # every child process would take 40 ms to read what only the parent needs

__all__ = [
    "MAX_FRAME_BYTES",
    "FrameTooLarge",
    "encode",
    "read_async",
    "read_blocking",
    "write_blocking",
]

MAX_FRAME_BYTES = 256 << 20
"""The largest frame either side makes or accepts."""

_HEADER = struct.Struct("!I")


class FrameTooLarge(ValueError):
    """A frame is larger than ``MAX_FRAME_BYTES``."""


def encode(message: JsonObject) -> bytes:
    """A frame.

    Raises:
        FrameTooLarge: it would be larger than allowed.
        TypeError: the message is not JSON.

    """
    body = orjson.dumps(message)
    if len(body) > MAX_FRAME_BYTES:
        raise FrameTooLarge(f"a message of {len(body)} bytes exceeds {MAX_FRAME_BYTES}")
    return _HEADER.pack(len(body)) + body


async def read_async(reader: asyncio.StreamReader) -> JsonObject:
    """The next frame.

    Raises:
        asyncio.IncompleteReadError: the other side has gone.
        FrameTooLarge: the other side announces more than allowed; nothing of it was read.
        ValueError: not a JSON object.

    """
    (length,) = _HEADER.unpack(await reader.readexactly(_HEADER.size))
    if length > MAX_FRAME_BYTES:
        raise FrameTooLarge(f"a message of {length} bytes exceeds {MAX_FRAME_BYTES}")
    message = orjson.loads(await reader.readexactly(length))
    if not isinstance(message, dict):
        raise ValueError("a frame is not a JSON object")  # noqa: TRY004  # one error for bad frames
    return message


def read_blocking(sock: socket.socket) -> JsonObject | None:
    """The next frame, or ``None`` when the other side has closed."""
    header = _receive(sock, _HEADER.size)
    if header is None:
        return None
    (length,) = _HEADER.unpack(header)
    if length > MAX_FRAME_BYTES:
        raise FrameTooLarge(f"a message of {length} bytes exceeds {MAX_FRAME_BYTES}")
    body = _receive(sock, length)
    if body is None:
        return None
    message: JsonObject = orjson.loads(body)
    return message


def write_blocking(sock: socket.socket, message: JsonObject) -> None:
    """Send one frame whole."""
    sock.sendall(encode(message))


def _receive(sock: socket.socket, size: int) -> bytes | None:
    buffer = bytearray(size)
    view, done = memoryview(buffer), 0
    while done < size:
        count = sock.recv_into(view[done:])
        if count == 0:
            return None
        done += count
    return bytes(buffer)
