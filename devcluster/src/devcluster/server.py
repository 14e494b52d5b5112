"""The HTTP side: one handler for every path.

log -> authenticate -> authorise -> answer. Errors become Status objects here and only here.
"""

from __future__ import annotations

import asyncio
import re
import uuid
from typing import Any

import orjson
from aiohttp import web

from devcluster import errors
from devcluster.api import Api, Call, Reply, Stream
from devcluster.auth.authenticate import Authenticator, attributes_of, denied
from devcluster.auth.rbac import Rbac
from devcluster.discovery import Discovery, wants_aggregated
from devcluster.identity import User
from devcluster.request import RequestInfo, parse_path
from fluvial.log import Logger

__all__ = ["ApiServer"]

_HEALTH = re.compile(r"^/(healthz|readyz|livez)(/.*)?$")

VERSION = {
    "major": "1",
    "minor": "37",
    "emulationMajor": "1",
    "emulationMinor": "37",
    "minCompatibilityMajor": "1",
    "minCompatibilityMinor": "36",
    "gitVersion": "v1.37.2+devcluster",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "",
    "compiler": "",
    "platform": "linux/amd64",
}


class ApiServer:
    """Handles requests for ``aiohttp.web.Server``."""

    def __init__(
        self,
        *,
        api: Api,
        discovery: Discovery,
        authenticator: Authenticator,
        rbac: Rbac,
        log: Logger,
    ) -> None:
        self._api = api
        self._discovery = discovery
        self._authenticator = authenticator
        self._rbac = rbac
        self._log = log
        self._streams: set[asyncio.Task[Any]] = set()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        call: Call | None = None
        try:
            info = parse_path(request.method, request.rel_url.raw_path, request.query)
            user = self._admit(request, info)
            if not info.is_resource:
                return _respond(self._plain(request, info))
            body = await request.read()
            call = Call(info, request.method, request.query, request.headers, body, user)
            reply = self._api.handle(call)
        except errors.ApiFailure as failure:
            return _failed(failure)
        except (asyncio.CancelledError, ConnectionError):
            raise
        except Exception as error:  # noqa: BLE001 (one bad request must not end the server)
            self._log.exception("request failed", method=request.method, path=request.path)
            return _failed(errors.internal(f"{type(error).__name__}"))
        if isinstance(reply, Stream):
            return await self._stream(request, reply)
        return _respond(reply, call.warnings)

    def _admit(self, request: web.BaseRequest, info: RequestInfo) -> User:
        """Who the request acts as; raises 401 or 403."""
        user = self._authenticator.user(request.headers)
        user = self._authenticator.impersonated(user, request.headers, info) or user
        asked = attributes_of(info)
        decision = self._rbac.decide(user, asked)
        if not decision.allowed:
            raise denied(user, asked, decision.reason)
        return user

    async def _stream(self, request: web.BaseRequest, reply: Stream) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        task = asyncio.current_task()
        if task is not None:
            self._streams.add(task)
        try:
            async for chunk in reply.watch.lines():
                await response.write(chunk)
            await response.write_eof()
        finally:
            if task is not None:
                self._streams.discard(task)
        return response

    def stop_streams(self) -> None:
        """End all watches, so that shutting down waits for none."""
        for task in self._streams:
            task.cancel()

    def _plain(self, request: web.BaseRequest, info: RequestInfo) -> Reply:
        path = info.path.rstrip("/") or "/"
        if _HEALTH.match(path):
            return Reply(200, b"ok", "text/plain; charset=utf-8")
        if path == "/version":
            return _json(VERSION)
        found = self._discover(path, request.headers.get("Accept", ""))
        if found is None:
            return Reply(404, b"404 page not found\n", "text/plain; charset=utf-8")
        return found

    def _discover(self, path: str, accept: str) -> Reply | None:
        discovery = self._discovery
        if path in {"/api", "/apis"}:
            aggregated = wants_aggregated(accept)
            if aggregated:
                return _json(discovery.aggregated(legacy=path == "/api"), aggregated)
            document = discovery.legacy_versions() if path == "/api" else discovery.group_list()
            return _json(document)
        parts = path.strip("/").split("/")
        found: dict[str, Any] | None = None
        if parts[0] == "api" and len(parts) == 2:
            found = discovery.resources("", parts[1])
        elif parts[0] == "apis" and len(parts) == 2:
            found = discovery.group(parts[1])
        elif parts[0] == "apis" and len(parts) == 3:
            found = discovery.resources(parts[1], parts[2])
            if found is None:
                raise errors.resource_not_found()
        return None if found is None else _json(found)


def _json(document: Any, content_type: str = "application/json") -> Reply:
    return Reply(200, orjson.dumps(document), content_type)


def _respond(reply: Reply, warnings: list[str] | None = None) -> web.Response:
    response = web.Response(status=reply.status, body=reply.body)
    response.headers["Content-Type"] = reply.content_type
    response.headers["Audit-Id"] = str(uuid.uuid4())
    response.headers["Cache-Control"] = "no-cache, private"
    for name, value in reply.headers:
        response.headers[name] = value
    for text in warnings or ():
        quoted = text.replace("\\", "\\\\").replace('"', '\\"')
        response.headers.add("Warning", f'299 - "{quoted}"')
    return response


def _failed(failure: errors.ApiFailure) -> web.Response:
    reply = Reply(failure.code, orjson.dumps(failure.status()))
    response = _respond(reply)
    response.headers.update(failure.headers)
    return response
