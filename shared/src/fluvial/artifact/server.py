"""The file server that consumers load artifacts from.

GET and HEAD of single files, with ranges and conditional requests. The ETag is the artifact's
digest in quotes, as its object's status shows it: a consumer that holds the content already asks
by HEAD whether this very address has it. There are no listings, hidden and unfinished files are
not there, and nothing outside the root can be named. No link is followed but one that leads to a
file beside it, which is how a storage names the newest of several.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections import OrderedDict
from email.utils import formatdate
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from aiohttp import web

from fluvial.artifact.digest import Digest, new_hasher
from fluvial.log import Logger

__all__ = ["FileServer"]

_BLOCK = 1 << 18
_MAX_KNOWN = 10_000
_STOP_SECONDS = 5.0


class _Version(NamedTuple):
    """What changes when a file's content does."""

    device: int
    inode: int
    size: int
    modified: int


class _RangeNotSatisfiable(ValueError):
    pass


class FileServer:
    """Serves one folder.

    Args:
        root: the storage's base folder.
        log: gets one line when it starts.
        algorithm: digest algorithm of the ETags, that of the storage.

    """

    def __init__(self, root: Path, *, log: Logger, algorithm: str) -> None:
        self._root = root
        self._log = log
        self._algorithm = algorithm
        self._digests: OrderedDict[_Version, Digest] = OrderedDict()
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
        if request.rel_url.raw_path in {"", "/"}:
            return web.Response()  # a readiness probe of Flux's manifests asks for this
        loop = asyncio.get_running_loop()
        descriptor = await loop.run_in_executor(None, self._open, request.rel_url.raw_path)
        if descriptor < 0:
            raise web.HTTPNotFound
        try:
            return await self._answer(request, descriptor)
        finally:
            os.close(descriptor)

    async def _answer(self, request: web.Request, descriptor: int) -> web.StreamResponse:
        status = os.fstat(descriptor)
        etag = f'"{await self._digest(descriptor, status)}"'
        headers = {
            "ETag": etag,
            "Accept-Ranges": "bytes",
            "Last-Modified": formatdate(status.st_mtime, usegmt=True),
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
            await _send(response, descriptor, start, end)
        return response

    def _open(self, raw_path: str) -> int:
        """A descriptor of a regular file below the root, or -1. No folder may be a link."""
        try:
            parts = [unquote(part, errors="strict") for part in raw_path[1:].split("/")]
        except UnicodeDecodeError:
            return -1
        if any(not part or part[0] == "." or "/" in part or "\0" in part for part in parts):
            return -1
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        here = -1
        try:
            here = os.open(self._root, flags | os.O_DIRECTORY)
            for part in parts[:-1]:
                here = _step(here, part, flags | os.O_DIRECTORY)
            here = _step(here, _leads_to(here, parts[-1]), flags | os.O_NONBLOCK)
        except OSError:
            return -1
        if stat.S_ISREG(os.fstat(here).st_mode):
            return here
        os.close(here)
        return -1

    async def _digest(self, descriptor: int, status: os.stat_result) -> Digest:
        version = _Version(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        known = self._digests.get(version)
        if known is None:
            loop = asyncio.get_running_loop()
            known = await loop.run_in_executor(None, _hash, descriptor, self._algorithm)
            self._digests[version] = known
            if len(self._digests) > _MAX_KNOWN:
                self._digests.popitem(last=False)
        else:
            self._digests.move_to_end(version)
        return known


def _step(folder: int, name: str, flags: int) -> int:
    """Open ``name`` in ``folder``, which is closed whatever happens."""
    try:
        return os.open(name, flags, dir_fd=folder)
    finally:
        os.close(folder)


def _content_type(path: str) -> str:
    return "application/gzip" if path.endswith((".gz", ".tgz")) else "application/octet-stream"


def _leads_to(folder: int, name: str) -> str:
    """Where a link leads if that is a file beside it; else ``name``, which is opened as no link."""
    try:
        target = os.readlink(name, dir_fd=folder)
    except OSError:
        return name
    return name if "/" in target or target.startswith(".") else target


def _hash(descriptor: int, algorithm: str) -> Digest:
    hasher, at = new_hasher(algorithm), 0
    while block := os.pread(descriptor, _BLOCK, at):
        hasher.update(block)
        at += len(block)
    return Digest(algorithm, hasher.hexdigest())


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


async def _send(response: web.StreamResponse, descriptor: int, start: int, end: int) -> None:
    loop = asyncio.get_running_loop()
    while start < end:
        size = min(_BLOCK, end - start)
        block = await loop.run_in_executor(None, os.pread, descriptor, size, start)
        if not block:
            raise ConnectionResetError("a stored file became shorter")
        await response.write(block)
        start += len(block)
    await response.write_eof()
