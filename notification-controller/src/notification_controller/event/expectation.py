"""``Expect: 100-continue`` (RFC 9110, 10.1.1); no other expectation is met, and none is repeated."""

from __future__ import annotations

from aiohttp import HttpVersion11, web

__all__ = ["meet"]


async def meet(request: web.Request) -> web.StreamResponse | None:
    """Tell whoever waits for it to send the body.

    aiohttp's own answer to other expectations repeats them, which fails for what is not text.
    """
    if request.version < HttpVersion11:
        return None
    if request.headers.get("Expect", "").lower() != "100-continue":
        return web.Response(status=417)
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.writer.output_size = 0  # what was written is no answer yet
    return None
