"""Events on subjects of a real NATS server, and of servers that are none."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import os
import shutil
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fluvial.kube import kinds
from fluvial.net.tls import Tls, tls_context
from gitservers.certs import TestCA
from harness.outbound import loopback_dialer
from harness.receivers import ReceiverWorld
from harness.talks import about
from notification_controller.provider.hooks import event_json
from notification_controller.provider.nats import nats
from notification_controller.provider.outgoing import SendFailed
from notification_controller.provider.sender import Sender, Way
from notification_controller.provider.settings import Settings

SERVER = shutil.which("nats-server", path=f"{os.defpath}:/usr/sbin:/usr/local/bin")
_NEEDED = os.environ.get("FLUVIAL_REQUIRE_NATS") == "1"
real = pytest.mark.skipif(
    SERVER is None and not _NEEDED, reason="no nats-server; see tests/setup.sh"
)
ROBOT = '{user: robot, password: s3cr3t, permissions: {publish: "ops.>"}}'
WATCHER = "{user: watcher, password: w}"


class Key:
    """A key as NATS writes it: ``O``perator, ``A``ccount or ``U``ser."""

    def __init__(self, kind: str) -> None:
        self._key = Ed25519PrivateKey.generate()
        number = "ABCDEFGHIJKLMNOPQRSTUVWXYZ".index(kind) << 3
        public, seed = self._key.public_key().public_bytes_raw(), self._key.private_bytes_raw()
        self.public = self._text(bytes([number]) + public)
        self.seed = self._text(bytes([18 << 3 | number >> 5, (number & 31) << 3]) + seed)

    def token(self, subject: Key, **claims: Any) -> str:
        """A JWT about another key."""
        head = {"typ": "JWT", "alg": "ed25519-nkey"}
        body = {"jti": "x", "iat": int(time.time()), "iss": self.public, "sub": subject.public}
        body |= {"name": "test", "nats": {"version": 2, **claims}}
        text = f"{_packed(orjson.dumps(head))}.{_packed(orjson.dumps(body))}"
        return f"{text}.{_packed(self._key.sign(text.encode()))}"

    @staticmethod
    def _text(data: bytes) -> str:
        data += binascii.crc_hqx(data, 0).to_bytes(2, "little")
        return base64.b32encode(data).decode().rstrip("=")


def _packed(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def creds_of(token: str, seed: str) -> str:
    """A file of credentials as NATS' tool writes it."""
    return (
        f"-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n"
        "*** IMPORTANT ***\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    )


@asynccontextmanager
async def running(folder: Path, config: str) -> AsyncIterator[str]:
    """A real server; host and port."""
    assert SERVER is not None
    path, ports = folder / "nats.conf", folder / "ports"
    ports.mkdir(exist_ok=True)
    path.write_text(f'listen: "127.0.0.1:-1"\nports_file_dir: "{ports}"\n{config}\n')
    process = await asyncio.create_subprocess_exec(
        SERVER, "-c", str(path), stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(20):
            while not (found := [*ports.glob("*.ports")]) or not found[0].read_bytes():
                await asyncio.sleep(0.01)
        yield orjson.loads(found[0].read_bytes())["nats"][0].partition("://")[2]
    finally:
        process.terminate()
        await process.wait()


async def tell(where: str, *, tls: ssl.SSLContext | None = None, **fields: Any) -> None:
    scheme = fields.pop("scheme", "nats")
    given = {"channel": "ops.shop", "address": f"{scheme}://{where}"} | fields
    to = Settings(type="nats", **given)
    talk = partial(nats, about(), to, tls=tls)
    await Sender(loopback_dialer()).publish(talk, Way(), timeout=10.0, secrets=to.secrets)


@asynccontextmanager
async def watching(address: str, **options: str) -> AsyncIterator[Callable[[], Any]]:
    """A subscriber of all subjects; gives what waits for subject and body of a message."""
    host, _, port = address.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    await reader.readline()
    writer.write(b"CONNECT " + orjson.dumps({"verbose": False, **options}) + b"\r\n")
    writer.write(b"SUB > 1\r\nPING\r\n")
    assert (await reader.readline()).strip() == b"PONG"

    async def message() -> tuple[str, bytes]:
        async with asyncio.timeout(10):
            while (words := (await reader.readline()).split())[0] != b"MSG":
                pass
            return words[1].decode(), await reader.readexactly(int(words[-1]))

    yield message
    writer.close()
    await writer.wait_closed()


# --- what is not told ---------------------------------------------------------------------------------


@real
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"password": "s3cr3t-wrong"}, "Authorization Violation"),
        ({"username": "", "password": ""}, "Authorization Violation"),
        ({"channel": "other"}, "Permissions Violation"),
    ],
)
async def test_who_may_not(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    given = {"username": "robot", "password": "s3cr3t"} | change
    async with running(tmp_path, f"authorization {{ users: [{ROBOT}] }}") as address:
        with pytest.raises(SendFailed, match=said) as caught:
            await tell(address, **given)
    assert not caught.value.again
    assert "s3cr3t" not in str(caught.value)


@real
async def test_a_key_of_somebody_else(tmp_path: Path) -> None:
    own, other = Key("U"), Key("U")
    async with running(tmp_path, f"authorization {{ users: [{{nkey: {own.public}}}] }}") as address:
        with pytest.raises(SendFailed, match="Authorization Violation"):
            await tell(address, nkey=other.seed)


@real
async def test_an_authority_that_is_not_trusted(tmp_path: Path) -> None:
    async with running(tmp_path, _tls(tmp_path, TestCA("nats"))) as address:
        with pytest.raises(SendFailed, match="not trusted"):
            await tell(address, scheme="tls")


@real
async def test_tls_is_not_given_up(tmp_path: Path) -> None:
    async with running(tmp_path, "") as address:
        with pytest.raises(SendFailed, match="no TLS with the service"):
            await tell(address, scheme="tls", username="robot", password="s3cr3t")


async def test_nobody_is_there() -> None:
    with pytest.raises(SendFailed) as caught:
        await tell("127.0.0.1:1")
    assert caught.value.again


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"", "broke off"),
        (b"INFO {", "broke off"),
        (b"INFO {}\r\n", "broke off"),
        (b"INFO []\r\n", "does not speak NATS"),
        (b"SSH-2.0-OpenSSH\r\n", "does not speak NATS"),
        (b"x" * 100_000, "broke off"),
        (b'INFO {"max_payload": 10}\r\n', "larger than the server takes"),
        (b'INFO {"max_payload": "x"}\r\n', "broke off"),
        (b"INFO {}\r\n" + b"+OK\r\n" * 200, "does not speak NATS"),
        (b"INFO {}\r\n-ERR 'no s3cr3t \x1b[31m'\r\n", r"refuses: no \*\*\* \[31m"),
    ],
)
async def test_a_server_that_is_none(answer: bytes, said: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, EOFError):
            writer.write(answer)
            await writer.drain()
            if b"INFO {}" in answer:
                await reader.readuntil(b"PING\r\n")
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        ended.set()

    ended = asyncio.Event()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(SendFailed, match=said):
            await tell(f"127.0.0.1:{port}", username="robot", password="s3cr3t")
        async with asyncio.timeout(10):
            await ended.wait()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"address": ""}, "needs an address"),
        ({"address": "https://nats.example.com/secret"}, "must be nats://"),
        ({"address": "nats://robot:secret@nats.example.com"}, "must be nats://"),
        ({"address": "nats://a.example.com,nats://secret.example.com"}, "must be nats://"),
        ({"channel": ""}, "needs channel"),
        ({"channel": "a b"}, "not a subject"),
        ({"channel": "ops.*"}, "not a subject"),
        ({"channel": "ops.>"}, "not a subject"),
        ({"channel": "a\r\nPUB b"}, "not a subject"),
        ({"nkey": "secret"}, "nkey has no seed"),
        ({"nkey": Key("A").seed}, "nkey has no seed"),
        ({"nkey": Key("U").public}, "nkey has no seed"),
        ({"nkey": "A" + Key("U").seed[1:]}, "nkey has no seed"),
        ({"creds": "secret"}, "no credentials"),
        ({"creds": creds_of("secret", "secret")}, "creds has no seed"),
    ],
)
async def test_what_is_missing_or_none(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(SendFailed, match=said) as caught:
        await tell("127.0.0.1:1", **fields)
    assert not caught.value.again
    assert "secret" not in str(caught.value)


# --- what is ------------------------------------------------------------------------------------------


@real
async def test_an_event_by_user_and_password(tmp_path: Path) -> None:
    async with running(tmp_path, f"authorization {{ users: [{ROBOT}, {WATCHER}] }}") as address:
        options = {"user": "watcher", "pass": "w"}
        async with watching(address, **options) as message:
            await tell(address, username="robot", password="s3cr3t")

            assert await message() == ("ops.shop", event_json(about().event))


@real
async def test_an_event_by_a_key(tmp_path: Path) -> None:
    key = Key("U")
    users = f"[{{nkey: {key.public}}}, {WATCHER}]"
    async with (
        running(tmp_path, f"authorization {{ users: {users} }}") as address,
        watching(address, **{"user": "watcher", "pass": "w"}) as message,
    ):
        await tell(address, nkey=key.seed, username="nobody", password="x")

        assert (await message())[0] == "ops.shop"


@real
async def test_an_event_by_credentials(tmp_path: Path) -> None:
    """The server takes them only if token and signature are right."""
    operator, account, user = Key("O"), Key("A"), Key("U")
    limits = dict.fromkeys(("subs", "conn", "leaf", "imports", "exports", "data", "payload"), -1)
    config = (
        f"operator: {operator.token(operator, type='operator')}\n"
        "resolver: MEMORY\n"
        f"resolver_preload: {{ {account.public}:"
        f" {operator.token(account, type='account', limits=limits)} }}\n"
    )
    free = {"subs": -1, "data": -1, "payload": -1}
    creds = creds_of(account.token(user, type="user", **free), user.seed)
    async with running(tmp_path, config) as address:
        await tell(address, creds=creds)
        with pytest.raises(SendFailed, match="Authorization Violation"):
            await tell(address, creds=creds_of(account.token(Key("U"), type="user"), user.seed))


@real
@pytest.mark.parametrize("scheme", ["nats", "tls"])
async def test_an_event_over_tls(tmp_path: Path, scheme: str) -> None:
    ca = TestCA("nats")
    tls = tls_context(Tls(ca=ca.pem))
    async with running(tmp_path, _tls(tmp_path, ca)) as address:
        await tell(address, tls=tls, scheme=scheme)


def _tls(folder: Path, ca: TestCA) -> str:
    ca.server_context(folder)
    return f'tls {{ cert_file: "{folder}/server.pem", key_file: "{folder}/server.pem" }}'


@real
async def test_from_an_event_to_a_subject(tmp_path: Path) -> None:
    key = Key("U")
    users = f"[{{nkey: {key.public}}}, {WATCHER}]"
    async with (
        running(tmp_path, f"authorization {{ users: {users} }}") as address,
        watching(address, **{"user": "watcher", "pass": "w"}) as message,
        ReceiverWorld.start(tmp_path) as world,
    ):
        data = {"nkey": base64.b64encode(key.seed.encode()).decode()}
        await world.apply(kinds.SECRET, "team", "nats", data=data)
        spec = {
            "type": "nats",
            "address": f"nats://{address}",
            "channel": "ops.shop",
            "secretRef": {"name": "nats"},
        }
        await world.apply(kinds.PROVIDER, "team", "nats", spec=spec)
        sources = [{"kind": "GitRepository", "name": "*"}]
        alert = {"providerRef": {"name": "nats"}, "eventSources": sources}
        await world.apply(kinds.ALERT, "team", "nats", spec=alert)
        await world.controller.wait_followed()
        assert await world.report(1) == 202

        subject, body = await message()
        assert (subject, orjson.loads(body)["message"]) == ("ops.shop", "message 1")
