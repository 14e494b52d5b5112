"""Sessions with registries: one for each trust domain, kept for a while.

Two objects share a session, and so its connections and tokens, only if everything that decides
about trust is equal; where an object brings its own CA, client certificate, proxy or ``insecure``,
its namespace is part of that.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import aiohttp

from fluvial.artifact.threads import in_thread
from fluvial.clock import Clock
from fluvial.net.dialer import Dialer
from source_controller.oci.access import Access
from source_controller.oci.connect import foreign_context, open_session
from source_controller.oci.limits import Limits
from source_controller.oci.reference import Repository
from source_controller.oci.registry import RepositoryClient
from source_controller.oci.session import RegistrySession

__all__ = ["Registries", "trust_domain"]

_IDLE_SECONDS = 60.0
_MAX_IDLE = 16


def trust_domain(access: Access, namespace: str) -> tuple[str, str]:
    """A key that two objects have in common only if they may share what one of them fetched."""
    return (namespace if access.is_own else "", access.fingerprint())


@dataclass(slots=True)
class _Open:
    http: aiohttp.ClientSession
    session: RegistrySession
    users: int = 0
    used: float = 0.0


class Registries:
    """Opens, shares and closes sessions; close it by leaving its context.

    Args:
        dialer: makes all connections.
        clock: for expiry.
        limits: of every request.

    """

    def __init__(self, dialer: Dialer, *, clock: Clock, limits: Limits | None = None) -> None:
        self._dialer = dialer
        self._clock = clock
        self.limits = limits or Limits()
        self._open: OrderedDict[tuple[str, ...], _Open] = OrderedDict()
        self._opening = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        while self._open:
            _, entry = self._open.popitem()
            await entry.http.close()

    @asynccontextmanager
    async def client(
        self, repository: Repository, access: Access, *, namespace: str
    ) -> AsyncIterator[RepositoryClient]:
        """A client for one repository, valid while the context is open.

        Args:
            repository: to read.
            access: of the object.
            namespace: of the object.

        Raises:
            InvalidCredentials: the CA or client certificate cannot be used.

        """
        key = (repository.registry, *trust_domain(access, namespace))
        entry = await self._take(key, repository, access)
        try:
            yield RepositoryClient(entry.session, repository, clock=self._clock)
        finally:
            entry.users -= 1
            entry.used = self._clock.monotonic()
            await self._tidy()

    async def _take(self, key: tuple[str, ...], repository: Repository, access: Access) -> _Open:
        async with self._opening:
            entry = self._open.get(key)
            if entry is None:
                foreign = await in_thread(lambda _: foreign_context(access))
                http = await open_session(access, self._dialer)  # nothing is awaited after it
                session = RegistrySession(
                    repository, access, http, clock=self._clock, limits=self.limits, foreign=foreign
                )
                entry = self._open[key] = _Open(http, session)
            entry.users += 1
            self._open.move_to_end(key)
            return entry

    async def _tidy(self) -> None:
        now = self._clock.monotonic()
        idle = [key for key, entry in self._open.items() if not entry.users]
        surplus = len(idle) - _MAX_IDLE
        old = [
            self._open.pop(key)
            for place, key in enumerate(idle)
            if place < surplus or now - self._open[key].used > _IDLE_SECONDS
        ]
        for entry in old:  # nobody finds them any more
            await entry.http.close()
