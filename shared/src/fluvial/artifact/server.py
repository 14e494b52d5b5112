"""The file server that consumers load artifacts from.

GET and HEAD of single files, with ranges and conditional requests. The ETag is the artifact's
digest in quotes, as its object's status shows it: a consumer that holds the content already asks
by HEAD whether this very address has it. There are no listings, hidden and unfinished files are
not there, and nothing outside the root can be named. No link is followed but one that leads to a
file beside it, which is how a storage names the newest of several.

A reader that takes nothing for a while is cut off, and there is an end to how many are served at
once: neither must keep the process from opening files and connections of its own.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from email.utils import formatdate
from pathlib import Path
from urllib.parse import unquote

from aiohttp import web

from fluvial.artifact.digest import new_hasher
from fluvial.artifact.errors import ArtifactNotFound
from fluvial.artifact.known import KnownDigests
from fluvial.artifact.opening import open_file, parts_of
from fluvial.artifact.threads import in_thread
from fluvial.clock import Clock, RealClock
from fluvial.log import Logger

__all__ = ["FileServer"]

_BLOCK = 1 << 18
_STOP_SECONDS = 5.0
_STALL_SECONDS = 60.0  # as long as a consumer of ours waits for the next byte
_MOST_ANSWERS = 400  # each has a file and a connection; a process has 1,024 of both by default


class _RangeNotSatisfiable(ValueError):
    pass


async def _always() -> bool:
    return True


class FileServer:
    """Serves one folder.

    Args:
        root: the storage's base folder.
        log: gets one line when it starts, and what the disk refuses.
        algorithm: digest algorithm of the ETags, that of the storage.
        digests: what the storage of this process knows already.
        available: whether anything is served now; 503 otherwise.
        clock: for the ages of files.
        stall_seconds: time that a reader may take for the next block.
        most_answers: served at the same time; 503 beyond.

    """

    def __init__(
        self,
        root: Path,
        *,
        log: Logger,
        algorithm: str,
        digests: KnownDigests | None = None,
        available: Callable[[], Awaitable[bool]] = _always,
        clock: Clock | None = None,
        stall_seconds: float = _STALL_SECONDS,
        most_answers: int = _MOST_ANSWERS,
    ) -> None:
        new_hasher(algorithm)
        self._root = root
        self._log = log
        self._algorithm = algorithm
        self._clock = clock or RealClock()
        self._digests = digests or KnownDigests(self._clock)
        self._available = available
        self._stall_seconds = stall_seconds
        self._most_answers = most_answers
        self._answers = 0
        self._runner: web.AppRunner | None = None
        self.app = web.Application()
        """For a server that serves more than this one."""
        self.app.router.add_route("*", "/{path:.*}", self._handle)

    async def start(self, address: str) -> tuple[str, int]:
        """Listen on ``host:port``; an empty host means all addresses, port 0 any free one.

        Returns:
            The host and port that are bound.

        Raises:
            OSError: the address is taken or not ours.

        """
        host, _, port = address.rpartition(":")
        self._runner = web.AppRunner(self.app, access_log=None, shutdown_timeout=_STOP_SECONDS)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host.strip("[]") or None, int(port))
        await site.start()
        bound = self._runner.addresses[0]
        self._log.info("artifact server listens", address=f"{bound[0]}:{bound[1]}")
        return str(bound[0]), int(bound[1])

    async def stop(self) -> None:
        """Finish what is being sent, for 5 s at most."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if request.method not in {"GET", "HEAD"}:
            raise web.HTTPMethodNotAllowed(request.method, ["GET", "HEAD"])
        if not await self._available():
            return _later("another process serves the artifacts")
        if request.rel_url.raw_path in {"", "/"}:
            return web.Response()  # a readiness probe of Flux's manifests asks for this
        if self._answers >= self._most_answers:
            return _later("too many requests at once")
        self._answers += 1
        try:
            async with self._opened(request.rel_url.raw_path) as descriptor:
                return await self._answer(request, descriptor)
        except ArtifactNotFound:
            raise web.HTTPNotFound from None
        except OSError as error:
            if isinstance(error, (ConnectionError, TimeoutError)):
                raise  # the reader's connection, not the disk
            self._log.error("cannot read a stored file", error=error.strerror)
            raise web.HTTPInternalServerError from error
        finally:
            self._answers -= 1

    @asynccontextmanager
    async def _opened(self, raw_path: str) -> AsyncIterator[int]:
        opened: list[int] = []
        try:
            await in_thread(lambda _: opened.append(self._open(raw_path)))
            yield opened[0]
        finally:
            for descriptor in opened:
                os.close(descriptor)

    async def _answer(self, request: web.Request, descriptor: int) -> web.StreamResponse:
        status = os.fstat(descriptor)
        etag = f'"{await self._digests.of(descriptor, self._algorithm)}"'
        # A clock that was set back must not make files of the future (RFC 9110 §8.8.2.1).
        modified = min(status.st_mtime, self._clock.now().timestamp())
        headers = {
            "ETag": etag,
            "Accept-Ranges": "bytes",
            "Last-Modified": formatdate(modified, usegmt=True),
            "Content-Type": _content_type(request.path),
            "X-Content-Type-Options": "nosniff",
        }
        if _matches(request.headers.get("If-None-Match", ""), etag):
            return web.Response(status=304, headers=headers)
        try:
            start, end = _range(request, status.st_size, etag)
        except _RangeNotSatisfiable:
            return web.Response(
                status=416, headers={**headers, "Content-Range": f"bytes */{status.st_size}"}
            )
        partial = (start, end) != (0, status.st_size)
        if partial:
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{status.st_size}"
        response = web.StreamResponse(status=206 if partial else 200, headers=headers)
        response.content_length = end - start
        await response.prepare(request)
        if request.method == "GET":
            try:
                await _send(response, descriptor, start, end, stall=self._stall_seconds)
            except TimeoutError:
                if request.transport is not None:
                    request.transport.abort()  # closing would wait for the reader again
                raise ConnectionResetError("the reader takes nothing") from None
        return response

    def _open(self, raw_path: str) -> int:
        """A descriptor of a regular file below the root.

        Raises:
            ArtifactNotFound: no such file. No folder may be a link, and no name is hidden.
            OSError: the disk does not say.

        """
        try:
            path = "/".join(_segment(part) for part in raw_path[1:].split("/"))
        except (UnicodeDecodeError, ValueError):
            raise ArtifactNotFound("no such path") from None
        return open_file(self._root, parts_of(path), beside=True)


def _segment(part: str) -> str:
    name = unquote(part, errors="strict")
    if not name or "/" in name:
        raise ValueError("no single segment")
    return name


def _content_type(path: str) -> str:
    return "application/gzip" if path.endswith((".gz", ".tgz")) else "application/octet-stream"


def _matches(header: str, etag: str) -> bool:
    candidates = [part.strip().removeprefix("W/") for part in header.split(",")]
    return "*" in candidates or etag in candidates


def _range(request: web.Request, size: int, etag: str) -> tuple[int, int]:
    """First byte and the one after the last (RFC 9110 §14); the whole where no range applies."""
    header = request.headers.get("Range", "")
    condition = request.headers.get("If-Range")
    if not header.startswith("bytes=") or "," in header or condition not in {None, etag}:
        return 0, size
    first, dash, last = header.removeprefix("bytes=").strip().partition("-")
    digits = [part for part in (first, last) if part]
    if not dash or not digits or not all(p.isascii() and p.isdigit() for p in digits):
        return 0, size
    start = int(first) if first else max(0, size - int(last))
    end = min(size, int(last) + 1) if first and last else size
    if start >= size or (not first and int(last) == 0):
        raise _RangeNotSatisfiable
    return (start, end) if start < end else (0, size)


async def _send(
    response: web.StreamResponse, descriptor: int, start: int, end: int, *, stall: float
) -> None:
    loop = asyncio.get_running_loop()
    while start < end:
        size = min(_BLOCK, end - start)
        block = await loop.run_in_executor(None, os.pread, descriptor, size, start)
        if not block:
            raise ConnectionResetError("a stored file became shorter")
        async with asyncio.timeout(stall):
            await response.write(block)
        start += len(block)
    await response.write_eof()


def _later(why: str) -> web.Response:
    return web.Response(status=503, text=why, headers={"Retry-After": "1"})
