"""What was asked: one entry of the log for each request that reached the proxy."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from aiohttp import web

from devcluster.request import parse_path
from fluvial.clock import RealClock

__all__ = ["Asked", "Log"]

_KEPT = 200_000


@dataclass(slots=True)
class Asked:
    """One request.

    Attributes:
        seq: its number, from 1.
        at: when it came, in seconds of a clock that only goes on.
        user: who authenticated, ``""`` while the control plane could not be asked.
        impersonated: whom it acts as, ``""`` for itself.
        status: what the client was answered; 0 for nothing, or not yet.
        answered: when that was, as ``at``; 0 for not at all.
        faults: what struck it.

    """

    seq: int
    at: float
    method: str
    verb: str
    resource: str
    subresource: str
    namespace: str
    name: str
    path: str
    query: str
    agent: str
    impersonated: str
    user: str = ""
    status: int = 0
    answered: float = 0.0
    faults: list[str] = field(default_factory=list)

    @property
    def acting(self) -> str:
        """Whose permissions count."""
        return self.impersonated or self.user


class Log:
    """Entries in the order of arrival."""

    def __init__(self) -> None:
        self._entries: deque[Asked] = deque(maxlen=_KEPT)
        self._clock = RealClock()
        self._last = 0

    def begin(self, request: web.BaseRequest) -> Asked:
        """Note a request that has come."""
        url = request.rel_url
        info = parse_path(request.method, url.raw_path, request.query)
        self._last += 1
        entry = Asked(
            seq=self._last,
            at=self._clock.monotonic(),
            method=request.method,
            verb=info.verb,
            resource=f"{info.resource}.{info.group}" if info.group else info.resource,
            subresource=info.subresource,
            namespace=info.namespace,
            name=info.name,
            path=url.raw_path,
            query=url.raw_query_string,
            agent=request.headers.get("User-Agent", ""),
            impersonated=request.headers.get("Impersonate-User", ""),
        )
        self._entries.append(entry)
        return entry

    def answered(self, entry: Asked, status: int) -> None:
        """Note that the client has an answer, or the beginning of one."""
        entry.status, entry.answered = status, self._clock.monotonic()

    @property
    def position(self) -> int:
        """Number of the newest request."""
        return self._last

    def __iter__(self) -> Iterator[Asked]:
        return iter(list(self._entries))

    def clear(self) -> None:
        """Forget all; numbers go on."""
        self._entries.clear()
