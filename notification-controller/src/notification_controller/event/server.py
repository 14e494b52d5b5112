"""The event server: takes what controllers report, and never makes them wait."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from fluvial.clock import Clock
from fluvial.log import Logger
from fluvial.runtime.metrics import Metrics
from notification_controller.event import expectation
from notification_controller.event.limiter import EventLimiter
from notification_controller.event.model import Event, InvalidEvent, read_event

__all__ = ["EventServer"]

_MAX_BODY = 3 << 20
_BODY_SECONDS = 20.0
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


@dataclass(frozen=True, slots=True)
class EventServer:
    """Takes events at any path.

    Attributes:
        limiter: knows what was told.
        put: takes an event; returns at once.
        again: takes one that was told before, for those who wait for the end of a failure.
        is_open: whether events are still taken; while the controller ends they are not.

    """

    limiter: EventLimiter
    put: Callable[[Event], None]
    log: Logger
    again: Callable[[Event], None] = lambda _: None
    is_open: Callable[[], bool] = lambda: True

    def app(self, metrics: Metrics, clock: Clock) -> web.Application:
        """The application, with Flux's metrics of it."""
        seconds = metrics.histogram(
            "gotk_event_http_request_duration_seconds",
            "How long taking events took.",
            ("code", "handler", "method"),
            buckets=_BUCKETS,
        )

        async def handle(request: web.Request) -> web.StreamResponse:
            started, response = clock.monotonic(), web.Response(status=500)
            try:
                response = await self._answer(request)
                return response
            finally:
                took = clock.monotonic() - started
                seconds.labels(str(response.status), "/", "POST").observe(took)

        app = web.Application(client_max_size=_MAX_BODY)
        app.router.add_route("*", "/{path:.*}", handle, expect_handler=expectation.meet)
        return app

    async def _answer(self, request: web.Request) -> web.Response:
        body = await _body_of(request)
        if isinstance(body, int):
            return web.Response(status=body)
        try:
            event = read_event(body).cleaned()
        except InvalidEvent as error:
            self.log.info("event refused", reason=str(error)[:500])
            return web.Response(status=400)
        if not self.is_open():
            return web.Response(status=503)  # controllers try again, and find another replica
        seen = self.limiter.see(event.identity())
        if seen.known:
            self.again(event.without_token())
            return web.Response(status=429, headers=self._limit(seen.resets_in))
        self.put(event.without_token())
        return web.Response(status=202)

    def _limit(self, resets_in: float) -> dict[str, str]:
        after = str(max(math.ceil(resets_in), 1))
        return {
            "X-RateLimit-Limit": "1",
            "X-RateLimit-Remaining": "0",
            "X-RateLimit-Reset": after,
            "Retry-After": after,
        }


async def _body_of(request: web.Request) -> bytes | int:
    """The body, or the status that says why there is none."""
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            return await request.read()
    except web.HTTPRequestEntityTooLarge:
        return 413
    except TimeoutError:
        return 408
    except web.RequestPayloadError:  # malformed chunks
        return 400
