"""The two servers of notification-controller over sockets, with nothing behind them, to be fuzzed.

Everything that a proof asks is there and answers from memory: Secrets, an issuer of tokens with a
real key, expressions. What would be woken is written down instead.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast, get_args

import jwt
import orjson
import structlog
from cryptography.hazmat.primitives.asymmetric import rsa

from fluvial.api.notification import Receiver, ReceiverType
from fluvial.clock import RealClock
from fluvial.kube.client import KubeClient
from fluvial.kube.errors import NotFound
from fluvial.kube.resource import Resource
from fluvial.kube.store import Store
from fluvial.log import Logger, setup_logging
from fluvial.objects import JsonObject, ObjectKey
from fluvial.runtime.listen import listen
from fluvial.runtime.metrics import Metrics
from notification_controller.event.limiter import EventLimiter
from notification_controller.event.model import Event
from notification_controller.event.server import EventServer
from notification_controller.proof.oidc import Issuers
from notification_controller.receiver.memory import Deliveries, Refusals
from notification_controller.receiver.path import webhook_path
from notification_controller.receiver.server import ReceiverServer
from notification_controller.receiver.triggers import INDEXES

__all__ = ["AUDIENCE", "ISSUER", "TYPES", "Answer", "Hooks", "Request", "hooks", "type_of"]

TYPES: tuple[str, ...] = get_args(ReceiverType)
ISSUER = "https://issuer.example.com"
AUDIENCE = "notification-controller"
EMAIL = "pusher@example.iam.gserviceaccount.com"
_GOOGLE = "https://accounts.google.com"
_NAMESPACE = "team"
_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Request:
    """What goes over the socket.

    Attributes:
        headers: names and values as bytes; the length is added.
        cut: whether the connection is closed before the body is complete.
        chunks: what is sent in place of the body, in chunks that may be malformed.

    """

    path: str
    headers: Sequence[tuple[bytes, bytes]] = ()
    body: bytes = b""
    method: str = "POST"
    cut: bool = False
    chunks: bytes | None = None

    def encoded(self) -> bytes:
        """All of it."""
        lines = [f"{self.method} {self.path} HTTP/1.1".encode("latin-1"), b"Host: here"]
        lines += [name + b": " + value for name, value in self.headers]
        if self.chunks is None:
            lines.append(b"Content-Length: %d" % (len(self.body) + (1 if self.cut else 0)))
        else:
            lines.append(b"Transfer-Encoding: chunked")
        sent = self.body if self.chunks is None else self.chunks
        return b"\r\n".join(lines) + b"\r\n\r\n" + sent


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a request.

    Attributes:
        status: 0 where the connection was closed without one.
        woken: names of the Receivers whose objects were woken.

    """

    status: int
    body: bytes
    woken: tuple[str, ...]


@dataclass
class Hooks:
    """The servers.

    Attributes:
        tokens: of each Receiver, by name; the name is the type, with ``-empty`` where its token is,
            or with ``-never`` where it lists an event that never comes.
        paths: of each Receiver.
        key: of the issuer.
        taken: events that the event server passed on.
        errors: what the servers could not deal with.
        good: a token that is good for each type that takes tokens of issuers.
        asked: how often a server asked for a body that it could have waited for.

    """

    tokens: dict[str, bytes]
    paths: dict[str, str]
    key: rsa.RSAPrivateKey
    taken: list[Event] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    good: dict[str, str] = field(default_factory=dict)
    asked: int = 0
    ports: list[int] = field(default_factory=list)
    _woken: list[str] = field(default_factory=list)
    _open: dict[int, tuple[asyncio.StreamReader, asyncio.StreamWriter]] = field(
        default_factory=dict
    )

    def token(self, **claims: Any) -> str:
        """A token of the issuer that is good but for what is said."""
        now = int(time.time())
        good = {"iss": ISSUER, "aud": AUDIENCE, "sub": "repo:team/app", "exp": now + 86_400}
        return jwt.encode(good | claims, self.key, algorithm="RS256", headers={"kid": "one"})

    async def call(self, request: Request) -> Answer:
        """Call a webhook."""
        self._woken.clear()
        # What follows malformed chunks, or the head of a HEAD, would be read as something else.
        close = request.cut or request.chunks is not None or request.method == "HEAD"
        status, body = await self._exchange(0, request.encoded(), close=close)
        return Answer(status, body, tuple(self._woken))

    async def raw(self, data: bytes, *, server: int = 0) -> Answer:
        """Send bytes that may be no request; 0 is the webhook server, 1 the event server."""
        self._woken.clear()
        status, body = await self._exchange(server, data, close=True)
        return Answer(status, body, tuple(self._woken))

    async def post(self, body: bytes, *headers: tuple[bytes, bytes]) -> Answer:
        """Post an event."""
        status, said = await self._exchange(1, Request("/", headers, body).encoded(), close=False)
        return Answer(status, said, ())

    async def wake(self, receiver: Receiver, _request: Any, _claims: Any) -> list[ObjectKey]:
        """In place of ``Waking``."""
        self._woken.append(receiver.metadata.name)
        return []

    async def _exchange(self, server: int, data: bytes, *, close: bool) -> tuple[int, bytes]:
        if close and server in self._open:
            self._open.pop(server)[1].close()
        for is_again in (False, True):
            fresh = server not in self._open
            if fresh:
                self._open[server] = await asyncio.open_connection("127.0.0.1", self.ports[server])
            reader, writer = self._open[server]
            answer = b""
            with contextlib.suppress(ConnectionError):
                writer.write(data)
                if close:
                    writer.write_eof()
                async with asyncio.timeout(_SECONDS):
                    answer = await _read(reader)
                    if answer.startswith(b"HTTP/1.1 100 "):
                        self.asked += 1
                        answer = await _read(reader)
            head, _, body = answer.partition(b"\r\n\r\n")
            if close or not answer or b"connection: close" in head.lower():
                self._open.pop(server)[1].close()
            if answer or fresh or is_again:
                return (int(head.split(b" ", 2)[1]), body) if answer else (0, b"")
        raise AssertionError("unreachable")

    async def close(self) -> None:
        """Close what is open."""
        for _, writer in self._open.values():
            writer.close()


async def _read(reader: asyncio.StreamReader) -> bytes:
    """One answer, or nothing where the connection was closed."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return b""
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    length = int(lengths[0].partition(b":")[2]) if lengths else 0
    body = b""
    while len(body) < length and (block := await reader.read(length - len(body))):
        body += block
    return head + body


class _Unlimited(Refusals):
    """Everybody may try as often as he likes."""

    def too_many(self, caller: str, address: str) -> bool:
        return False


class _Errors(logging.Handler):
    def __init__(self, errors: list[str]) -> None:
        super().__init__(logging.ERROR)
        self._errors = errors

    def emit(self, record: logging.LogRecord) -> None:
        self._errors.append(record.getMessage() + repr(record.exc_info))


@asynccontextmanager
async def hooks() -> AsyncIterator[Hooks]:
    """Serve; Receivers of each type, also with empty tokens, and with events that never come."""
    names = [*TYPES, *(f"{type_}-empty" for type_ in TYPES if type_ != "generic-oidc")]
    names += [f"{type_}-never" for type_ in ("github", "gitlab", "bitbucket", "cdevents")]
    tokens = {name: b"" if "-empty" in name else f"token of {name}".encode() for name in names}
    tokens["generic-oidc"] = b""
    paths = {name: webhook_path(tokens[name], ObjectKey(_NAMESPACE, name)) for name in names}
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    found = Hooks(tokens, paths, key)
    google = found.token(iss=_GOOGLE, email=EMAIL, email_verified=True)
    found.good.update({"generic-oidc": found.token(), "gcr": google})
    store = Store(INDEXES)
    for name in names:
        store.put(_receiver(name, paths[name]))
    clock, log, metrics = RealClock(), _logger(), Metrics()
    secrets = {
        name: {"token": token, "email": EMAIL.encode(), "audience": AUDIENCE.encode()}
        for name, token in tokens.items()
        if name != "generic-oidc"
    }
    server = ReceiverServer(
        client=cast("KubeClient", SimpleNamespace(get=_getter(secrets))),
        store=store,
        waking=cast("Any", found),
        issuers=Issuers(cast("Any", SimpleNamespace(ask=_asked(key))), clock),
        cel=cast("Any", SimpleNamespace(validate=_validate)),
        deliveries=Deliveries(clock),
        refusals=_Unlimited(clock),
        log=log,
    )
    events = EventServer(EventLimiter(clock, 300), found.taken.append, log)
    handler = _Errors(found.errors)
    async with AsyncExitStack() as stack:
        for name in ("aiohttp", "asyncio", "fluvial.server"):
            logging.getLogger(name).addHandler(handler)
            stack.callback(logging.getLogger(name).removeHandler, handler)
        for app in (server.app(metrics, clock), events.app(metrics, clock)):
            address = await listen(stack, app, "127.0.0.1:0")
            found.ports.append(int(address.rpartition(":")[2]))
        stack.push_async_callback(found.close)
        yield found


def _logger() -> Logger:
    """One that writes as the controller does, to nowhere: a line that fails is an error, too."""
    setup_logging()
    config = structlog.get_config()
    structlog.reset_defaults()
    logger: Logger = structlog.wrap_logger(
        structlog.BytesLogger(_Nowhere()),
        processors=config["processors"],
        wrapper_class=config["wrapper_class"],
    )
    return logger


class _Nowhere(io.BytesIO):
    def write(self, data: Any) -> int:
        return len(data)


def type_of(name: str) -> str:
    """Of a Receiver."""
    return name.removesuffix("-empty").removesuffix("-never")


def _receiver(name: str, path: str) -> JsonObject:
    type_ = type_of(name)
    spec: JsonObject = {"type": type_, "resources": [{"kind": "GitRepository", "name": "app"}]}
    if name.endswith("-never"):
        spec["events"] = ["never"]
    if type_ == "generic-oidc":
        admits = {"expression": "claims.sub == 'repo:team/app'", "message": "no"}
        spec["oidcProviders"] = [{"issuerURL": ISSUER, "validations": [admits]}]
    else:
        spec["secretRef"] = {"name": name}
    ready = {
        "type": "Ready",
        "status": "True",
        "reason": "Succeeded",
        "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    return {
        "metadata": {"name": name, "namespace": _NAMESPACE, "uid": name, "resourceVersion": "1"},
        "spec": spec,
        "status": {"webhookPath": path, "conditions": [ready]},
    }


def _getter(secrets: Mapping[str, Mapping[str, bytes]]) -> Any:

    async def get(resource: Resource, key: ObjectKey) -> JsonObject:
        if key.name not in secrets:
            raise NotFound(f"{resource.plural} {key}", status=404, reason="NotFound")
        return {"data": {k: b64encode(v).decode() for k, v in secrets[key.name].items()}}

    return get


def _asked(key: rsa.RSAPrivateKey) -> Any:
    public = orjson.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key()))
    keys = {"keys": [{**public, "kid": "one", "alg": "RS256", "use": "sig"}]}

    async def ask(question: Any) -> Any:
        is_discovery = str(question.url).endswith("openid-configuration")
        said = {"issuer": ISSUER, "jwks_uri": f"{ISSUER}/keys"} if is_discovery else keys
        return SimpleNamespace(json=lambda: said)

    return ask


async def _validate(_: Any, conditions: Sequence[Any], *, data: Any, namespace: str) -> list[bool]:
    assert namespace == _NAMESPACE
    return [data["claims"].get("sub") == "repo:team/app" for _ in conditions]
