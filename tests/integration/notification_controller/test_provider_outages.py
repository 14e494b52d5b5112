"""Services that are away, busy, elsewhere or not trusted, for types that send in different ways.

``generic`` and ``slack`` send one request, ``otel`` reads what a success says, ``github`` and
``gitlabmergerequestcomment`` look before they write, ``nats`` speaks no HTTP.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
from aiohttp import web

from fluvial.net.tls import Tls, tls_context
from gitservers.certs import TestCA
from harness.outbound import loopback_dialer
from harness.talks import about
from notification_controller.provider.nats import nats
from notification_controller.provider.outgoing import SendFailed
from notification_controller.provider.sender import Sender, Way
from notification_controller.provider.settings import Settings
from notification_controller.provider.types import tell

TOKEN = "s3cr3t-token"
PATHS = {
    "generic": "/hook",
    "slack": "/api/chat.postMessage",
    "otel": "",
    "github": "/org/app",
    "gitlabmergerequestcomment": "/group/app",
}
TYPES = sorted(PATHS)
DATE = "Mon, 23 Nov 2026 10:00:00 GMT"
LATER = "Mon, 23 Nov 2026 10:01:30 GMT"


@dataclass
class Service:
    """A server that answers all alike.

    Attributes:
        host: and port.
        asked: authorization of each request.

    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    host: str = ""
    asked: list[str] = field(default_factory=list)

    @asynccontextmanager
    async def running(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[Service]:
        runner = web.ServerRunner(web.Server(self._serve))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        self.host = f"127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _serve(self, request: web.BaseRequest) -> web.Response:
        shown = ("Authorization", "PRIVATE-TOKEN")
        self.asked.append("".join(request.headers.get(name, "") for name in shown))
        return web.Response(status=self.status, headers=dict(self.headers), text=f"no {TOKEN}")


async def send(
    type_: str, host: str, *, scheme: str = "http", tls: Tls | None = None
) -> SendFailed:
    """How sending to a host fails."""
    message, context = about(change_request="7"), tls_context(tls or Tls())
    sender, way = Sender(loopback_dialer()), Way(tls=context)
    if type_ == "nats":
        address = f"{'tls' if scheme == 'https' else 'nats'}://{host}"
        to = Settings(type=type_, address=address, channel="a", username="u", password=TOKEN)
        publish = partial(nats, message, to, tls=context)
        sending = sender.publish(publish, way, timeout=10.0, secrets=to.secrets)
    else:
        address = f"{scheme}://{host}{PATHS[type_]}"
        to = Settings(type=type_, address=address, token=TOKEN, channel="c")
        talk = partial(tell, message, to)
        sending = sender.send(talk, way, timeout=10.0, secrets=to.secrets)
    with pytest.raises(SendFailed) as caught:
        await sending
    assert TOKEN not in str(caught.value)
    return caught.value


@asynccontextmanager
async def nobody() -> AsyncIterator[str]:
    """A host where nobody listens, and nobody else comes to."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0, start_serving=False)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await server.wait_closed()


# --- away and busy --------------------------------------------------------------------------------


@pytest.mark.parametrize("type_", [*TYPES, "nats"])
async def test_a_service_that_does_not_listen_is_tried_again(type_: str) -> None:
    async with nobody() as host:
        error = await send(type_, host)

    assert error.again
    assert error.after == 0


@pytest.mark.parametrize("type_", TYPES)
async def test_what_is_said_again_and_what_is_not(type_: str) -> None:
    service = Service()
    async with service.running():
        for service.status in (500, 502, 503, 504, 408, 429):
            error = await send(type_, service.host)
            assert (error.again, error.after) == (True, 0)
            assert f"answers {service.status}: no ***" in str(error)
        service.asked.clear()
        for service.status in (400, 401, 403, 404, 410, 422):
            assert not (await send(type_, service.host)).again

    assert len(service.asked) == 6


_SAID: list[tuple[int, dict[str, str], float]] = [
    (429, {"Retry-After": "7"}, 7),
    (503, {"Retry-After": "7.5"}, 7.5),
    (429, {"Retry-After": "999999"}, 600),
    (429, {"Retry-After": "-1"}, 0),
    (429, {"Retry-After": "nan"}, 0),
    (429, {"Retry-After": "soon"}, 0),
    (429, {"Retry-After": LATER, "Date": DATE}, 90),
    (503, {"Retry-After": DATE, "Date": LATER}, 0),
    (403, {"Retry-After": "60"}, 60),
    (403, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1795428045", "Date": DATE}, 45),
    (429, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "x", "Date": DATE}, 0),
]


@pytest.mark.parametrize("type_", ["github", "slack"])
async def test_a_service_that_says_when(type_: str) -> None:
    """RFC 9110, 10.2.3; https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api

    GitHub tells by 403, too, that there were too many requests.
    """
    async with Service().running() as service:
        for service.status, service.headers, after in _SAID:
            error = await send(type_, service.host)
            assert (error.again, error.after) == (True, after), service.headers


# --- elsewhere ------------------------------------------------------------------------------------


@pytest.mark.parametrize("type_", TYPES)
async def test_credentials_go_to_nobody_else(type_: str) -> None:
    """Nor to another port of the same host."""
    async with Service().running() as other, Service().running() as service:
        service.headers = {"Location": f"http://{other.host}/x"}
        for service.status in (301, 302, 303, 307, 308):
            error = await send(type_, service.host)
            assert "redirects" in str(error)
            assert not error.again

        assert [TOKEN in shown for shown in service.asked] == [type_ != "generic"] * 5
        assert other.asked == []


# --- not trusted ----------------------------------------------------------------------------------


@pytest.mark.parametrize("type_", ["generic", "github"])
async def test_an_authority_that_nobody_knows(type_: str, tmp_path: Path) -> None:
    async with Service().running(TestCA("other").server_context(tmp_path)) as service:
        error = await send(type_, service.host, scheme="https", tls=Tls(ca=TestCA().pem))

    assert str(error).startswith("the certificate is not trusted: ")
    assert "issuer" in str(error) or "self-signed" in str(error)
    assert service.asked == []


@pytest.mark.parametrize("type_", ["generic", "github"])
async def test_a_certificate_of_another_host(type_: str, tmp_path: Path) -> None:
    ca = TestCA()
    async with Service().running(ca.server_context(tmp_path, addresses=())) as service:
        error = await send(type_, service.host, scheme="https", tls=Tls(ca=ca.pem))

    assert "the certificate is not trusted: IP address mismatch" in str(error)
    assert service.asked == []


@pytest.mark.parametrize("type_", ["generic", "github"])
async def test_no_tls_at_all(type_: str) -> None:
    async with Service().running() as service:
        error = await send(type_, service.host, scheme="https")

    assert str(error).startswith("no TLS with the service: ")
    assert error.again
    assert service.asked == []


@pytest.mark.parametrize("type_", ["generic", "github"])
async def test_a_client_certificate_that_is_missing(type_: str, tmp_path: Path) -> None:
    ca = TestCA()
    context = ca.server_context(tmp_path)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=ca.pem)
    async with Service().running(context) as service:
        error = await send(type_, service.host, scheme="https", tls=Tls(ca=ca.pem))

    assert error.again, "servers end the connection, and not all say why"
    assert service.asked == []


async def test_nats_with_an_authority_that_nobody_knows(tmp_path: Path) -> None:
    context, greeted = TestCA("other").server_context(tmp_path), asyncio.Event()

    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"max_payload":1000000,"tls_required":true}\r\n')
        with contextlib.suppress(OSError):
            await writer.start_tls(context)
        writer.close()
        greeted.set()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        host = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        error = await send("nats", host, scheme="https", tls=Tls(ca=TestCA().pem))
        async with asyncio.timeout(20):
            await greeted.wait()

    assert str(error).startswith("the certificate is not trusted: ")
