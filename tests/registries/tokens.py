"""A token service whose tokens a real registry verifies (JWT, ES256, chain in ``x5c``)."""

from __future__ import annotations

import base64
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import NameOID

__all__ = ["TokenService"]

_ISSUER, _SERVICE = "test-issuer", "test-registry"


class TokenService:
    """Grants what is asked for to one user.

    Args:
        folder: for its certificate.
        user: name and password.

    Attributes:
        granted: scope that is granted whatever is asked for, ``""`` for what is asked for.
        scopes: that were asked for.

    """

    def __init__(self, folder: Path, *, user: tuple[str, str]) -> None:
        self.granted = ""
        self.scopes: list[str] = []
        self._folder = folder
        self._user = user
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._certificate = self._self_signed()
        self._runner: web.AppRunner | None = None
        self._url = ""

    def registry_config(self) -> dict[str, str]:
        """The registry's ``auth.token`` section."""
        bundle = self._folder / "tokens.pem"
        bundle.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))
        return {
            "realm": f"{self._url}/token",
            "service": _SERVICE,
            "issuer": _ISSUER,
            "rootcertbundle": str(bundle),
        }

    def sign(self, scope: str) -> str:
        """A token for a scope."""
        kind, name, actions = scope.split(":")
        now = datetime.now(UTC)  # the registry looks at the real clock
        der = self._certificate.public_bytes(serialization.Encoding.DER)
        header = {"typ": "JWT", "alg": "ES256", "x5c": [base64.b64encode(der).decode()]}
        claims: dict[str, Any] = {
            "iss": _ISSUER,
            "aud": _SERVICE,
            "sub": self._user[0],
            "exp": int((now + timedelta(minutes=5)).timestamp()),
            "nbf": int((now - timedelta(minutes=1)).timestamp()),
            "iat": int(now.timestamp()),
            "jti": secrets.token_hex(8),
            "access": [{"type": kind, "name": name, "actions": actions.split(",")}],
        }
        text = f"{_encode(orjson.dumps(header))}.{_encode(orjson.dumps(claims))}"
        r, s = decode_dss_signature(self._key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{text}.{_encode(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/token", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self._url = f"http://{host}:{port}"
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        pair = base64.b64encode(":".join(self._user).encode()).decode()
        if request.headers.get("Authorization") != f"Basic {pair}":
            return web.Response(status=401)
        self.scopes.append(request.query["scope"])
        token = self.sign(self.granted or request.query["scope"])
        return web.json_response({"token": token, "expires_in": 300})

    def _self_signed(self) -> x509.Certificate:
        now = datetime.now(UTC)  # as above
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tokens")])
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
