"""A proxy for tests: CONNECT only, with a password if asked for."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from types import TracebackType
from typing import Self

__all__ = ["ConnectProxy"]


class ConnectProxy:
    """An HTTP proxy on loopback.

    Attributes:
        password: ``user:password`` that is required, or ``""``.
        targets: what it was asked to connect to.
        detour: host and port that every connection leads to instead, or ``None``.

    """

    def __init__(self) -> None:
        self.password = ""
        self.targets: list[str] = []
        self.detour: tuple[str, int] | None = None
        self.port = 0
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        """Address for the Secret."""
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            target = head.split(" ")[1]
            expected = base64.b64encode(self.password.encode()).decode()
            if self.password and f"Basic {expected}" not in head:
                writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
            else:
                self.targets.append(target)
                host, _, port = target.rpartition(":")
                await self._tunnel(reader, writer, *(self.detour or (host, int(port))))
        writer.close()

    async def _tunnel(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, port: int
    ) -> None:
        there_reader, there_writer = await asyncio.open_connection(host, port)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        async with asyncio.TaskGroup() as group:
            group.create_task(_copy(reader, there_writer), name="up")
            group.create_task(_copy(there_reader, writer), name="down")


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.close()
