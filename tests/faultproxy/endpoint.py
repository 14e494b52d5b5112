"""The proxy's control over HTTP: the package's table of paths, on loopback."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import web

from faultproxy.faults import Fault
from faultproxy.match import Match

if TYPE_CHECKING:
    from faultproxy.proxy import FaultProxy

__all__ = ["Endpoint"]

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_TIMING: Mapping[str, Callable[[Any], Any]] = {
    "times": int,
    "skip": int,
    "every": int,
    "probability": float,
    "seed": int,
}


def _json(value: Any, *, status: int = 200) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(value), content_type="application/json")


@web.middleware
async def _bad_input(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except (ValueError, TypeError, KeyError) as error:
        return _json({"error": f"{error}"}, status=400)


async def _body(request: web.Request) -> dict[str, Any]:
    raw = await request.read()
    value = orjson.loads(raw) if raw else {}
    if not isinstance(value, dict):
        raise TypeError("the body is not an object")
    return value


class Endpoint:
    """Serves one proxy's control."""

    def __init__(self, proxy: FaultProxy) -> None:
        self._proxy = proxy
        self._runner: web.AppRunner | None = None
        self.url = ""

    async def start(self, port: int) -> None:
        """Listen on 127.0.0.1; 0 takes a free port."""
        app = web.Application(middlewares=[_bad_input])
        app.add_routes(
            [
                web.post("/rules", self._add),
                web.get("/rules", self._list),
                web.get("/rules/{id:\\d+}", self._show),
                web.delete("/rules", self._clear),
                web.delete("/rules/{id:\\d+}", self._remove),
                web.post("/streams/end", self._end_streams),
                web.post("/{what:away|back}", self._away_or_back),
                web.get("/requests", self._requests),
                web.delete("/requests", self._forget),
            ]
        )
        self._runner = web.AppRunner(app, shutdown_timeout=1.0)
        await self._runner.setup()
        listener = socket.create_server(("127.0.0.1", port))
        await web.SockSite(self._runner, listener).start()
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"

    async def stop(self) -> None:
        """Close."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _add(self, request: web.Request) -> web.Response:
        body = await _body(request)
        match, fault = Match.parse(body.pop("match", {})), Fault.parse(body.pop("fault", None))
        unknown = sorted(set(body) - set(_TIMING))
        if unknown:
            raise ValueError(f"unknown terms: {', '.join(unknown)}")
        timing = {name: _TIMING[name](value) for name, value in body.items()}
        return _json(self._proxy.add(match, fault, **timing).shown(), status=201)

    async def _list(self, request: web.Request) -> web.Response:
        del request
        return _json([rule.shown() for rule in self._proxy.rules()])

    async def _show(self, request: web.Request) -> web.Response:
        rule = self._proxy.rule(int(request.match_info["id"]))
        if rule is None:
            raise web.HTTPNotFound
        return _json(rule.shown())

    async def _clear(self, request: web.Request) -> web.Response:
        del request
        self._proxy.clear()
        return _json({})

    async def _remove(self, request: web.Request) -> web.Response:
        self._proxy.remove(int(request.match_info["id"]))
        return _json({})

    async def _end_streams(self, request: web.Request) -> web.Response:
        body = await _body(request)
        match = Match.parse(body.get("match", {}))
        count = self._proxy.end_streams(match, then=str(body.get("then", "end")))
        return _json({"count": count})

    async def _away_or_back(self, request: web.Request) -> web.Response:
        is_away = request.match_info["what"] == "away"
        await (self._proxy.away() if is_away else self._proxy.back())
        return _json({})

    async def _requests(self, request: web.Request) -> web.Response:
        terms = dict(request.query)
        after = int(terms.pop("after", 0))
        return _json(
            [asdict(each) for each in self._proxy.requests(Match.parse(terms), after=after)]
        )

    async def _forget(self, request: web.Request) -> web.Response:
        del request
        self._proxy.forget_requests()
        return _json({})
