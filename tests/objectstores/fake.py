"""A storage in process that speaks S3, Google's and Azure's, and lies when told to.

It checks neither signatures nor tokens, but remembers what it was shown.
"""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote
from xml.sax.saxutils import escape

from aiohttp import web

__all__ = ["FakeStorage", "Hook"]

Hook = Callable[[web.Request], Awaitable[web.StreamResponse | None]]
_PAGE = 3


class FakeStorage:
    """One bucket, named ``bucket``.

    Attributes:
        objects: content by key.
        generations: by key, for Google.
        hook: asked first; an answer of its own is sent instead.
        requests: method and path with query of everything that was asked.
        headers: of the same.
        tls: how it speaks TLS; ``None`` for plain HTTP.

    """

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        self.objects: dict[str, bytes] = {}
        self.generations: dict[str, int] = {}
        self.hook: Hook | None = None
        self.requests: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.tls = tls
        self.port = 0
        self._runner: web.AppRunner | None = None

    @property
    def endpoint(self) -> str:
        """For ``spec.endpoint``."""
        return f"localhost:{self.port}" if self.tls else f"127.0.0.1:{self.port}"

    def put(self, key: str, content: str | bytes) -> None:
        """Write an object."""
        self.objects[key] = content.encode() if isinstance(content, str) else content
        self.generations[key] = self.generations.get(key, 1000) + 1

    def etag(self, key: str) -> str:
        """Of an object, without quotes."""
        return hashlib.md5(self.objects[key], usedforsecurity=False).hexdigest()

    def fetched(self) -> list[str]:
        """The keys of objects that were asked for, ``.sourceignore`` left out."""
        found = [line.partition("/bucket/")[2].partition("?")[0] for line in self.requests]
        return [key for key in found if key and key != ".sourceignore"]

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self.tls)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(f"{request.method} {request.raw_path}")
        self.headers.append(dict(request.headers))
        if self.hook is not None:
            answer = await self.hook(request)
            if answer is not None:
                return answer
        if request.path.startswith("/storage/v1/b/"):
            return self._google(request)
        if request.path.rstrip("/") == "/bucket":
            azure = request.query.get("restype") == "container"
            return self._azure_list(request) if azure else self._s3_list(request)
        if not request.path.startswith("/bucket/"):
            return _xml("<Error><Code>NoSuchBucket</Code></Error>", status=404)
        return self._object(request, request.path.removeprefix("/bucket/"))

    def _object(self, request: web.Request, key: str) -> web.StreamResponse:
        if key not in self.objects:
            return _xml("<Error><Code>NoSuchKey</Code></Error>", status=404)
        etag = f'"{self.etag(key)}"'
        if request.headers.get("If-Match", etag) != etag:
            return _xml("<Error><Code>PreconditionFailed</Code></Error>", status=412)
        return web.Response(body=self.objects[key], headers={"ETag": etag})

    def _page(self, request: web.Request, token: str) -> tuple[list[str], str]:
        prefix = request.query.get("prefix", "")
        keys = sorted(key for key in self.objects if key.startswith(prefix))
        start = int(request.query.get(token, "0"))
        more = str(start + _PAGE) if len(keys) > start + _PAGE else ""
        return keys[start : start + _PAGE], more

    def _s3_list(self, request: web.Request) -> web.StreamResponse:
        if "location" in request.query:
            return _xml("<LocationConstraint/>")
        keys, more = self._page(request, "continuation-token")
        rows = "".join(
            f"<Contents><Key>{escape(quote(key))}</Key><ETag>&quot;{self.etag(key)}&quot;</ETag>"
            f"<Size>{len(self.objects[key])}</Size></Contents>"
            for key in keys
        )
        token = f"<NextContinuationToken>{more}</NextContinuationToken>" if more else ""
        truncated = "true" if more else "false"
        return _xml(
            '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<EncodingType>url</EncodingType><IsTruncated>{truncated}</IsTruncated>{token}{rows}"
            "</ListBucketResult>"
        )

    def _azure_list(self, request: web.Request) -> web.StreamResponse:
        keys, more = self._page(request, "marker")
        rows = "".join(
            f"<Blob><Name>{escape(key)}</Name><Properties><Etag>{self.etag(key)}</Etag>"
            f"<Content-Length>{len(self.objects[key])}</Content-Length></Properties></Blob>"
            for key in keys
        )
        return _xml(
            f"\ufeff<EnumerationResults><Blobs>{rows}</Blobs><NextMarker>{more}</NextMarker>"
            "</EnumerationResults>"
        )

    def _google(self, request: web.Request) -> web.StreamResponse:
        bucket, _, rest = request.path.removeprefix("/storage/v1/b/").partition("/")
        if bucket != "bucket":
            return _google_error(404, "notFound")
        key = rest.removeprefix("o").removeprefix("/")
        if not key:
            keys, more = self._page(request, "pageToken")
            page: dict[str, Any] = {"items": [self._described(item) for item in keys]}
            return web.json_response(page | ({"nextPageToken": more} if more else {}))
        if key not in self.objects:
            return _google_error(404, "notFound")
        wanted = request.query.get("ifGenerationMatch", str(self.generations[key]))
        if wanted != str(self.generations[key]):
            return _google_error(412, "conditionNotMet")
        if request.query.get("alt") != "media":
            return web.json_response(self._described(key))
        headers = {"X-Goog-Generation": str(self.generations[key])}
        return web.Response(body=self.objects[key], headers=headers)

    def _described(self, key: str) -> dict[str, str]:
        generation = str(self.generations[key])
        return {
            "name": key,
            "etag": f"C{generation}=",
            "generation": generation,
            "size": str(len(self.objects[key])),
        }


def _xml(text: str, *, status: int = 200) -> web.Response:
    body = text if text.startswith("\ufeff") else f'<?xml version="1.0"?>{text}'
    return web.Response(body=body.encode(), status=status, content_type="application/xml")


def _google_error(status: int, reason: str) -> web.Response:
    error = {"code": status, "errors": [{"reason": reason, "message": "no"}]}
    return web.json_response({"error": error}, status=status)
