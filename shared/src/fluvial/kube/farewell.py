"""Ending connections, whatever the peer does.

A TLS connection that is closed politely waits for the peer's farewell, which an API server that
is busy with a watch need not send. Nothing is lost by not waiting.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable
from contextlib import suppress

import aiohttp

__all__ = ["beginning", "cut", "gone"]

_LONGEST_PAUSE = 0.5


def cut(response: aiohttp.ClientResponse) -> None:
    """End a stream that may be in the middle of an answer."""
    connection = response.connection
    if connection is not None and connection.transport is not None:
        connection.transport.abort()
    response.close()


async def gone(sockets: Iterable[socket.socket]) -> None:
    """End what is still open of connections that were closed; returns within a second.

    Called before the loop may stop, so that no socket is left to the garbage collector.
    """
    left = [each for each in sockets if each.fileno() != -1]
    for each in left:
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
    pause = 0.0
    while left and pause <= _LONGEST_PAUSE:
        await asyncio.sleep(pause)
        left = [each for each in left if each.fileno() != -1]
        pause = pause * 2 or 0.001


async def beginning(response: aiohttp.ClientResponse, size: int) -> bytes:
    """The first bytes of an answer; the connection is given up where there are more."""
    found = bytearray()
    async for chunk in response.content.iter_any():
        found += chunk
        if len(found) > size:
            response.close()
            break
    return bytes(found[:size])
