"""NATS: one connection for one message, which the server has taken once it answers a ping.

https://docs.nats.io/reference/reference-protocols/nats-protocol; keys and credentials:
https://docs.nats.io/running-a-nats-service/configuration/securing_nats/auth_intro/nkey_auth.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from yarl import URL

from notification_controller.provider.answers import tls_problem
from notification_controller.provider.hooks import event_json
from notification_controller.provider.message import Message
from notification_controller.provider.outgoing import SendFailed
from notification_controller.provider.settings import Settings

__all__ = ["Connect", "nats"]

Connect = Callable[[str, int], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]
"""From host and port to a connection that the caller closes. Raises SendFailed."""

_PORT = 4222
_SUBJECT = re.compile(r"[^\s.*>]+(?:\.[^\s.*>]+)*")
_PART = re.compile(r"-{3,}\s*BEGIN [A-Z ]+-{3,}\s*(\S+)\s*-{3,}\s*END [A-Z ]+-{3,}")
_SEED, _USER = 18 << 3, 20 << 3
_SEED_BYTES = 36
_REFUSALS = ("authorization", "authentication", "permissions", "account", "maximum payload")
_MOST_LINES = 100


async def nats(
    message: Message, to: Settings, connect: Connect, *, tls: ssl.SSLContext | None
) -> None:
    """Publish the event on the subject that the channel names.

    Args:
        message: that is told.
        to: the Provider; ``creds`` win over ``nkey``, which wins over user and password.
        connect: makes the connection.
        tls: how TLS is spoken, where address or server want it.

    Raises:
        SendFailed: the Provider lacks something, or the server did not take it.

    """
    url, subject, proof = _address(to), to.need("channel"), _Proof(to)
    if not _SUBJECT.fullmatch(subject):
        raise SendFailed("the channel is not a subject of NATS", again=False)
    host, body = url.host or "", event_json(message.event)
    reader, writer = await connect(host, url.port or _PORT)
    try:
        info = _info(await _line(reader))
        if url.scheme == "tls" or info.get("tls_required") is True:
            await writer.start_tls(tls or ssl.create_default_context(), server_hostname=host)
        if len(body) > int(info.get("max_payload") or len(body)):
            raise SendFailed("the event is larger than the server takes", again=False)
        options = _OPTIONS | proof.shown(str(info.get("nonce") or ""))
        writer.write(b"CONNECT " + orjson.dumps(options) + b"\r\nPING\r\n")
        await _answered(reader, writer)
        writer.write(f"PUB {subject} {len(body)}\r\n".encode() + body + b"\r\nPING\r\n")
        await _answered(reader, writer)
    except (OSError, ValueError, EOFError) as error:
        raise SendFailed(tls_problem(error) or "the connection broke off", again=True) from error
    finally:
        writer.transport.abort()  # what was answered is there; nothing else is to be sent


_OPTIONS: dict[str, Any] = {
    "verbose": False,
    "pedantic": False,
    "echo": False,
    "name": "fluvial",
    "lang": "python",
    "version": "1",
    "protocol": 1,
}


class _Proof:
    """Who the Provider is to the server."""

    def __init__(self, to: Settings) -> None:
        self._jwt, self._key, self._public = "", None, ""
        self._login: dict[str, str] = {}
        if to.creds:
            parts = _PART.findall(to.creds)
            if len(parts) < 2:
                raise SendFailed("the Secret's creds are no credentials of NATS", again=False)
            self._jwt, seed = parts[0], parts[1]
            self._key, _ = _read_seed(seed, "creds")
        elif to.nkey:
            self._key, self._public = _read_seed(to.nkey, "nkey")
        elif to.username and to.password:
            self._login = {"user": to.username, "pass": to.password}

    def shown(self, nonce: str) -> dict[str, str]:
        """What proves it.

        Args:
            nonce: of the server.

        """
        if self._key is None:
            return self._login
        if not nonce:
            raise SendFailed("the server does not ask for a signature", again=False)
        signature = self._key.sign(nonce.encode())
        who = {"jwt": self._jwt} if self._jwt else {"nkey": self._public}
        return who | {"sig": base64.urlsafe_b64encode(signature).decode().rstrip("=")}


def _read_seed(text: str, name: str) -> tuple[Ed25519PrivateKey, str]:
    """Private key and public text of a user's seed."""
    problem = SendFailed(f"the Secret's {name} has no seed of a user of NATS", again=False)
    try:
        raw = base64.b32decode(text + "=" * (-len(text) % 8))
    except (binascii.Error, ValueError):
        raise problem from None
    if len(raw) != _SEED_BYTES or _checksum(raw[:-2]) != raw[-2:]:
        raise problem
    if raw[0] & 0xF8 != _SEED or ((raw[0] & 7) << 5 | raw[1] >> 3) != _USER:
        raise problem
    key = Ed25519PrivateKey.from_private_bytes(raw[2:-2])
    public = bytes([_USER]) + key.public_key().public_bytes_raw()
    return key, base64.b32encode(public + _checksum(public)).decode().rstrip("=")


def _checksum(data: bytes) -> bytes:
    return binascii.crc_hqx(data, 0).to_bytes(2, "little")


def _address(to: Settings) -> URL:
    if not to.address:
        raise SendFailed("a Provider of type nats needs an address, in spec or Secret", again=False)
    try:
        url = URL(to.address)
        valid = url.scheme in {"nats", "tls"} and bool(url.host) and not url.user
        valid = valid and "," not in to.address
    except ValueError:
        valid, url = False, URL()
    if not valid:
        raise SendFailed(
            "the address of a Provider of type nats must be nats:// or tls:// and one host;"
            " user and password are of the Secret",
            again=False,
        )
    return url


def _info(line: bytes) -> dict[str, Any]:
    name, _, rest = line.partition(b" ")
    try:
        found = orjson.loads(rest)
    except orjson.JSONDecodeError:
        found = None
    if name.upper() != b"INFO" or not isinstance(found, dict):
        raise SendFailed("the server does not speak NATS", again=False)
    return found


async def _answered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read until the answer to a ping."""
    await writer.drain()
    for _ in range(_MOST_LINES):
        line = await _line(reader)
        word = line.partition(b" ")[0].upper()
        if word == b"PONG":
            return
        if word == b"PING":
            writer.write(b"PONG\r\n")
        elif word == b"-ERR":
            said = line[5:].decode("utf-8", "replace").strip("' ")[:100]
            again = not said.lower().startswith(_REFUSALS)
            raise SendFailed(f"the server refuses: {said}", again=again)
    raise SendFailed("the server does not speak NATS", again=False)


async def _line(reader: asyncio.StreamReader) -> bytes:
    line = await reader.readline()
    if not line.endswith(b"\n"):
        raise EOFError
    return line.strip()
