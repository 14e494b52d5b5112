"""A registry in process: correct by default, hostile on demand, with tokens if asked for.

It answers as the distribution specification says (pull, tags with pages, referrers); tests change
single answers by ``hooks``.
"""

from __future__ import annotations

import asyncio
import base64
import secrets
import ssl
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import orjson
from aiohttp import web

from registries.images import INDEX, Image, descriptor

__all__ = ["FakeRegistry", "Seen"]

Hook = Callable[[web.Request], Awaitable[web.StreamResponse | None]]


class Seen:
    """One request that was answered."""

    def __init__(self, request: web.Request) -> None:
        self.method = request.method
        self.path = request.path
        self.query = dict(request.query)
        self.authorization = request.headers.get("Authorization", "")
        self.host = request.headers.get("Host", "")

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class FakeRegistry:
    """A server on loopback.

    Attributes:
        basic: user and password that are required, or ``None``.
        bearer: whether requests need a token of the token service.
        refresh_token: accepted by the token service, beside ``basic``.
        token_seconds: life of a token, as it says.
        referrers_api: whether it has one.
        page: most tags on one page, 0 for all.
        blobs_at: base URL that blobs are redirected to, or ``""``.
        hook: called first with every request; its answer counts if there is one.
        seen: every request.

    """

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        self.basic: tuple[str, str] | None = None
        self.bearer = False
        self.realm = ""
        self.refresh_token = ""
        self.token_seconds = 300
        self.referrers_api = True
        self.page = 0
        self.blobs_at = ""
        self.hook: Hook | None = None
        self.seen: list[Seen] = []
        self.tokens: dict[str, str] = {}
        self.manifests: dict[tuple[str, str], Image] = {}
        self.blobs: dict[str, bytes] = {}
        self.referrers: dict[str, list[dict[str, Any]]] = {}
        self.host = ""
        self._tls = tls
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """Scheme and host."""
        return f"{'https' if self._tls else 'http'}://{self.host}"

    @property
    def oci(self) -> str:
        """What ``spec.url`` begins with."""
        return f"oci://{self.host}"

    def paths(self, prefix: str = "") -> list[str]:
        """``METHOD path`` of the requests below a path, in order."""
        return [str(item) for item in self.seen if item.path.startswith(prefix)]

    def put(self, repository: str, tag: str, image: Image) -> Image:
        """Store an image and what it consists of under a tag, ``""`` for none."""
        for child in image.children:
            self.put(repository, "", child)
        self.blobs |= image.blobs
        self.manifests[repository, image.digest] = image
        if tag:
            self.manifests[repository, tag] = image
        document = orjson.loads(image.body)
        subject = document.get("subject")
        if subject:
            entry = descriptor(image.body, image.media_type)
            entry["artifactType"] = document.get("artifactType", "")
            self.referrers.setdefault(subject["digest"], []).append(entry)
        return image

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._tls).start()
        host, port = self._runner.addresses[0][:2]
        self.host = f"{host}:{port}"
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(Seen(request))
        if self.hook is not None:
            answer = await self.hook(request)
            if answer is not None:
                return answer
        if request.path == "/token":
            return await self._token(request)
        parts = request.path.removeprefix("/v2/").split("/")
        denied = self._check(request, "/".join(parts[:-2]))
        return denied if denied is not None else self._answer(request, parts)

    def _answer(self, request: web.Request, parts: list[str]) -> web.Response:
        if request.path == "/v2/":
            return web.json_response({})
        name, kind, last = "/".join(parts[:-2]), parts[-2], parts[-1]
        if kind == "referrers" and self.referrers_api:
            return _json({"schemaVersion": 2, "manifests": self.referrers.get(last, [])}, INDEX)
        if kind == "tags":
            return self._tags(request, name)
        if kind == "manifests":
            return self._manifest(name, last)
        return self._blob(last) if kind == "blobs" else _error(404, "NAME_UNKNOWN")

    # --- login --------------------------------------------------------------------------------

    def _check(self, request: web.Request, name: str) -> web.Response | None:
        given = request.headers.get("Authorization", "")
        if self.bearer:
            scope = f"repository:{name}:pull"
            realm = self.realm or f"{self.url}/token"
            challenge = f'Bearer realm="{realm}",service="fake"'
            if not name:
                held = given.removeprefix("Bearer ") in self.tokens
            else:
                challenge += f',scope="{scope}"'
                held = scope in self.tokens.get(given.removeprefix("Bearer "), "").split()
            return None if held else _error(401, "UNAUTHORIZED", {"WWW-Authenticate": challenge})
        if self.basic is not None and given != _basic(*self.basic):
            return _error(401, "UNAUTHORIZED", {"WWW-Authenticate": 'Basic realm="fake"'})
        return None

    async def _token(self, request: web.Request) -> web.Response:
        if request.method == "POST":
            form = await request.post()
            if not self.refresh_token or form.get("refresh_token") != self.refresh_token:
                return _error(401, "UNAUTHORIZED")
            return self._issue(str(form.get("scope", "")), "access_token")
        if self.basic is not None and request.headers.get("Authorization") != _basic(*self.basic):
            return _error(401, "UNAUTHORIZED")
        return self._issue(request.query.get("scope", ""), "token")

    def _issue(self, scope: str, name: str) -> web.Response:
        token = secrets.token_urlsafe(12)
        self.tokens[token] = scope
        return web.json_response({name: token, "expires_in": self.token_seconds})

    # --- content ------------------------------------------------------------------------------

    def _tags(self, request: web.Request, name: str) -> web.Response:
        tags = sorted(key for repo, key in self.manifests if repo == name and ":" not in key)
        if not tags:
            return _error(404, "NAME_UNKNOWN")
        after = request.query.get("last", "")
        tags = [tag for tag in tags if tag > after]
        headers = {}
        if self.page and len(tags) > self.page:
            tags = tags[: self.page]
            link = f"/v2/{name}/tags/list?n={self.page}&last={quote(tags[-1])}"
            headers["Link"] = f'<{link}>; rel="next"'
        return web.json_response({"name": name, "tags": tags}, headers=headers)

    def _manifest(self, name: str, reference: str) -> web.Response:
        image = self.manifests.get((name, reference))
        if image is None:
            return _error(404, "MANIFEST_UNKNOWN")
        return web.Response(
            body=image.body,
            headers={"Content-Type": image.media_type, "Docker-Content-Digest": image.digest},
        )

    def _blob(self, digest: str) -> web.Response:
        if self.blobs_at:
            return web.Response(status=307, headers={"Location": f"{self.blobs_at}/{digest}"})
        if digest not in self.blobs:
            return _error(404, "BLOB_UNKNOWN")
        return web.Response(body=self.blobs[digest], content_type="application/octet-stream")


async def drip(request: web.Request, data: bytes, *, seconds: float) -> web.StreamResponse:
    """Answer with one byte at a time."""
    response = web.StreamResponse(headers={"Content-Length": str(len(data))})
    await response.prepare(request)
    for byte in data:
        await response.write(bytes([byte]))
        await asyncio.sleep(seconds)
    return response


def _basic(username: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


def _error(status: int, code: str, headers: dict[str, str] | None = None) -> web.Response:
    body = {"errors": [{"code": code, "message": "see the code", "detail": None}]}
    return web.json_response(body, status=status, headers=headers)


def _json(body: object, content_type: str) -> web.Response:
    return web.Response(body=orjson.dumps(body), content_type=content_type)
