"""Where a request's ``Authorization`` header comes from.

The transport asks before every request and calls ``refresh`` once after a 401. Tokens are never
logged and never part of an error.

    NoAuth         client certificate or nothing
    StaticAuth     a fixed token or user and password
    TokenFileAuth  a projected token: the file is read again at most every 60 seconds
    ExecAuth       a credential plugin of a kubeconfig (only where exec is allowed)
    ProviderAuth   the older ``auth-provider`` section, through kubernetes-asyncio
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import orjson

from fluvial.clock import Clock, parse_time
from fluvial.errors import FluvialError

__all__ = [
    "Auth",
    "CredentialsError",
    "ExecAuth",
    "ExecPlugin",
    "NoAuth",
    "ProviderAuth",
    "StaticAuth",
    "TokenFileAuth",
    "basic",
    "bearer",
]

_REREAD_SECONDS = 60.0
_EXEC_SECONDS = 60.0
_EXPIRY_MARGIN = 60.0


class CredentialsError(FluvialError):
    """Credentials could not be had: a file is gone, a plugin failed. The text has no secret."""


class Auth(Protocol):
    """A source of the ``Authorization`` header."""

    async def header(self) -> str:
        """The header's value now, ``""`` for none."""
        ...

    async def refresh(self) -> bool:
        """The server answered 401: get others. False if there are no others to get."""
        ...


def bearer(token: str) -> str:
    """The header for a token.

    Raises:
        CredentialsError: the token cannot be sent in a header.

    """
    token = token.strip()
    if not token.isascii() or not token.isprintable():
        raise CredentialsError("the bearer token has characters that no token has")
    return f"Bearer {token}" if token else ""


def basic(username: str, password: str) -> str:
    """The header for a user name and a password."""
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


class NoAuth:
    """No header: a client certificate speaks, or nobody does."""

    async def header(self) -> str:
        return ""

    async def refresh(self) -> bool:
        return False


class StaticAuth:
    """A header that does not change."""

    def __init__(self, value: str) -> None:
        self._value = value

    async def header(self) -> str:
        return self._value

    async def refresh(self) -> bool:
        return False


class TokenFileAuth:
    """A token in a file that somebody else renews, as the kubelet does for service accounts."""

    def __init__(self, path: Path, *, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._value = ""
        self._read_at = -_REREAD_SECONDS

    async def header(self) -> str:
        if not self._value or self._clock.monotonic() - self._read_at >= _REREAD_SECONDS:
            self._read()
        return self._value

    async def refresh(self) -> bool:
        before = self._value
        self._read()
        return self._value != before

    def _read(self) -> None:
        try:
            # A token is a kilobyte on a memory file system: not worth a thread.
            value = bearer(self._path.read_text(encoding="ascii", errors="replace"))
        except OSError as error:
            if not self._value:
                raise CredentialsError(
                    f"cannot read the token file: {error.strerror or type(error).__name__}"
                ) from error
            return  # the old one may still be good; the server will say
        if value:
            self._value = value
        self._read_at = self._clock.monotonic()


@dataclass(frozen=True, slots=True)
class ExecPlugin:
    """The ``exec`` section of a kubeconfig user; ``cluster`` is what provideClusterInfo gives."""

    command: str
    args: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    api_version: str
    cluster: dict[str, Any] | None = None


class ExecAuth:
    """Tokens or client certificates from a credential plugin, kept until shortly before expiry.

    Not kubernetes-asyncio's provider: that one has no time limit, leaves its child running when
    it is cancelled, and waits for ever on a plugin that fills its error pipe first.
    """

    def __init__(
        self,
        plugin: ExecPlugin,
        *,
        clock: Clock,
        use_certificate: Callable[[bytes, bytes], None],
    ) -> None:
        self._plugin = plugin
        self._clock = clock
        self._use_certificate = use_certificate
        self._lock = asyncio.Lock()
        self._value: str | None = None
        self._expires: float | None = None

    async def header(self) -> str:
        async with self._lock:
            if self._value is None or self._expired():
                await self._run()
            return self._value or ""

    async def refresh(self) -> bool:
        async with self._lock:
            before = self._value
            await self._run()
            return self._value != before

    def _expired(self) -> bool:
        return self._expires is not None and self._clock.monotonic() >= self._expires

    async def _run(self) -> None:
        status = _credential_status(await self._output(), self._plugin.api_version)
        certificate, key = status.get("clientCertificateData"), status.get("clientKeyData")
        if certificate and key:
            self._use_certificate(str(certificate).encode(), str(key).encode())
        self._value = bearer(str(status.get("token") or ""))
        self._expires = None
        if status.get("expirationTimestamp"):
            with contextlib.suppress(ValueError):
                left = parse_time(str(status["expirationTimestamp"])) - self._clock.now()
                self._expires = self._clock.monotonic() + left.total_seconds() - _EXPIRY_MARGIN

    async def _output(self) -> bytes:
        info: dict[str, Any] = {"interactive": False}
        if self._plugin.cluster is not None:
            info["cluster"] = self._plugin.cluster
        request = {"apiVersion": self._plugin.api_version, "kind": "ExecCredential", "spec": info}
        # A plugin finds its own settings in the environment: this is inheritance, not a read.
        environment = {**os.environ, **dict(self._plugin.env)}
        environment["KUBERNETES_EXEC_INFO"] = orjson.dumps(request).decode()
        try:
            child = await asyncio.create_subprocess_exec(
                self._plugin.command,
                *self._plugin.args,
                env=environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
        except OSError as error:
            raise CredentialsError(
                f"cannot start the credential plugin {self._plugin.command!r}: {error.strerror}"
            ) from error
        return await self._finish(child)

    async def _finish(self, child: asyncio.subprocess.Process) -> bytes:
        try:
            async with asyncio.timeout(_EXEC_SECONDS):
                output, _ = await child.communicate()
        except TimeoutError:
            raise CredentialsError(
                f"the credential plugin {self._plugin.command!r} took more than {_EXEC_SECONDS:.0f} s"
            ) from None
        finally:
            if child.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    child.kill()
                await child.wait()
        if child.returncode:
            # What it printed may hold a secret: the exit code must do.
            raise CredentialsError(
                f"the credential plugin {self._plugin.command!r} failed with exit code"
                f" {child.returncode}"
            )
        return output


class ProviderAuth:
    """A header from a loader that knows how to renew it; asked again after 60 seconds."""

    def __init__(self, load: Callable[[], Awaitable[str]], *, clock: Clock) -> None:
        self._load = load
        self._clock = clock
        self._lock = asyncio.Lock()
        self._value = ""
        self._loaded_at = -_REREAD_SECONDS

    async def header(self) -> str:
        async with self._lock:
            if self._clock.monotonic() - self._loaded_at >= _REREAD_SECONDS or not self._value:
                await self._renew()
            return self._value

    async def refresh(self) -> bool:
        async with self._lock:
            before = self._value
            await self._renew()
            return self._value != before

    async def _renew(self) -> None:
        self._value = await self._load()
        self._loaded_at = self._clock.monotonic()


def _credential_status(output: bytes, api_version: str) -> dict[str, Any]:
    try:
        answer = orjson.loads(output)
    except orjson.JSONDecodeError:
        raise CredentialsError("the credential plugin did not print JSON") from None
    status = answer.get("status") if isinstance(answer, dict) else None
    if not isinstance(status, dict) or answer.get("apiVersion") != api_version:
        raise CredentialsError(
            f"the credential plugin did not print an ExecCredential of {api_version!r}"
        )
    return status
