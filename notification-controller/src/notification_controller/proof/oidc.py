"""Tokens of OpenID Connect: https://openid.net/specs/openid-connect-discovery-1_0.html, RFC 7519.

The issuer that a token names only selects one of those that were configured; its keys come from
that one's own discovery document. They are kept, so that calls, which anybody may make, do not
become requests to the issuer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jwt
from yarl import URL

from fluvial.clock import Clock
from fluvial.cloud.errors import CloudError
from fluvial.cloud.http import CloudHttp, Question
from notification_controller.proof.call import Refused

__all__ = ["GOOGLE", "Issuer", "Issuers", "audiences_of", "unverified_issuer"]

_ALGORITHMS = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA"),
)
_KEPT_SECONDS = 600.0
_AGAIN_SECONDS = 30.0
_MAX_ISSUERS = 256
_MAX_TOKEN = 64 << 10
_MAX_KEYS = 100
_MAX_MEMBER = 1400  # characters: RSA of 8192 bits
_MEMBERS = {
    "RSA": ("kty", "alg", "n", "e"),
    "EC": ("kty", "alg", "crv", "x", "y"),
    "OKP": ("kty", "alg", "crv", "x"),
}
_LEEWAY_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Issuer:
    """Who signs tokens.

    Attributes:
        url: of the issuer, as tokens name it.
        names: that tokens may have as their issuer.
        keys_url: of its keys; ``""`` where its discovery document says that.

    """

    url: str
    names: tuple[str, ...]
    keys_url: str = ""

    @classmethod
    def of(cls, url: str) -> Issuer:
        """One that is known by its address only."""
        return cls(url, (url,))


GOOGLE = Issuer(
    "https://accounts.google.com",
    ("https://accounts.google.com", "accounts.google.com"),
    "https://www.googleapis.com/oauth2/v3/certs",
)
"""https://developers.google.com/identity/openid-connect/openid-connect#validatinganidtoken"""


@dataclass(frozen=True, slots=True)
class _Keys:
    fetched: float
    by_id: Mapping[str, jwt.PyJWK]


class Issuers:
    """Verifies tokens with the keys of their issuers.

    Args:
        http: asks the issuers, over https only.
        clock: ages keys.

    """

    def __init__(self, http: CloudHttp, clock: Clock) -> None:
        self._http = http
        self._clock = clock
        self._kept: dict[str, _Keys] = {}

    async def claims(self, token: str, issuer: Issuer, *, audience: str) -> dict[str, Any]:
        """The claims of a token that is valid: signed by the issuer, for the audience, in time.

        Raises:
            Refused: it is not.

        """
        if len(token) > _MAX_TOKEN:
            raise Refused("the token is too long")
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError as error:
            raise Refused("the bearer token is no JSON Web Token") from error
        algorithm, key_id = header.get("alg"), header.get("kid", "")
        if algorithm not in _ALGORITHMS:
            raise Refused(f"tokens signed by {str(algorithm)[:20]!r} are not taken")
        key = await self._key(issuer, str(key_id))
        try:
            return jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=audience,
                issuer=list(issuer.names),
                leeway=_LEEWAY_SECONDS,
                options={"require": ["exp", "iss", "aud"]},
            )
        except jwt.PyJWTError as error:
            raise Refused(f"the bearer token is not valid: {error}") from error

    async def _key(self, issuer: Issuer, key_id: str) -> jwt.PyJWK:
        now = self._clock.monotonic()
        kept = self._kept.get(issuer.url)
        age = now - kept.fetched if kept else _KEPT_SECONDS
        unknown = kept is not None and key_id not in kept.by_id and age >= _AGAIN_SECONDS
        if kept is None or age >= _KEPT_SECONDS or unknown:
            kept = _Keys(now, await self._fetch(issuer))
            while len(self._kept) >= _MAX_ISSUERS:
                del self._kept[next(iter(self._kept))]
            self._kept[issuer.url] = kept
        try:
            return kept.by_id[key_id]
        except KeyError:
            raise Refused("the bearer token is signed by a key that the issuer has not") from None

    async def _fetch(self, issuer: Issuer) -> dict[str, jwt.PyJWK]:
        try:
            keys_url = issuer.keys_url or await self._discover(issuer)
            what = "its keys"
            document = (await self._http.ask(Question("GET", URL(keys_url), what))).json()
        except (CloudError, ValueError) as error:
            raise Refused(f"the issuer's keys cannot be fetched: {error}") from error
        return _keys_of(document)

    async def _discover(self, issuer: Issuer) -> str:
        url = URL(issuer.url.rstrip("/") + "/.well-known/openid-configuration")
        document = (await self._http.ask(Question("GET", url, "its configuration"))).json()
        if document.get("issuer") != issuer.url:
            raise Refused("the configuration of the issuer is another issuer's")
        keys_url = document.get("jwks_uri")
        if not isinstance(keys_url, str):
            raise Refused("the configuration of the issuer names no keys")
        return keys_url


def _keys_of(document: Mapping[str, Any]) -> dict[str, jwt.PyJWK]:
    """The public keys of an issuer, which anybody may be, by their ids.

    Whatever is not of a public key is left out before the library sees it: from a private key it
    would compute what is missing, which takes hours for long numbers, and nothing else could run.
    """
    listed = document.get("keys")
    found: dict[str, jwt.PyJWK] = {}
    for entry in listed[:_MAX_KEYS] if isinstance(listed, list) else ():
        if not isinstance(entry, dict):
            continue
        names = _MEMBERS.get(str(entry.get("kty")), ())
        members = {name: entry[name] for name in names if name in entry}
        if not all(isinstance(it, str) and len(it) <= _MAX_MEMBER for it in members.values()):
            continue
        try:
            found[str(entry.get("kid", ""))] = jwt.PyJWK.from_dict(members)
        except (jwt.PyJWTError, ValueError, TypeError, AttributeError, KeyError):
            continue  # a key of a kind that is not taken
    return found


def unverified_issuer(token: str) -> str:
    """The issuer that a token names, which proves nothing yet.

    Raises:
        Refused: it names none.

    """
    try:
        claims = jwt.decode(token[:_MAX_TOKEN], options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError) as error:
        raise Refused("the bearer token is no JSON Web Token") from error
    found = claims.get("iss")
    if not isinstance(found, str):
        raise Refused("the bearer token names no issuer")
    return found


def audiences_of(issuers: Sequence[tuple[str, str]], issuer: str) -> str:
    """The audience wanted of the tokens of an issuer.

    Args:
        issuers: pairs of issuer and audience, as configured.
        issuer: that a token names.

    Raises:
        Refused: it is not among them.

    """
    for name, audience in issuers:
        if name == issuer:
            return audience
    raise Refused("the issuer of the bearer token is not among the configured ones")
