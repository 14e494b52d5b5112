"""Service account tokens: signed with a key of this process, checked against live accounts."""

from __future__ import annotations

import base64
import hashlib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

from devcluster import clock

__all__ = ["ISSUER", "Claims", "Issued", "Tokens"]

ISSUER = "https://kubernetes.default.svc.cluster.local"
_COORDINATE = 32  # bytes of each half of a P-256 signature in a JWT (RFC 7518 section 3.4)
_LEEWAY = 5  # seconds that a token may be from the future
_MAX_VERIFIED = 4096


@dataclass(frozen=True, slots=True)
class Issued:
    """A new token and when it ends."""

    token: str
    expires: datetime


@dataclass(frozen=True, slots=True)
class Claims:
    """What a verified token says."""

    namespace: str
    name: str
    uid: str
    token_id: str
    audiences: tuple[str, ...]
    bound: tuple[str, str, str] | None = None  # plural, name and uid of what it ends with


def _bound(private: Mapping[str, Any]) -> tuple[str, str, str] | None:
    for kind in ("pod", "secret", "node"):
        if kind in private:
            return (f"{kind}s", private[kind]["name"], private[kind]["uid"])
    return None


def _claims(decoded: Mapping[str, Any]) -> Claims:
    private = decoded["kubernetes.io"]
    account = private["serviceaccount"]
    return Claims(
        namespace=private["namespace"],
        name=account["name"],
        uid=account["uid"],
        token_id=decoded["jti"],
        audiences=tuple(decoded["aud"]),
        bound=_bound(private),
    )


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Tokens:
    """Signs and verifies JWTs with ES256.

    Args:
        key: to sign with; a new one is made when there is none.

    """

    def __init__(self, key: ec.EllipticCurvePrivateKey | None = None) -> None:
        self.key = key or ec.generate_private_key(ec.SECP256R1())
        public = self.key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self._key_id = _b64(hashlib.sha256(public).digest())
        self._verified: dict[str, tuple[Claims, int, int]] = {}

    def issue(
        self,
        *,
        namespace: str,
        name: str,
        uid: str,
        audiences: Sequence[str],
        seconds: int,
        bound: Mapping[str, str] | None = None,
    ) -> Issued:
        """A token for a service account; ``bound`` is {kind, name, uid} of the object it ends with."""
        start = clock.now()
        expires = start + timedelta(seconds=seconds)
        private: dict[str, Any] = {
            "namespace": namespace,
            "serviceaccount": {"name": name, "uid": uid},
        }
        if bound:
            private[bound["kind"].lower()] = {"name": bound["name"], "uid": bound["uid"]}
        claims = {
            "aud": list(audiences),
            "exp": int(expires.timestamp()),
            "iat": int(start.timestamp()),
            "iss": ISSUER,
            "jti": str(uuid.uuid4()),
            "kubernetes.io": private,
            "nbf": int(start.timestamp()),
            "sub": f"system:serviceaccount:{namespace}:{name}",
        }
        head = _b64(orjson.dumps({"alg": "ES256", "kid": self._key_id}))
        signed = f"{head}.{_b64(orjson.dumps(claims))}"
        der = self.key.sign(signed.encode(), ec.ECDSA(hashes.SHA256()))
        r, s = utils.decode_dss_signature(der)
        signature = r.to_bytes(_COORDINATE, "big") + s.to_bytes(_COORDINATE, "big")
        return Issued(f"{signed}.{_b64(signature)}", expires)

    def verify(self, token: str) -> Claims | None:
        """The claims of a token of ours that has not expired; None for anything else.

        The same token gives the very same claims.
        """
        known = self._verified.get(token)
        if known is None:
            decoded = self._decode(token)
            if decoded is None:
                return None
            if len(self._verified) > _MAX_VERIFIED:
                self._verified.clear()
            known = (_claims(decoded), decoded["nbf"] - _LEEWAY, decoded["exp"])
            self._verified[token] = known
        claims, start, end = known
        return claims if start <= clock.now().timestamp() < end else None

    def _decode(self, token: str) -> dict[str, Any] | None:
        try:
            head, body, signature = token.split(".")
            if orjson.loads(_unb64(head)) != {"alg": "ES256", "kid": self._key_id}:
                return None
            raw = _unb64(signature)
            if len(raw) != 2 * _COORDINATE:
                return None
            der = utils.encode_dss_signature(
                int.from_bytes(raw[:_COORDINATE], "big"), int.from_bytes(raw[_COORDINATE:], "big")
            )
            public = self.key.public_key()
            public.verify(der, f"{head}.{body}".encode(), ec.ECDSA(hashes.SHA256()))
            claims: dict[str, Any] = orjson.loads(_unb64(body))
        except (ValueError, InvalidSignature):
            return None
        return claims
