"""Git over HTTP: git's http-backend as CGI, with what hosting services put in front of it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import shutil
import ssl
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from aiohttp import web

__all__ = ["GitHttpServer", "http_backend"]

_BLOCK = 1 << 16


def http_backend() -> str:
    """Path of ``git-http-backend``."""
    folder = subprocess.run(
        ["git", "--exec-path"], check=True, capture_output=True, text=True
    ).stdout.strip()
    found = shutil.which("git-http-backend", path=folder)
    assert found, "git comes with http-backend"
    return found


class GitHttpServer:
    """Serves all repositories below ``root`` at ``<url>/<name>``.

    Attributes:
        basic: ``(username, password)`` that is required, or ``None``.
        bearer: token that is required, or ``""``.
        redirect_to: base URL that every request is sent to, or ``""``.
        moved: where repositories have gone, from path to path or URL.
        status: answered to every request if not 0.
        hold: while it is not set, requests wait.
        requests: ``METHOD path?query`` of every request, in order.
        authorizations: the Authorization header of every request.

    """

    def __init__(self, root: Path, *, tls: ssl.SSLContext | None = None) -> None:
        self.root = root
        self.basic: tuple[str, str] | None = None
        self.bearer = ""
        self.redirect_to = ""
        self.moved: dict[str, str] = {}
        self.status = 0
        self.hold = asyncio.Event()
        self.hold.set()
        self.requests: list[str] = []
        self.authorizations: list[str] = []
        self.url = ""
        self._tls = tls
        self._backend = http_backend()
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        self.root.mkdir(parents=True, exist_ok=True)
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._tls).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"{'https' if self._tls else 'http'}://{host}:{port}"
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(f"{request.method} {request.path_qs}")
        self.authorizations.append(request.headers.get("Authorization", ""))
        await self.hold.wait()
        if self.status:
            return web.Response(status=self.status)
        if self.redirect_to:
            raise web.HTTPFound(self.redirect_to + request.path_qs)
        for old, new in self.moved.items():
            if request.path.startswith(f"{old}/"):
                raise web.HTTPMovedPermanently(request.path_qs.replace(old, new, 1))
        if not self._is_allowed(request):
            return web.Response(
                status=401, headers={"WWW-Authenticate": 'Basic realm="git"'}, text="who are you?"
            )
        return await self._run(request)

    def _is_allowed(self, request: web.Request) -> bool:
        expected = []
        if self.basic is not None:
            pair = base64.b64encode(":".join(self.basic).encode()).decode()
            expected.append(f"Basic {pair}")
        if self.bearer:
            expected.append(f"Bearer {self.bearer}")
        return not expected or request.headers.get("Authorization") in expected

    async def _run(self, request: web.Request) -> web.StreamResponse:
        process = await asyncio.create_subprocess_exec(
            self._backend,
            env=self._environment(request),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(await request.read())
            process.stdin.close()
            response = await self._head(process.stdout)
            await response.prepare(request)
            with contextlib.suppress(ConnectionError):  # a client may stop listening
                while block := await process.stdout.read(_BLOCK):
                    await response.write(block)
                await response.write_eof()
        finally:
            if process.returncode is None and not process.stdout.at_eof():
                process.kill()
            await process.wait()
        return response

    async def _head(self, output: asyncio.StreamReader) -> web.StreamResponse:
        response = web.StreamResponse()
        while line := (await output.readline()).decode().strip():
            name, _, value = line.partition(": ")
            if name == "Status":
                response.set_status(int(value.split()[0]))
            else:
                response.headers[name] = value
        return response

    def _environment(self, request: web.Request) -> dict[str, str]:
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "GIT_PROJECT_ROOT": str(self.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
            "PATH_INFO": request.path,
            "QUERY_STRING": request.query_string,
            "REQUEST_METHOD": request.method,
            "CONTENT_TYPE": request.headers.get("Content-Type", ""),
            "REMOTE_ADDR": "127.0.0.1",
        }
        # aiohttp has decompressed the body already.
        if "Git-Protocol" in request.headers:
            environment["GIT_PROTOCOL"] = request.headers["Git-Protocol"]
        return environment
