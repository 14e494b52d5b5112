"""The control plane behind the proxy: where it is, and as whom it is asked.

Whoever comes with a bearer token is passed on with that token and nothing else. A kubeconfig with
a client certificate cannot be passed through TLS that ends here: its user gets a token of the
proxy's own making, and whoever comes with that one token is passed on over connections with the
certificate. Nobody else ever is. Other ways to authenticate are refused at the start.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import orjson
from multidict import CIMultiDict
from yarl import URL

from fluvial.kube import kubeconfig as documents
from fluvial.kube.connection import tls_context

__all__ = ["BadUpstream", "Upstream", "check_loopback"]

_AGENT = "faultproxy"
_WHO_AM_I = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
_HOP_BY_HOP = (
    "Connection",
    "Keep-Alive",
    "Proxy-Authenticate",
    "Proxy-Authorization",
    "TE",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
)
_USER_FIELDS = {
    "token": {"token"},
    "tokenFile": {"token", "tokenFile"},
    "certificate": {
        "client-certificate",
        "client-certificate-data",
        "client-key",
        "client-key-data",
    },
}


class BadUpstream(ValueError):
    """A kubeconfig that cannot be stood in front of; the text says why, without a secret."""


@dataclass(frozen=True, slots=True)
class _Target:
    """What a kubeconfig says."""

    server: str
    ca: bytes
    user: Mapping[str, str]
    context: Mapping[str, Any]
    certificate: tuple[bytes, bytes] | None = field(default=None, repr=False)


class Upstream:
    """Connections to one control plane at a time.

    Raises:
        BadUpstream: the kubeconfig names an address that is not loopback, has no authority of its
            own, or authenticates in another way than by a token or a client certificate.

    """

    def __init__(self, kubeconfig: Mapping[str, Any]) -> None:
        self._target = _read(kubeconfig)
        self._minted = secrets.token_urlsafe(32)
        self._sessions: dict[bool, aiohttp.ClientSession] = {}
        self._users: dict[bytes, str] = {}

    async def retarget(self, kubeconfig: Mapping[str, Any]) -> None:
        """Stand in front of another one, such as the same after a restart."""
        target = _read(kubeconfig)
        if (target.certificate is None) != (self._target.certificate is None):
            raise BadUpstream("the user authenticates in another way than before")
        self._target = target
        self._users.clear()
        await self.close()

    def kubeconfig(self, server: str, ca_pem: str) -> dict[str, Any]:
        """What a client of the proxy needs; ``ca_pem`` is base64."""
        target = self._target
        user = dict(target.user) if target.certificate is None else {"token": self._minted}
        context = {**target.context, "cluster": "faultproxy", "user": "user"}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {
                    "name": "faultproxy",
                    "cluster": {"server": server, "certificate-authority-data": ca_pem},
                }
            ],
            "users": [{"name": "user", "user": user}],
            "contexts": [{"name": "faultproxy", "context": context}],
            "current-context": "faultproxy",
        }

    async def send(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes
    ) -> aiohttp.ClientResponse:
        """Pass a request on; the answer's body is yet to be read.

        Raises:
            aiohttp.ClientError: the control plane could not be asked.

        """
        sent = CIMultiDict(headers)
        for name in (*_HOP_BY_HOP, "Host", "Content-Length", "Expect"):
            sent.popall(name, None)
        by_certificate = self._is_minted(sent.get("Authorization", ""))
        if by_certificate:
            del sent["Authorization"]
        url = URL(self._target.server + path, encoded=True)
        return await self._session(by_certificate=by_certificate).request(
            method, url, headers=sent, data=body or None, allow_redirects=False
        )

    async def user(self, headers: Mapping[str, str]) -> str:
        """Who authenticates with these headers, by the control plane's own word; ``""`` if unknown."""
        credentials = headers.get("Authorization", "")
        known = hashlib.sha256(credentials.encode()).digest()
        if known not in self._users:
            name = await self._ask_who(credentials)
            if not name:
                return ""
            self._users[known] = name
        return self._users[known]

    async def _ask_who(self, credentials: str) -> str:
        headers = {"Content-Type": "application/json", "User-Agent": _AGENT}
        if credentials:
            headers["Authorization"] = credentials
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        try:
            async with await self.send("POST", _WHO_AM_I, headers, orjson.dumps(review)) as answer:
                body = orjson.loads(await answer.read())
        except (aiohttp.ClientError, OSError, ValueError):
            return ""
        if answer.status >= 300:
            return ""
        return str(body["status"]["userInfo"]["username"])

    async def close(self) -> None:
        """Close all connections to it."""
        for session in self._sessions.values():
            await session.close()
        self._sessions.clear()

    def _is_minted(self, credentials: str) -> bool:
        if self._target.certificate is None:
            return False
        minted = f"Bearer {self._minted}"
        return hmac.compare_digest(credentials.encode(), minted.encode())

    def _session(self, *, by_certificate: bool) -> aiohttp.ClientSession:
        if by_certificate not in self._sessions:
            certificate, key = (by_certificate and self._target.certificate) or (None, None)
            tls = tls_context(ca=self._target.ca, certificate=certificate, key=key)
            self._sessions[by_certificate] = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=tls, limit=0),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=10),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                auto_decompress=False,
                skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent", "Content-Type"),
                read_bufsize=2**18,
            )
        return self._sessions[by_certificate]


def check_loopback(url: str) -> None:
    """Refuse whatever is not https on a loopback address.

    Raises:
        BadUpstream: it is not.

    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        is_loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = False
    if parts.scheme != "https" or not is_loopback:
        raise BadUpstream(f"{url} is not https on a loopback address")


def _read(kubeconfig: Mapping[str, Any]) -> _Target:
    document = dict(kubeconfig)
    selected = documents.select(document)
    check_loopback(selected.server)
    if selected.flag(selected.cluster, "insecure-skip-tls-verify"):
        raise BadUpstream("the kubeconfig skips the check of certificates")
    ca = _bytes(selected, selected.cluster, "certificate-authority")
    if ca is None:
        raise BadUpstream("the kubeconfig names no certificate authority")
    current = document.get("current-context")
    context = next(c["context"] for c in document["contexts"] if c["name"] == current)
    given = set(selected.user)
    if given in (_USER_FIELDS["token"], {"tokenFile"}, _USER_FIELDS["tokenFile"]):
        return _Target(selected.server, ca, dict(selected.user), context)
    if given and given <= _USER_FIELDS["certificate"]:
        certificate = _bytes(selected, selected.user, "client-certificate")
        key = _bytes(selected, selected.user, "client-key")
        if certificate and key:
            return _Target(selected.server, ca, {}, context, (certificate, key))
    raise BadUpstream(
        "the user must authenticate by a token or by a client certificate with its key; it has: "
        + (", ".join(sorted(given)) or "nothing")
    )


def _bytes(selected: documents.Selected, section: Mapping[str, Any], name: str) -> bytes | None:
    data = selected.data(section, f"{name}-data")
    if data is None and selected.text(section, name):
        return Path(selected.text(section, name)).read_bytes()
    return data
