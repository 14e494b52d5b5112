"""The control endpoint: the package's table of paths, over plain HTTP on loopback."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import orjson
from aiohttp import web

from devcluster.control.control import Control
from devcluster.control.holds import Hold
from devcluster.control.match import Match

__all__ = ["ControlEndpoint"]

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


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


class ControlEndpoint:
    """Serves one Control.

    Args:
        control: what is served.
        save: writes the cluster's state file; raises OSError.

    """

    def __init__(self, control: Control, *, save: Callable[[], Awaitable[None]]) -> None:
        self._control = control
        self._save = save
        self._runner: web.AppRunner | None = None
        self.url = ""

    async def start(self, port: int) -> None:
        """Listen on 127.0.0.1; 0 takes a free port."""
        app = web.Application(middlewares=[_bad_input])
        app.add_routes(
            [
                web.post("/holds", self._new_hold),
                web.get("/holds", self._list_holds),
                web.get("/holds/{id:\\d+}", self._hold_state),
                web.post("/holds/{id:\\d+}/{action:release|drop}", self._hold_action),
                web.delete("/holds/{id:\\d+}", self._forget_hold),
                web.post("/watches/{action:cut|expire}", self._watches),
                web.post("/history/compact", self._compact),
                web.post("/state/save", self._save_state),
                web.get("/requests", self._requests),
                web.delete("/requests", self._clear_requests),
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

    # --- holds --------------------------------------------------------------------------------

    async def _new_hold(self, request: web.Request) -> web.Response:
        body = await _body(request)
        when = body.get("when", "before")
        if when not in {"before", "after"}:
            raise ValueError("when is before or after")
        match, nth = Match.parse(body.get("match")), int(body.get("nth", 1))
        return _json(self._control.hold(match, nth=nth, when=when).shown(), status=201)

    def _hold(self, request: web.Request) -> Hold:
        found = self._control.holds.get(int(request.match_info["id"]))
        if found is None:
            raise web.HTTPNotFound
        return found

    async def _list_holds(self, request: web.Request) -> web.Response:
        del request
        return _json([hold.shown() for hold in self._control.holds.values()])

    async def _hold_state(self, request: web.Request) -> web.Response:
        hold = self._hold(request)
        seconds = min(float(request.query.get("wait", 0)), 300.0)
        if seconds and hold.state == "armed":
            with suppress(TimeoutError, RuntimeError):
                await hold.reached(seconds)
        return _json(hold.shown())

    async def _hold_action(self, request: web.Request) -> web.Response:
        hold = self._hold(request)
        if request.match_info["action"] == "drop":
            hold.drop()
        else:
            hold.release()
        return _json(hold.shown())

    async def _forget_hold(self, request: web.Request) -> web.Response:
        hold = self._hold(request)
        self._control.forget_hold(hold.id)
        return _json(hold.shown())

    # --- watches, history, log ----------------------------------------------------------------

    async def _watches(self, request: web.Request) -> web.Response:
        match = Match.parse((await _body(request)).get("match"))
        expire = request.match_info["action"] == "expire"
        end = self._control.expire_watches if expire else self._control.cut_watches
        return _json({"count": end(match)})

    async def _compact(self, request: web.Request) -> web.Response:
        del request
        self._control.compact()
        return _json({})

    async def _save_state(self, request: web.Request) -> web.Response:
        del request
        await self._save()
        return _json({})

    async def _requests(self, request: web.Request) -> web.Response:
        terms = dict(request.query)
        after = int(terms.pop("after", 0))
        found = self._control.requests(Match.parse(terms), after=after)
        return _json([asdict(entry) for entry in found])

    async def _clear_requests(self, request: web.Request) -> web.Response:
        del request
        self._control.clear_requests()
        return _json({})
