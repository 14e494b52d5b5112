"""What a service can do to who asks it: be silent, break off, talk nonsense, repeat secrets."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from yarl import URL

from fluvial.cloud.errors import InvalidIdentity, LoginUnreachable
from fluvial.cloud.http import Answer, CloudHttp, Question, exchange, system_trust
from fluvial.net.dialer import Dialer
from fluvial.net.policy import AddressPolicy

SECRET = "s3cret-token"


@asynccontextmanager
async def served(answer: bytes | None) -> AsyncIterator[URL]:
    """A server with one answer to everything, or with none."""

    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            if answer is None:
                await reader.read()
            else:
                writer.write(answer)
        writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.create_task(serve(reader, writer), name="serve"))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    async with server:
        yield URL(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/token")
        await asyncio.gather(*serving)


def question(url: URL) -> Question:
    return Question("GET", url, "a token", {"Authorization": f"Bearer {SECRET}"}, b"", (SECRET,))


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (None, "did not give a token within 0.05s"),
        (b"", "the connection broke off"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}", "the connection broke off"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "the connection broke off"),
        (b"HTTP/1.1 307 x\r\nLocation: http://169.254.169.254/\r\n\r\n", "redirects instead of"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n", "encoding nobody asked for"),
        (b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\n" + b"A: " + b"b" * 99_999, "broke off"),
    ],
    ids=["silence", "nothing", "cut", "no HTTP", "redirect", "encoding", "endless header"],
)
async def test_no_answer_is_said_in_our_words(answer: bytes | None, text: str) -> None:
    async with served(answer) as url:
        with pytest.raises(LoginUnreachable, match=text) as caught:
            await exchange(
                question(url), aiohttp.TCPConnector(), seconds=0.05 if answer is None else 5
            )

    assert SECRET not in str(caught.value)


async def test_nobody_there() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = URL(f"http://127.0.0.1:{taken.getsockname()[1]}/")
        with pytest.raises(LoginUnreachable, match="cannot be connected to"):
            await exchange(question(url), aiohttp.TCPConnector(), seconds=5)


@pytest.mark.parametrize(
    "url", ["http://sts.amazonaws.com/", "https://u:p@sts.amazonaws.com/", "ftp://x/", "/token"]
)
async def test_public_services_are_asked_over_https_only(url: str) -> None:
    http = CloudHttp(Dialer(AddressPolicy.build()))
    with pytest.raises(InvalidIdentity, match="over https only"):
        await http.ask(question(URL(url)))


def test_authorities_are_certificates() -> None:
    with pytest.raises(InvalidIdentity, match="holds no certificate"):
        system_trust("nonsense")

    assert system_trust("") is system_trust("")


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"error": "e", "error_description": "d"}', "e: d"),
        (b'{"error": {"status": "S", "message": "m"}}', "S: m"),
        (b'{"message": "m"}', "m"),
        (b'{"__type": "com.amazon#UnrecognizedClientException", "message": "m"}', "Unr"),
        (b'{"error": ["e"], "message": {"m": 1}}', ""),
        (b'{"message": "%s"}' % SECRET.encode(), r"\*\*\*"),
        (b'{"message": "a\\u0000b\\nc"}', "ab c"),
        (b"[]", ""),
        (b"", ""),
    ],
)
def test_of_a_refusal_code_and_text_are_told(body: bytes, text: str) -> None:
    answer = Answer(question(URL("https://sts.amazonaws.com/")), 400, body)
    with pytest.raises(Exception, match=f"refused a token with status 400.*{text}") as caught:
        answer.json()

    assert SECRET not in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("shown", ["a b/c+d", "a%20b%2Fc%2Bd", "a+b%2Fc%2Bd"])
def test_a_secret_is_masked_as_it_was_sent(shown: str) -> None:
    asked = Question.form(URL("https://x.example/"), {}, what="a token", secrets=("a b/c+d", ""))
    refused = Answer(asked, 400, b"").refused("code", f"your secret {shown} is wrong")

    assert str(refused).endswith("code: your secret *** is wrong")


def test_a_long_text_is_cut() -> None:
    answer = Answer(question(URL("https://sts.amazonaws.com/")), 400, b"")

    assert len(str(answer.refused("code", "x" * 10_000))) < 300
