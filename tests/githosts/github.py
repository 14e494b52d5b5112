"""Statuses of commits at a stand-in for a GitHub Enterprise server that takes what is documented.

https://docs.github.com/rest/commits/statuses and
https://docs.github.com/rest/using-the-rest-api/getting-started-with-the-rest-api; and tokens of a
GitHub App's installation: https://docs.github.com/rest/apps/apps. Whatever else is
asked is refused as GitHub refuses it, and remembered, so that a test can show that nothing was.
"""

from __future__ import annotations

import json
import re
import ssl
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from clouds.assertions import verified_claims

__all__ = ["FakeGitHub"]

_STATES = frozenset({"error", "failure", "pending", "success"})
_FIELDS = frozenset({"state", "target_url", "description", "context"})
_VERSIONS = frozenset({"2022-11-28", "2026-03-10"})
_ACCEPTED = frozenset({"application/vnd.github+json", "application/json"})
_LONGEST = {"description": 140, "context": 255}
_REST = "https://docs.github.com/rest"


class _Refused(Exception):
    def __init__(self, status: int, message: str, *errors: str) -> None:
        super().__init__(message)
        self.status = status
        self.document: dict[str, Any] = {"message": message, "documentation_url": _REST}
        if errors:
            self.document["errors"] = [{"resource": "Status", "message": text} for text in errors]


class FakeGitHub:
    """One repository, ``org/app``.

    Args:
        token: that may write statuses.
        has_commit: whether the repository has a commit.
        app_key: private key of the app 7, whose installation is 42; ``""`` for no app.
        tls: for https.

    Attributes:
        url: of the server.
        given: tokens of the installation, oldest first, of which the last one is good.
        statuses: of all commits as they were answered, oldest first.
        refused: what was not taken, in words.
        listed: how often statuses were listed.
        revokes: no token is good that is given from now on.

    """

    def __init__(
        self,
        token: str,
        has_commit: Callable[[str], bool],
        *,
        app_key: str = "",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.url = ""
        self.statuses: list[dict[str, Any]] = []
        self.refused: list[str] = []
        self.listed = 0
        self.revokes = False
        self.given: list[str] = []
        self._token = token
        self._app_key = app_key
        self._tls = tls
        self._has_commit = has_commit
        self._runner: web.AppRunner

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/{rest:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._tls).start()
        self.url = f"http{'s' if self._tls else ''}://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._runner.cleanup()

    def revoke(self) -> None:
        """Take no token that was given."""
        self._token = "revoked"

    def of(self, commit: str) -> list[dict[str, Any]]:
        """State, context and description of the statuses of a commit, oldest first."""
        names = ("state", "context", "description")
        found = [one for one in self.statuses if one["url"].endswith(f"/{commit}")]
        return [{name: one[name] for name in names} for one in found]

    async def _answer(self, request: web.Request) -> web.Response:
        try:
            status, document = self._document(request, await request.read())
        except _Refused as error:
            self.refused.append(f"{request.method} {request.path}: {error}")
            return web.json_response(error.document, status=error.status)
        return web.json_response(document, status=status)

    def _document(self, request: web.Request, body: bytes) -> tuple[int, Any]:
        if request.raw_path == "/api/v3/app/installations/42/access_tokens":
            return 201, self._install(request)
        self._check_headers(request)
        base = "/api/v3/repos/org/app"
        one = re.fullmatch(rf"{base}/statuses/([0-9a-f]{{40}})", request.raw_path)
        if one and request.method == "POST":
            return 201, self._create(request, one[1], body)
        many = re.fullmatch(rf"{base}/commits/([^/?]+)/statuses", request.path)
        if many and request.method == "GET":
            return 200, self._list(request, many[1])
        raise _Refused(404, "Not Found")

    def _install(self, request: web.Request) -> dict[str, Any]:
        self._check_client(request)
        scheme, _, assertion = request.headers.get("Authorization", "").partition(" ")
        if request.method != "POST" or not self._app_key:
            raise _Refused(404, "Not Found")
        try:
            claims = verified_claims(assertion, self._app_key)
            life = float(claims["exp"]) - time.time()
        except Exception as error:
            raise _Refused(401, "A JSON web token could not be decoded") from error
        if scheme != "Bearer" or claims.get("iss") != "7" or not 0 < life <= 600:
            raise _Refused(401, "A JSON web token could not be decoded")
        token = f"ghs_{len(self.given):036}"
        self.given.append(token)
        self._token = "revoked" if self.revokes else token
        ends = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
        return {"token": token, "expires_at": ends, "permissions": {"statuses": "write"}}

    def _check_headers(self, request: web.Request) -> None:
        self._check_client(request)
        headers = request.headers
        if headers.get("Authorization") not in {f"Bearer {self._token}", f"token {self._token}"}:
            raise _Refused(401, "Bad credentials")
        if headers.get("Accept") not in _ACCEPTED:
            raise _Refused(415, "Unsupported 'Accept' header")
        if headers.get("X-GitHub-Api-Version", "2022-11-28") not in _VERSIONS:
            raise _Refused(400, "This API version does not exist")

    def _check_client(self, request: web.Request) -> None:
        headers = request.headers
        if not headers.get("User-Agent"):
            raise _Refused(403, "Request forbidden by administrative rules: no User-Agent")

    def _list(self, request: web.Request, ref: str) -> list[dict[str, Any]]:
        if set(request.query) - {"per_page", "page"}:
            raise _Refused(422, "a parameter is not documented")
        size, page = (int(request.query.get(n, d)) for n, d in (("per_page", "30"), ("page", "1")))
        if not 1 <= size <= 100 or page < 1:
            raise _Refused(422, "a page has 1 to 100 items")
        self.listed += 1
        found = [one for one in reversed(self.statuses) if one["url"].endswith(f"/{ref}")]
        return found[(page - 1) * size : page * size]

    def _create(self, request: web.Request, commit: str, body: bytes) -> dict[str, Any]:
        if request.content_type != "application/json":
            raise _Refused(415, "Unsupported Media Type")
        try:
            given = json.loads(body)
        except ValueError:
            raise _Refused(400, "Problems parsing JSON") from None
        problems = _problems(given)
        if problems:
            raise _Refused(422, "Validation Failed", *problems)
        if not self._has_commit(commit):
            raise _Refused(422, f"No commit found for SHA: {commit}")
        number = len(self.statuses) + 1
        status = {
            "url": f"{self.url}/api/v3/repos/org/app/statuses/{commit}",
            "avatar_url": f"{self.url}/images/error/hubot_happy.gif",
            "id": number,
            "node_id": f"status-{number}",
            "state": given["state"],
            "description": given.get("description"),
            "target_url": given.get("target_url"),
            "context": given.get("context") or "default",
            "created_at": "2026-11-23T10:00:00Z",
            "updated_at": "2026-11-23T10:00:00Z",
            "creator": {"login": "robot", "id": 1, "type": "Bot"},
        }
        self.statuses.append(status)
        return status


def _problems(given: Any) -> list[str]:
    """What is wrong with the body of a new status."""
    if not isinstance(given, dict):
        return ["the body must be an object"]
    found = [f"{name} is not a field" for name in sorted(set(given) - _FIELDS)]
    if given.get("state") not in _STATES:
        found.append("state is not included in the list")
    texts = {name: given.get(name) for name in ("target_url", "description", "context")}
    found += [
        f"{name} must be a text"
        for name, text in texts.items()
        if text is not None and not isinstance(text, str)
    ]
    found += [
        f"{name} is too long (maximum is {longest} characters)"
        for name, longest in _LONGEST.items()
        if isinstance(texts[name], str) and len(str(texts[name])) > longest
    ]
    target = texts["target_url"]
    if isinstance(target, str) and not re.match(r"https?://", target):
        found.append("target_url must use http(s) scheme")
    return found
