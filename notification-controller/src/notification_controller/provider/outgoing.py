"""One request to a service, and how sending fails."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from yarl import URL

from fluvial.errors import FluvialError

__all__ = ["Exchange", "Outgoing", "Reply", "SendFailed", "checked_url", "json_request"]

_ROOM = 64 << 10


class SendFailed(FluvialError):
    """A message was not sent.

    Attributes:
        again: trying again may help.
        after: seconds that the service asks to wait before that, or 0.
        status: of the service's answer, 0 without one.

    """

    def __init__(self, message: str, *, again: bool, after: float = 0.0, status: int = 0) -> None:
        super().__init__(message)
        self.again = again
        self.after = after
        self.status = status


@dataclass(frozen=True, slots=True)
class Reply:
    """What a service answered."""

    status: int
    body: bytes = field(repr=False)

    def json(self) -> Any:
        """The body as JSON, ``None`` if it is not."""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return None


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One request.

    Attributes:
        problem: says what a successful answer says went wrong, or ``""``.
        room: bytes of an answer that are read.
        absent: 404 is an answer, too.

    """

    method: str
    url: URL = field(repr=False)
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    problem: Callable[[Reply], str] = lambda _reply: ""
    room: int = _ROOM
    absent: bool = False


Exchange = Callable[[Outgoing], Awaitable[Reply]]
"""Sends one request and gives its answer. Raises SendFailed where it was not taken."""


def json_request(
    url: URL,
    document: Any,
    *,
    method: str = "POST",
    headers: Mapping[str, str] | None = None,
    problem: Callable[[Reply], str] = lambda _reply: "",
) -> Outgoing:
    """A request with a JSON body."""
    sent = {"Content-Type": "application/json", **(headers or {})}
    return Outgoing(method, url, orjson.dumps(document), sent, problem)


def checked_url(text: str, *, what: str = "the address") -> URL:
    """An address that requests can go to.

    Raises:
        SendFailed: it is none; its text, which may hold secrets, is not repeated.

    """
    try:
        url = URL(text)
        valid = url.scheme in {"http", "https"} and bool(url.host)
    except ValueError:
        valid, url = False, URL()
    if not valid:
        raise SendFailed(f"{what} must begin with https:// or http:// and a host", again=False)
    return url
