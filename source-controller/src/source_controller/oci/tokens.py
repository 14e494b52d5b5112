"""Tokens for registries (distribution's "Docker Registry v2 authentication via central service").

A cache belongs to one trust domain: its key need not hold the credentials because no other
credentials are ever used with it.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections import OrderedDict
from dataclasses import dataclass

import aiohttp
import orjson
from yarl import URL

from fluvial.clock import Clock
from source_controller.oci.challenge import Challenge
from source_controller.oci.dockerconfig import Credentials
from source_controller.oci.errors import (
    InvalidContent,
    NotFound,
    RegistryError,
    RegistryUnreachable,
)
from source_controller.oci.exchange import ask, error_of, read_body
from source_controller.oci.limits import Limits

__all__ = ["TokenSource", "basic"]

_CLIENT = "fluvial"
_DEFAULT_SECONDS = 60
_LONGEST_SECONDS = 3600
_USED_PART = 0.8
_MAX_TOKENS = 100
_MAX_ANSWER = 256 << 10


def basic(credentials: Credentials) -> str:
    """The value of ``Authorization`` for a user and password."""
    pair = f"{credentials.username}:{credentials.password}".encode()
    return f"Basic {base64.b64encode(pair).decode()}"


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    until: float


class TokenSource:
    """Gets and keeps the tokens of one trust domain.

    Args:
        http: of the trust domain.
        credentials: of the trust domain.
        clock: for their expiry.
        limits: of the answers.
        foreign: how TLS is spoken with a token service on another host than the registry's, if it
            is not as with that: a client certificate is for the registry.

    """

    def __init__(
        self,
        http: aiohttp.ClientSession,
        credentials: Credentials,
        *,
        clock: Clock,
        limits: Limits,
        foreign: ssl.SSLContext | None = None,
    ) -> None:
        self._http = http
        self._foreign = foreign
        self._credentials = credentials
        self._clock = clock
        self._limits = limits
        self._tokens: OrderedDict[tuple[str, str, str], _Token] = OrderedDict()
        self._asking = asyncio.Lock()

    async def get(self, challenge: Challenge, scope: str, *, registry: URL) -> str:
        """A token.

        Args:
            challenge: of the registry, of scheme ``bearer``.
            scope: what is asked for, such as ``repository:app:pull``.
            registry: an address of it; only where it is spoken to without TLS may its token
                service be.

        Raises:
            RegistryError, RegistryUnreachable, InvalidContent: no token could be had.

        """
        if self._credentials.registry_token:
            return self._credentials.registry_token
        key = (challenge.realm, challenge.service, scope)
        async with self._asking:
            known = self._tokens.get(key)
            if known is not None and known.until > self._clock.monotonic():
                return known.text
            token = await self._fetch(challenge, scope, registry)
            self._tokens[key] = token
            self._tokens.move_to_end(key)
            if len(self._tokens) > _MAX_TOKENS:
                self._tokens.popitem(last=False)
        return token.text

    def forget(self, text: str) -> None:
        """A token was refused: the next one is fetched."""
        for key in [key for key, token in self._tokens.items() if token.text == text]:
            del self._tokens[key]

    async def _fetch(self, challenge: Challenge, scope: str, registry: URL) -> _Token:
        realm = _realm(challenge, plain_http=registry.scheme == "http")
        if self._credentials.identity_token:
            try:
                return await self._by_refresh_token(realm, challenge, scope, registry)
            except NotFound:  # a service without the OAuth2 form
                pass
        return await self._by_get(realm, challenge, scope, registry)

    async def _by_get(self, realm: URL, challenge: Challenge, scope: str, registry: URL) -> _Token:
        query = {"scope": scope} | ({"service": challenge.service} if challenge.service else {})
        credentials = self._credentials
        known = bool(credentials.username or credentials.password)
        if known:
            query["account"] = credentials.username
            query["client_id"] = _CLIENT
        async with await ask(
            self._http,
            "GET",
            realm.update_query(query),
            authorization=basic(credentials) if known else "",
            foreign=self._foreign,
            home=registry,
            limits=self._limits,
        ) as response:
            return await self._read(response)

    async def _by_refresh_token(
        self, realm: URL, challenge: Challenge, scope: str, registry: URL
    ) -> _Token:
        form = {
            "grant_type": "refresh_token",
            "refresh_token": self._credentials.identity_token,
            "service": challenge.service,
            "client_id": _CLIENT,
            "scope": scope,
        }
        async with await ask(
            self._http,
            "POST",
            realm,
            data=form,
            foreign=self._foreign,
            home=registry,
            limits=self._limits,
        ) as response:
            return await self._read(response)

    async def _read(self, response: aiohttp.ClientResponse) -> _Token:
        if response.status != 200:
            raise await error_of(response, what="a token for the registry", limits=self._limits)
        body = await read_body(
            response, limit=_MAX_ANSWER, what="the answer of the token service", limits=self._limits
        )
        try:
            answer = orjson.loads(body)
            text = answer.get("token") or answer.get("access_token") or ""
            seconds = float(answer.get("expires_in") or _DEFAULT_SECONDS)
        except (ValueError, AttributeError, TypeError):
            raise InvalidContent("the token service does not answer with a token") from None
        if not isinstance(text, str) or not text or not text.isprintable() or not text.isascii():
            raise InvalidContent("the token service does not answer with a token")
        seconds = min(max(seconds, 0.0), _LONGEST_SECONDS) * _USED_PART
        return _Token(text, self._clock.monotonic() + seconds)


def _realm(challenge: Challenge, *, plain_http: bool) -> URL:
    try:
        realm = URL(challenge.realm)
        valid = realm.scheme in {"http", "https"} and bool(realm.host) and realm.user is None
    except ValueError:
        valid, realm = False, URL()
    if not valid:
        raise RegistryError("the registry names no valid token service", status=401)
    if realm.scheme == "http" and not plain_http:
        raise RegistryUnreachable(
            f"the token service {realm.host} would get the credentials over plain http",
            passing=False,
        )
    return realm
