"""Questions to the public services of clouds: one connection each, bounded, never redirected.

Who gives a token gives it to exactly the host that was asked, so an answer that leads elsewhere
is refused. Every connection goes through the dialer; the environment counts for nothing.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, quote_plus, urlencode

import aiohttp
import orjson
from yarl import URL

from fluvial.cloud.errors import CloudError, InvalidIdentity, LoginRefused, LoginUnreachable
from fluvial.cloud.model import DIRECT, Way
from fluvial.net.dialer import Dialer
from fluvial.net.errors import net_error
from fluvial.net.tls import InvalidTls, Tls, tls_context

__all__ = ["Answer", "CloudHttp", "Question", "exchange", "system_trust"]

_MAX_ANSWER = 256 << 10
_SECONDS = 30.0
_SHOWN = 200
_HEADERS = {"User-Agent": "fluvial", "Accept-Encoding": "identity"}

Trust = Callable[[str], ssl.SSLContext]
"""From the PEM of further authorities, or ``""``, to how TLS is spoken. Blocks."""


@dataclass(frozen=True, slots=True)
class Question:
    """One request.

    Attributes:
        what: that is asked for, for messages: ``a token of sts.amazonaws.com``.
        secrets: texts in it that no message may repeat.

    """

    method: str
    url: URL
    what: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)

    @classmethod
    def form(
        cls,
        url: URL,
        fields: Mapping[str, str],
        *,
        what: str,
        secrets: tuple[str, ...] = (),
        accept: str = "application/json",
    ) -> Question:
        """A POST of form fields."""
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": accept}
        return cls("POST", url, what, headers, urlencode(fields).encode(), secrets)

    @classmethod
    def json(
        cls,
        url: URL,
        document: Mapping[str, Any],
        *,
        what: str,
        headers: Mapping[str, str] | None = None,
        secrets: tuple[str, ...] = (),
    ) -> Question:
        """A POST of a JSON document, answered by JSON."""
        sent = {"Content-Type": "application/json", "Accept": "application/json"}
        return cls("POST", url, what, {**sent, **(headers or {})}, orjson.dumps(document), secrets)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    question: Question
    status: int
    body: bytes = field(repr=False)

    def json(self) -> dict[str, Any]:
        """The document of a successful answer.

        Raises:
            LoginRefused: it is none; with the service's error code and explanation.
            LoginUnreachable: it is not a JSON object.

        """
        if not 200 <= self.status < 300:
            raise self.refused(*_json_error(self.body))
        try:
            document = orjson.loads(self.body)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise self.unreadable()
        return document

    def text_of(self, document: Mapping[str, Any], *names: str) -> str:
        """The first of some fields that is a token: printable, ASCII, not empty.

        Raises:
            LoginUnreachable: none is.

        """
        for name in names:
            value = document.get(name)
            if isinstance(value, str) and value and value.isascii() and value.isprintable():
                return value
        raise LoginUnreachable(f"{self.question.url.host} answered without {self.question.what}")

    def refused(self, code: str, explanation: str) -> LoginRefused:
        """The error of an answer that says no.

        Args:
            code: the service's.
            explanation: the service's; shortened, and without what the question kept secret.

        """
        # Entra ID ends with ids and a time, which would make every failure a new one.
        said = explanation.partition("Trace ID:")[0]
        detail = " ".join(f"{code}: {said}".strip(": ").split())
        for secret in filter(None, self.question.secrets):
            for form in (secret, quote(secret, safe=""), quote_plus(secret)):
                detail = detail.replace(form, "***")
        shown = "".join(char for char in detail if char.isprintable())[:_SHOWN]
        host = self.question.url.host
        text = f"{host} refused {self.question.what} with status {self.status}"
        return LoginRefused(f"{text}: {shown}" if shown else text, status=self.status)

    def unreadable(self) -> LoginUnreachable:
        """The error of an answer that is not what it should be."""
        host = self.question.url.host
        return LoginUnreachable(f"{host} gave an answer for {self.question.what} that is not valid")


class CloudHttp:
    """Asks.

    Args:
        dialer: makes the connections.
        trust: see ``Trust``; tests give their own.

    """

    def __init__(self, dialer: Dialer, *, trust: Trust | None = None) -> None:
        self._dialer = dialer
        self._trust = trust or system_trust

    async def ask(self, question: Question, *, way: Way = DIRECT) -> Answer:
        """The answer, whatever its status, unless it is a redirect.

        Args:
            question: to an ``https`` address.
            way: proxy and authorities.

        Raises:
            LoginUnreachable: there is no answer, or one that is too large or leads elsewhere.
            InvalidIdentity: the address is not https, or the authorities cannot be used.

        """
        if question.url.scheme != "https" or question.url.user or not question.url.host:
            raise InvalidIdentity(f"{question.what} can be asked for over https only")
        context = await asyncio.to_thread(self._trust, way.ca)
        connector = self._dialer.connector(tls=context, proxy=way.proxy)
        return await exchange(question, connector)


async def exchange(
    question: Question, connector: aiohttp.BaseConnector, *, seconds: float = _SECONDS
) -> Answer:
    """One request over a connector, which is closed.

    Raises:
        LoginUnreachable: see ``CloudHttp.ask``.

    """
    host = question.url.host
    try:
        async with (
            asyncio.timeout(seconds),
            aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                auto_decompress=False,
                timeout=aiohttp.ClientTimeout(total=None),
                headers=_HEADERS,
            ) as session,
            session.request(
                question.method,
                question.url,
                headers=question.headers,
                data=question.body or None,
                allow_redirects=False,
            ) as response,
        ):
            if 300 <= response.status < 400:
                raise LoginUnreachable(f"{host} redirects instead of giving {question.what}")
            body = await _read(response, question)
            return Answer(question, response.status, body)
    except CloudError:
        raise
    except TimeoutError as error:
        raise LoginUnreachable(
            f"{host} did not give {question.what} within {seconds:g}s"
        ) from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise LoginUnreachable(
            f"{host} could not be asked for {question.what}: {_why(error)}"
        ) from error


async def _read(response: aiohttp.ClientResponse, question: Question) -> bytes:
    if response.headers.get("Content-Encoding", "identity").lower() not in {"", "identity"}:
        raise LoginUnreachable(f"{question.url.host} answered in an encoding nobody asked for")
    body = b""
    async for block in response.content.iter_chunked(1 << 16):
        body += block
        if len(body) > _MAX_ANSWER:
            raise LoginUnreachable(f"{question.url.host} answered with more than any token needs")
    return body


def _why(error: BaseException) -> str:
    """What happened, in words that quote nothing of the request."""
    ours = net_error(error)
    if ours is not None:
        return str(ours)
    if isinstance(error, (aiohttp.ClientConnectorCertificateError, ssl.SSLCertVerificationError)):
        return "its certificate is not trusted"
    if isinstance(error, aiohttp.ClientConnectorError):
        return "it cannot be connected to"
    return "the connection broke off"


def _json_error(body: bytes) -> tuple[str, str]:
    """Code and explanation of an OAuth, Google, GitHub or AWS error, as far as there are any."""
    try:
        document = orjson.loads(body)
    except ValueError:
        return "", ""
    if not isinstance(document, dict):
        return "", ""
    error = document.get("error")
    if isinstance(error, dict):
        document = error
        error = document.get("status")
    code = error or document.get("code") or document.get("Code") or document.get("__type") or ""
    explanation = document.get("error_description") or document.get("message") or ""
    explanation = explanation or document.get("Message") or ""
    return (
        code.rpartition("#")[2] if isinstance(code, str) else "",
        explanation if isinstance(explanation, str) else "",
    )


def system_trust(ca: str) -> ssl.SSLContext:
    """The system's authorities and, if given, some more. Blocks.

    Raises:
        InvalidIdentity: the PEM holds no certificate.

    """
    try:
        return tls_context(Tls(ca=ca))
    except InvalidTls as error:
        raise InvalidIdentity(str(error)) from None
