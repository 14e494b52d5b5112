"""The HTTP side: one handler for every path.

log -> authenticate -> authorise -> answer. Errors become Status objects here and only here.
"""

from __future__ import annotations

import asyncio
import uuid
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import web

from devcluster import clock, errors
from devcluster.api import Api
from devcluster.auth.authenticate import Authenticator, attributes_of
from devcluster.auth.rbac import Rbac, denied
from devcluster.calls import Call, Reply, Stream
from devcluster.control.control import Control
from devcluster.control.holds import ConnectionCut
from devcluster.control.journal import Entry, Journal
from devcluster.discovery import Discovery
from devcluster.identity import User
from devcluster.negotiation import prefers_yaml, to_yaml
from devcluster.openapi import OpenApi
from devcluster.plain import PlainPaths
from devcluster.request import RequestInfo, parse_path
from fluvial.log import Logger

__all__ = ["MAX_BODY", "ApiServer"]

MAX_BODY = 3 * 2**20  # bytes of a request, as in kube-apiserver
# As a server with priority and fairness: a client that sees these leaves throttling to the server.
_FLOW = {
    "X-Kubernetes-Pf-Flowschema-Uid": str(uuid.uuid5(uuid.NAMESPACE_DNS, "flow-schema")),
    "X-Kubernetes-Pf-Prioritylevel-Uid": str(uuid.uuid5(uuid.NAMESPACE_DNS, "priority-level")),
}


@dataclass(slots=True)
class _Job:
    """One request on its way."""

    request: web.BaseRequest
    info: RequestInfo
    entry: Entry
    user: User | None = None
    impersonated: User | None = None
    streamed: bool = False


class ApiServer:
    """Handles requests for ``aiohttp.web.Server``."""

    def __init__(
        self,
        *,
        api: Api,
        discovery: Discovery,
        openapi: OpenApi,
        authenticator: Authenticator,
        rbac: Rbac,
        control: Control,
        journal: Journal,
        log: Logger,
    ) -> None:
        self._api = api
        self._plain = PlainPaths(discovery, openapi)
        self._authenticator = authenticator
        self._rbac = rbac
        self._control = control
        self._journal = journal
        self._log = log
        self._streams: set[asyncio.Task[Any]] = set()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        url = request.rel_url
        info = parse_path(request.method, url.raw_path, request.query)
        entry = self._journal.begin(request.method, info, url.raw_query_string, request.headers)
        job = _Job(request, info, entry)
        began = clock.loop_time()
        try:
            return await self._answer(job)
        except errors.ApiFailure as failure:
            return self._noted(job, _failed(failure, request.headers.get("Accept", "")))
        except web.HTTPRequestEntityTooLarge:
            return self._noted(job, _failed(_too_large()))
        except ConnectionCut:
            return self._cut(job)
        except (asyncio.CancelledError, ConnectionError):
            raise
        except Exception as error:  # noqa: BLE001 (one bad request must not end the server)
            self._log.exception("request failed", method=request.method, path=request.path)
            return self._noted(job, _failed(errors.internal(f"{type(error).__name__}")))
        finally:
            entry.seconds = entry.seconds or clock.loop_time() - began
            if not job.streamed:
                self._journal.end(entry, info, (job.user, job.impersonated))

    async def _answer(self, job: _Job) -> web.StreamResponse:
        request, info = job.request, job.info
        user = self._admit(job)
        if not info.is_resource:
            accept = request.headers.get("Accept", "")
            found = self._plain.answer(request.method, info.path, request.query, accept)
            return self._noted(job, _respond(found))
        call = Call(info, request.method, request.query, request.headers, b"", user)
        call.body = await request.read()
        job.entry.write = self._api.is_write(call)
        hold = await self._control.before(job.entry)
        try:
            reply = self._api.handle(call)
        finally:  # a refusal is an answer too, and can be kept back like any other
            await self._control.after(hold)
        if isinstance(reply, Stream):
            return await self._stream(job, reply)
        return self._noted(job, _respond(reply, call.warnings))

    @staticmethod
    def _noted(job: _Job, response: web.Response) -> web.Response:
        job.entry.status = response.status
        job.entry.sent = response.content_length or 0
        return response

    @staticmethod
    def _cut(job: _Job) -> web.Response:
        """Close the connection; the response is for nobody."""
        if job.request.transport is not None:
            job.request.transport.abort()
        return web.Response(status=500)

    def _admit(self, job: _Job) -> User:
        """Who the request acts as; raises 401 or 403."""
        headers, info = job.request.headers, job.info
        job.user = self._authenticator.user(headers)
        job.entry.user = job.user.name
        job.impersonated = self._authenticator.impersonated(job.user, headers, info)
        user = job.impersonated or job.user
        if job.impersonated is not None:
            job.entry.impersonated = user.name
        asked = attributes_of(info)
        decision = self._rbac.decide(user, asked)
        if not decision.allowed:
            raise denied(user, asked, decision.reason)
        return user

    async def _stream(self, job: _Job, reply: Stream) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        await response.prepare(job.request)
        entry, task = job.entry, asyncio.current_task()
        entry.status, job.streamed = 200, True
        self._journal.end(entry, job.info, (job.user, job.impersonated))
        if task is not None:
            self._streams.add(task)
        try:
            # A client that goes away ends its watch and is no error.
            with suppress(ConnectionError), self._control.watching(reply.watch, entry):
                async for chunk in reply.watch.lines():
                    entry.sent += len(chunk)
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


def _respond(reply: Reply, warnings: list[str] | None = None) -> web.Response:
    response = web.Response(status=reply.status, body=reply.body)
    if reply.content_type:
        response.headers["Content-Type"] = reply.content_type
    response.headers["Audit-Id"] = str(uuid.uuid4())
    response.headers["Cache-Control"] = "no-cache, private"
    response.headers.update(_FLOW)
    for name, value in reply.headers:
        response.headers[name] = value
    for text in warnings or ():
        quoted = text.replace("\\", "\\\\").replace('"', '\\"')
        response.headers.add("Warning", f'299 - "{quoted}"')
    return response


def _too_large() -> errors.ApiFailure:
    return errors.ApiFailure(
        413,
        "RequestEntityTooLarge",
        f"Request entity too large: limit is {MAX_BODY}",
    )


def _failed(failure: errors.ApiFailure, accept: str = "") -> web.Response:
    reply = Reply(failure.code, orjson.dumps(failure.status()))
    if prefers_yaml(accept):
        reply = Reply(failure.code, to_yaml(reply.body), "application/yaml")
    response = _respond(reply)
    response.headers.update(failure.headers)
    return response
