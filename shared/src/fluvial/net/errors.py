"""What goes wrong on the way out.

    NetError
    ├── AddressDenied ... the policy forbids the address; nothing was sent
    ├── DialFailed ...... no such name, nobody answers, or not in time
    └── ProxyFailed ..... the user's proxy is away or refuses

They are ``OSError`` too, since clients of HTTP pass those on, wrapped in their own errors:
``net_error`` finds them again.
"""

from __future__ import annotations

from fluvial.errors import FluvialError

__all__ = ["AddressDenied", "DialFailed", "NetError", "ProxyFailed", "net_error"]


class NetError(FluvialError, OSError):
    """Root of this room's errors; ``str`` is the text for people."""

    def __init__(self, message: str) -> None:
        super().__init__(message)

    def __str__(self) -> str:
        return str(self.args[0])


class AddressDenied(NetError):
    """The address is one that no source, chart or provider may lead to."""


class DialFailed(NetError):
    """The name does not resolve, or no address of it answers in time."""


class ProxyFailed(NetError):
    """The proxy of the object cannot be reached or does not let us through."""


def net_error(error: BaseException | None) -> NetError | None:
    """The error of this room behind another library's, or ``None``.

    Args:
        error: such as aiohttp's ``ClientConnectorError``, which wraps it.

    """
    seen: set[int] = set()
    pending = [error]
    while pending:
        item = pending.pop()
        if item is None or id(item) in seen:
            continue
        if isinstance(item, NetError):
            return item
        seen.add(id(item))
        pending += [getattr(item, "os_error", None), item.__cause__, item.__context__]
    return None
