"""AWS Signature Version 4: requests that prove who sends them.

After https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import quote, unquote

from yarl import URL

from fluvial.cloud.model import AwsCredentials

__all__ = ["EMPTY_SHA256", "UNSIGNED_PAYLOAD", "Signer", "canonical_request"]

_ALGORITHM = "AWS4-HMAC-SHA256"
_UNRESERVED = "-_.~"

EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
"""In the place of a body's digest, where S3 takes it."""


def canonical_request(
    method: str, url: URL, headers: Mapping[str, str], *, payload: str, normalize: bool = True
) -> tuple[str, str]:
    """What is signed of a request, and the names of its signed headers.

    Args:
        method: in capitals.
        url: encoded as it is sent.
        headers: all that are signed, ``Host`` among them.
        payload: hex of the body's SHA-256, or ``UNSIGNED_PAYLOAD``.
        normalize: remove ``.``, ``..`` and empty parts from the path, and encode it a second
            time; every service but S3 does.

    """
    folded = {name.lower(): " ".join(value.split()) for name, value in headers.items()}
    names = ";".join(sorted(folded))
    lines = [method, _path(url, normalize=normalize), _query(url)]
    lines += [f"{name}:{folded[name]}" for name in sorted(folded)]
    return "\n".join([*lines, "", names, payload]), names


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs for one service of one region.

    Attributes:
        credentials: whose signature it is.
        region: such as ``eu-central-1``.
        service: such as ``sts``, ``s3``.

    """

    credentials: AwsCredentials = field(repr=False)
    region: str
    service: str

    def sign(
        self,
        method: str,
        url: URL,
        *,
        now: datetime,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        payload: str = "",
    ) -> dict[str, str]:
        """The headers of a signed request: the given ones and those that signing adds.

        Args:
            method: in capitals.
            url: encoded as it will be sent; its user information is not used.
            now: aware; the service takes a signature for some minutes.
            headers: that are sent, and signed.
            body: of the request.
            payload: instead of the body's digest, such as ``UNSIGNED_PAYLOAD``. For ``s3`` it is
                also sent, as that service wants it.

        """
        digest = payload or hashlib.sha256(body).hexdigest()
        stamp = now.strftime("%Y%m%dT%H%M%SZ")
        signed = {"Host": host_of(url), **(headers or {}), "X-Amz-Date": stamp}
        if self.service == "s3":
            signed["X-Amz-Content-Sha256"] = digest
        if self.credentials.session_token:
            signed["X-Amz-Security-Token"] = self.credentials.session_token
        text, names = canonical_request(
            method, url, signed, payload=digest, normalize=self.service != "s3"
        )
        scope = self.scope(stamp)
        signed["Authorization"] = (
            f"{_ALGORITHM} Credential={self.credentials.access_key}/{scope},"
            f" SignedHeaders={names}, Signature={self.signature(text, stamp)}"
        )
        return signed

    def presign(
        self,
        url: URL,
        *,
        now: datetime,
        seconds: int,
        headers: Mapping[str, str] | None = None,
    ) -> URL:
        """The address of a GET that whoever has it may send, and nobody has to sign again.

        Args:
            url: encoded, with its query.
            now: aware; the address is good from then on.
            seconds: that it is good for.
            headers: that must be sent with it, signed as they are.

        """
        signed = {"Host": host_of(url), **(headers or {})}
        stamp = now.strftime("%Y%m%dT%H%M%SZ")
        query = {
            "X-Amz-Algorithm": _ALGORITHM,
            "X-Amz-Credential": f"{self.credentials.access_key}/{self.scope(stamp)}",
            "X-Amz-Date": stamp,
            "X-Amz-Expires": str(seconds),
            "X-Amz-SignedHeaders": ";".join(sorted(name.lower() for name in signed)),
        }
        if self.credentials.session_token:
            query["X-Amz-Security-Token"] = self.credentials.session_token
        more = "&".join(f"{name}={_strict(value)}" for name, value in sorted(query.items()))
        text = f"{url}&{more}" if url.raw_query_string else f"{url}?{more}"
        whole = URL(text, encoded=True)
        payload = UNSIGNED_PAYLOAD if self.service == "s3" else EMPTY_SHA256
        canonical, _ = canonical_request(
            "GET", whole, signed, payload=payload, normalize=self.service != "s3"
        )
        return URL(f"{text}&X-Amz-Signature={self.signature(canonical, stamp)}", encoded=True)

    def scope(self, stamp: str) -> str:
        """Day, region and service that a signature is good for."""
        return f"{stamp[:8]}/{self.region}/{self.service}/aws4_request"

    def signature(self, canonical: str, stamp: str) -> str:
        """Hex of the signature of a canonical request.

        Args:
            canonical: the text.
            stamp: time as ``20150830T123600Z``; CodeCommit leaves the ``Z`` out.

        """
        key = f"AWS4{self.credentials.secret_key}".encode()
        for part in (stamp[:8], self.region, self.service, "aws4_request"):
            key = _hmac(key, part)
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        return _hmac(key, "\n".join([_ALGORITHM, stamp, self.scope(stamp), digest])).hex()


def host_of(url: URL) -> str:
    """The ``Host`` of a request: with the port where it is not the usual one."""
    host = url.raw_host or ""
    host = f"[{host}]" if ":" in host else host
    return host if url.port is None or url.is_default_port() else f"{host}:{url.port}"


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def _path(url: URL, *, normalize: bool) -> str:
    path = url.raw_path or "/"
    if not normalize:
        return path
    kept: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del kept[-1:]
        elif part not in {"", "."}:
            kept.append(part)
    slash = "/" if kept and path.endswith(("/", "/.", "/..")) else ""
    return quote("/" + "/".join(kept) + slash, safe="/" + _UNRESERVED)


def _query(url: URL) -> str:
    pairs = [part.partition("=") for part in url.raw_query_string.split("&") if part]
    coded = sorted((_strict(name), _strict(value)) for name, _, value in pairs)
    return "&".join(f"{name}={value}" for name, value in coded)


def _strict(text: str) -> str:
    return quote(unquote(text), safe=_UNRESERVED)
