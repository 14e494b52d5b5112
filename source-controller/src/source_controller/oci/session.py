"""Requests to one registry as one trust domain: scheme, login, repetition.

The first request is a look at ``/v2/``, which tells how to log in. HTTPS is tried first; plain HTTP
only if the object says ``insecure``, or for registries on this machine or in a private network, as
Flux does, but never where a CA or client certificate is given without ``insecure``: who does that
expects TLS.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
from yarl import URL

from fluvial.clock import Clock
from source_controller.oci.access import Access
from source_controller.oci.challenge import Challenge, choose, parse_challenges
from source_controller.oci.errors import RegistryError, RegistryUnreachable
from source_controller.oci.exchange import ask, error_of
from source_controller.oci.limits import Limits
from source_controller.oci.reference import Repository
from source_controller.oci.tokens import TokenSource, basic

__all__ = ["RegistrySession"]

_FIRST_WAIT, _WAIT_FACTOR, _LONGEST_WAIT = 0.5, 3, 5.0
_AGAIN = frozenset({408, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class _Ping:
    base: URL
    challenge: Challenge | None


class RegistrySession:
    """One registry, one trust domain.

    Args:
        repository: names the registry; only its name counts here, so that one session may serve
            all repositories of a registry with the same credentials.
        access: who we are and whom we trust.
        http: made for that access.
        clock: for waits and expiry.
        limits: of every request.
        foreign: see ``connect.foreign_context``.

    """

    def __init__(
        self,
        repository: Repository,
        access: Access,
        http: aiohttp.ClientSession,
        *,
        clock: Clock,
        limits: Limits,
        foreign: ssl.SSLContext | None = None,
    ) -> None:
        self._foreign = foreign
        self._repository = repository
        self._access = access
        self._http = http
        self._clock = clock
        self.limits = limits
        self._tokens = TokenSource(
            http, access.credentials, clock=clock, limits=limits, foreign=foreign
        )
        self._pinged: _Ping | None = None
        self._pinging = asyncio.Lock()

    @asynccontextmanager
    async def request(
        self,
        method: str,
        path: str,
        *,
        scope: str,
        what: str,
        query: str = "",
        headers: Mapping[str, str] | None = None,
        fine: frozenset[int] = frozenset({200}),
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A successful answer, its body yet to be read.

        Args:
            method: GET or HEAD.
            path: below ``/v2/``, made of checked parts.
            scope: that a token needs for it.
            what: is asked for, for errors.
            query: encoded.
            headers: of the request.
            fine: statuses that are no error.

        Raises:
            RegistryError, RegistryUnreachable, InvalidContent: see ``errors``.

        """
        response = await self._persist(method, path, query, headers or {}, scope)
        try:
            if response.status not in fine:
                raise await error_of(response, what=what, limits=self.limits)
            yield response
        finally:
            response.close()

    async def url(self, path: str, query: str = "") -> URL:
        """The address of a path below ``/v2/``."""
        ping = await self._ping()
        text = f"{ping.base}{path}" + (f"?{query}" if query else "")
        return URL(text, encoded=True)

    async def _persist(
        self, method: str, path: str, query: str, headers: Mapping[str, str], scope: str
    ) -> aiohttp.ClientResponse:
        wait = _FIRST_WAIT
        for left in range(self.limits.attempts - 1, -1, -1):
            try:
                response = await self._logged_in(method, path, query, headers, scope)
            except (RegistryUnreachable, RegistryError) as error:
                passing = (
                    error.passing
                    if isinstance(error, RegistryUnreachable)
                    else error.status in _AGAIN
                )
                self._pinged = None  # it may have moved from http to https, or log in otherwise
                if not (left and passing):
                    raise
            else:
                if response.status not in _AGAIN or not left:
                    return response
                wait = max(wait, _retry_after(response))
                response.close()
            await self._clock.sleep(min(wait, _LONGEST_WAIT))
            wait *= _WAIT_FACTOR
        raise AssertionError("unreachable")

    async def _logged_in(
        self, method: str, path: str, query: str, headers: Mapping[str, str], scope: str
    ) -> aiohttp.ClientResponse:
        url = await self.url(path, query)
        challenge = (await self._ping()).challenge
        authorization = await self._authorization(url, challenge, scope)
        response = await self._send(method, url, headers, authorization)
        if response.status != 401 or response.url.origin() != url.origin():
            return response
        # The token was too old, or needs more than it was asked for.
        challenge = choose(parse_challenges(response.headers.getall("WWW-Authenticate", [])))
        if challenge is None:
            return response
        if authorization.startswith("Bearer "):
            self._tokens.forget(authorization.removeprefix("Bearer "))
        again = await self._authorization(url, challenge, challenge.scope or scope)
        if not again or again == authorization:
            return response
        response.close()
        return await self._send(method, url, headers, again)

    async def _send(
        self, method: str, url: URL, headers: Mapping[str, str], authorization: str
    ) -> aiohttp.ClientResponse:
        return await ask(
            self._http,
            method,
            url,
            headers=headers,
            authorization=authorization,
            foreign=self._foreign,
            limits=self.limits,
        )

    async def _authorization(self, url: URL, challenge: Challenge | None, scope: str) -> str:
        if challenge is None:
            return ""
        if challenge.scheme == "bearer":
            token = await self._tokens.get(challenge, scope, registry=url)
            return f"Bearer {token}"
        credentials = self._access.credentials
        return basic(credentials) if credentials.username or credentials.password else ""

    async def _ping(self) -> _Ping:
        if self._pinged is not None:
            return self._pinged
        async with self._pinging:
            if self._pinged is None:
                self._pinged = await self._look()
            return self._pinged

    async def _look(self) -> _Ping:
        registry = self._repository.registry
        try:
            return await self._look_at(URL(f"https://{registry}/v2/"))
        except RegistryUnreachable as secure:
            if not self._may_be_plain():
                raise
            try:
                return await self._look_at(URL(f"http://{registry}/v2/"))
            except RegistryUnreachable as plain:
                # There is TLS, and something is wrong with it: that is the news.
                raise (plain if secure.passing else secure) from plain

    def _may_be_plain(self) -> bool:
        access = self._access
        wants_tls = bool(access.ca or access.certificate)
        return access.insecure or (self._repository.is_local and not wants_tls)

    async def _look_at(self, base: URL) -> _Ping:
        async with await ask(
            self._http, "GET", base, foreign=self._foreign, limits=self.limits
        ) as response:
            if response.status in {401, 403}:
                offered = response.headers.getall("WWW-Authenticate", [])
                return _Ping(base, choose(parse_challenges(offered)))
            if response.status != 200:
                if response.status in _AGAIN:
                    raise await error_of(response, what="the registry", limits=self.limits)
                raise RegistryError(
                    f"{base.host} is no registry: it answered {response.status} at /v2/",
                    status=response.status,
                )
            return _Ping(base, None)


def _retry_after(response: aiohttp.ClientResponse) -> float:
    value = response.headers.get("Retry-After", "")
    return float(value) if value.isascii() and value.isdigit() and len(value) < 5 else 0.0
