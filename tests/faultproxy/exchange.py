"""One request on its way through the proxy, and what a fault makes of it.

``Exchange.play`` is the only entry. Whatever ends a connection without a proper answer raises
``Cut``, and the proxy resets the client's connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson
from aiohttp import web
from multidict import CIMultiDict

from faultproxy.asked import Asked, Log
from faultproxy.faults import status_body
from faultproxy.rules import Rule
from faultproxy.upstream import Upstream

__all__ = ["Cut", "Exchange", "Stream"]

_NOT_COPIED = ("Content-Length", "Transfer-Encoding", "Connection", "Keep-Alive", "Date", "Server")
_GARBAGE = b'{"type":"MODIFIED","object":{"kind"\n'


class Cut(Exception):
    """Reset the client's connection."""


@dataclass(slots=True, eq=False)
class Stream:
    """A watch that runs; ``end`` has it end early."""

    asked: Asked
    pump: asyncio.Task[str]
    verdict: str = ""

    def end(self, then: str) -> None:
        """``end``, ``reset`` or ``gone``, now."""
        self.verdict = then
        self.pump.cancel()


@dataclass(slots=True)
class Exchange:
    """One request."""

    request: web.BaseRequest
    asked: Asked
    body: bytes
    upstream: Upstream
    log: Log
    streams: set[Stream]

    async def play(self, rule: Rule | None) -> web.StreamResponse:
        """Answer it, with what a rule says; ``None`` passes it through.

        Raises:
            Cut: the connection is to be reset.

        """
        fault = rule.fault if rule else None
        if rule is None or fault is None:
            return await self._relay(None)
        if fault.do in {"status", "redirect"}:
            rule.happened += 1
            return self._answered(_in_place(rule))
        if fault.when == "before" and fault.do in {"reset", "hang"}:
            rule.happened += 1
            await self._stop(rule)
        if fault.do in {"slow", "watch"}:
            return await self._relay(rule)
        return await self._broken(rule)

    # --- the whole answer -------------------------------------------------------------------------

    async def _relay(self, rule: Rule | None) -> web.StreamResponse:
        async with await self._send() as answer:
            response = await self._begin(answer, length=answer.content_length)
            if self.asked.verb == "watch" and answer.status == 200:
                await self._stream(answer, response, rule)
            else:
                await self._pump(answer, response, rule)
            await response.write_eof()
            return response

    async def _stream(
        self, answer: aiohttp.ClientResponse, response: web.StreamResponse, rule: Rule | None
    ) -> None:
        pump = asyncio.create_task(self._pump(answer, response, rule), name="watch")
        stream = Stream(self.asked, pump)
        self.streams.add(stream)
        try:
            await asyncio.wait([pump])
        finally:
            self.streams.discard(stream)
            pump.cancel()
            ended = (await asyncio.gather(pump, return_exceptions=True))[0]
        if isinstance(ended, Exception):
            raise ended
        verdict = stream.verdict or (ended if isinstance(ended, str) else "")
        if verdict == "gone":
            gone = {"type": "ERROR", "object": status_body(410)}
            await response.write(orjson.dumps(gone) + b"\n")
        if verdict == "hang" and rule is not None:
            await rule.over.wait()
        if verdict in {"reset", "hang"}:
            raise Cut

    async def _pump(
        self, answer: aiohttp.ClientResponse, response: web.StreamResponse, rule: Rule | None
    ) -> str:
        """Pass the body on; what ends it, ``""`` for its own end."""
        if rule is not None and rule.fault.do == "watch":
            return await self._pump_lines(answer, response, rule)
        if rule is not None:
            rule.happened += 1
        try:
            async for chunk in answer.content.iter_any():
                if rule is None:
                    await response.write(chunk)
                    continue
                for start in range(0, len(chunk), rule.fault.bytes):
                    await response.write(chunk[start : start + rule.fault.bytes])
                    await asyncio.sleep(rule.seconds())
        except aiohttp.ClientError as error:
            raise Cut from error
        return ""

    async def _pump_lines(
        self, answer: aiohttp.ClientResponse, response: web.StreamResponse, rule: Rule
    ) -> str:
        fault, passed = rule.fault, 0
        lines = _lines(answer)
        while True:
            if passed == fault.events and fault.then != "late":
                rule.happened += 1
                if fault.then != "garbage":
                    return fault.then
                await response.write(_GARBAGE)
            line = await anext(lines, b"")
            if not line:
                return ""
            if fault.then == "late" and passed >= fault.events:
                await asyncio.sleep(rule.seconds())
                rule.happened += 1
            await response.write(line)
            passed += 1

    # --- less than that ---------------------------------------------------------------------------

    async def _broken(self, rule: Rule) -> web.StreamResponse:
        """It takes effect, and the answer does not come whole."""
        fault = rule.fault
        async with await self._send() as answer:
            content = b"" if self.asked.verb == "watch" else await _read(answer)
            if fault.when == "after" and fault.do in {"reset", "hang"}:
                rule.happened += 1
                await self._stop(rule)
            chunked = fault.do == "truncate" and fault.how == "chunk"
            response = await self._begin(answer, length=None if chunked else len(content))
        if fault.do != "hang":
            await response.write(content[: len(content) // 2])
        rule.happened += 1
        if fault.do != "truncate":
            await self._stop(rule)
        response.force_close()
        if self.request.transport is not None:
            self.request.transport.close()
        return response

    async def _stop(self, rule: Rule) -> None:
        """Go no further: at once, or when the rule is taken away."""
        if rule.fault.do == "hang":
            await rule.over.wait()
        raise Cut

    # --- parts ------------------------------------------------------------------------------------

    async def _send(self) -> aiohttp.ClientResponse:
        request = self.request
        try:
            return await self.upstream.send(
                request.method, request.raw_path, request.headers, self.body
            )
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Cut from error

    async def _begin(
        self, answer: aiohttp.ClientResponse, *, length: int | None
    ) -> web.StreamResponse:
        headers = CIMultiDict(answer.headers)
        for name in _NOT_COPIED:
            headers.popall(name, None)
        response = web.StreamResponse(status=answer.status, headers=headers)
        if length is None:
            response.enable_chunked_encoding()
        else:
            response.content_length = length
        await response.prepare(self.request)
        self.log.answered(self.asked, answer.status)
        return response

    def _answered(self, response: web.Response) -> web.Response:
        self.log.answered(self.asked, response.status)
        return response


def _in_place(rule: Rule) -> web.Response:
    """The answer of a rule that needs no control plane."""
    fault = rule.fault
    headers: dict[str, str] = {}
    if fault.retry_after is not None:
        headers["Retry-After"] = str(fault.retry_after)
    if fault.do == "redirect":
        headers["Location"] = fault.location
        return web.Response(status=fault.status, headers=headers)
    if fault.body == "none":
        return web.Response(status=fault.status, headers=headers)
    if fault.body == "text":
        return web.Response(status=fault.status, headers=headers, text="fault injected\n")
    body: Any = status_body(fault.status, retry_after=fault.retry_after)
    return web.Response(
        status=fault.status,
        headers=headers,
        body=orjson.dumps(body),
        content_type="application/json",
    )


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    try:
        return await answer.read()
    except aiohttp.ClientError as error:
        raise Cut from error


async def _lines(answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Whole lines, whatever their length."""
    rest = b""
    try:
        async for chunk in answer.content.iter_any():
            *whole, rest = (rest + chunk).split(b"\n")
            for line in whole:
                yield line + b"\n"
    except aiohttp.ClientError as error:
        raise Cut from error
