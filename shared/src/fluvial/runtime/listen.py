"""Serving an application at an address of the form that flags have."""

from __future__ import annotations

import errno
import logging
import socket
from contextlib import AsyncExitStack

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

__all__ = ["listen"]

_SHUTDOWN_TIMEOUT = 5.0
_BACKLOG = 128
_NO_IPV6 = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})


async def listen(stack: AsyncExitStack, app: web.Application, address: str) -> str:
    """Serve ``app`` until ``stack`` is closed.

    Bodies stay as they were sent, whatever their Content-Encoding says: that is what is signed, and
    what is small stays small.

    Args:
        stack: its end closes the server; requests in work have 5 seconds.
        app: what is served.
        address: ``host:port``, or ``:port`` for all interfaces, IPv6 included where there is any.

    Returns:
        The bound address as ``host:port``, with the real port where 0 was asked for.

    Raises:
        OSError: the address is taken or not this machine's.

    """
    host, _, port = address.rpartition(":")
    runner = web.AppRunner(
        app,
        access_log=None,
        logger=_LOG,
        auto_decompress=False,
        shutdown_timeout=_SHUTDOWN_TIMEOUT,
    )
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    if host:
        await web.TCPSite(runner, host.strip("[]"), int(port)).start()
    else:
        await web.SockSite(runner, _all_interfaces(int(port))).start()
    bound = runner.addresses[0]
    return f"[{bound[0]}]:{bound[1]}" if ":" in bound[0] else f"{bound[0]}:{bound[1]}"


class _OwnFaults(logging.Filter):
    """Lets only what is our fault be logged.

    For what callers send that is no HTTP, and for leaving early, aiohttp logs a stack, with the
    line that was sent: whoever reaches the port could fill the log, and a token could be in it.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        return not isinstance(error, _OF_CALLERS)


_OF_CALLERS = (HttpProcessingError, web.RequestPayloadError, ConnectionError)
_LOG = logging.getLogger("fluvial.server")
_LOG.addFilter(_OwnFaults())


def _all_interfaces(port: int) -> socket.socket:
    """One socket, so one port, for IPv4 and IPv6; IPv4 alone where the other is switched off."""
    if socket.has_dualstack_ipv6():
        try:
            return socket.create_server(
                ("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=_BACKLOG
            )
        except OSError as error:
            if error.errno not in _NO_IPV6:
                raise
    return socket.create_server(("", port), backlog=_BACKLOG)
