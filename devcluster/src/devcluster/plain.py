"""Paths that are no resources: health, version, discovery and OpenAPI."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson

from devcluster import errors
from devcluster.calls import Reply
from devcluster.discovery import Discovery, wants_aggregated
from devcluster.negotiation import negotiate, not_acceptable, to_yaml
from devcluster.openapi import OpenApi, protobuf

__all__ = ["NO_PAGE", "VERSION", "PlainPaths"]

NO_PAGE = Reply(404, b"404 page not found\n", "text/plain; charset=utf-8")
VERSION = {
    "major": "1",
    "minor": "37",
    "emulationMajor": "1",
    "emulationMinor": "37",
    "minCompatibilityMajor": "1",
    "minCompatibilityMinor": "36",
    "gitVersion": "v1.37.2+devcluster",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "",
    "compiler": "",
    "platform": "linux/amd64",
}
_HEALTH = re.compile(r"^/(healthz|readyz|livez)(?:/(.*))?$")
_CHECKS = ("ping", "log", "etcd", "informer-sync")
_TEXT = "text/plain; charset=utf-8"


class PlainPaths:
    """Answers a path; raises 404, 405 and 406."""

    def __init__(self, discovery: Discovery, openapi: OpenApi) -> None:
        self._discovery = discovery
        self._openapi = openapi

    def answer(self, method: str, path: str, query: Mapping[str, str], accept: str) -> Reply:
        """The reply to any method, as far as the path takes it."""
        health = _HEALTH.match(path)
        if health:
            return _health(health[1], health[2], verbose="verbose" in query)
        path = path.rstrip("/") or "/"
        if path.startswith("/openapi/"):
            return self._document(path.removeprefix("/openapi/"), accept)
        found = _json(VERSION) if path == "/version" else self._discover(path, accept)
        if found is None:
            return NO_PAGE
        if method not in {"GET", "HEAD"} and path != "/apis":
            raise errors.method_not_allowed()
        return found

    def _document(self, path: str, accept: str) -> Reply:
        parts = path.split("/")
        document: dict[str, Any] | None = None
        if path == "v2":
            if protobuf.wants_protobuf(accept):
                return Reply(200, protobuf.encode(self._openapi.swagger()), protobuf.MEDIA_TYPE)
            return _json(self._openapi.swagger())
        if path == "v3":
            return _json(self._openapi.index(), _TEXT)
        if parts[0] != "v3":
            return NO_PAGE
        if parts[1] == "api" and len(parts) == 3:
            document = self._openapi.document("", parts[2])
        elif parts[1] == "apis" and len(parts) == 4:
            document = self._openapi.document(parts[2], parts[3])
        return Reply(404, b"", "") if document is None else _json(document)

    def _discover(self, path: str, accept: str) -> Reply | None:
        discovery = self._discovery
        aggregated = wants_aggregated(accept) if path in {"/api", "/apis"} else ""
        if aggregated:
            body = orjson.dumps(discovery.aggregated(legacy=path == "/api"))
            return Reply(200, body, aggregated, (("Vary", "Accept"),))
        found = self._plain_document(path)
        if found is None:
            return None
        wanted = negotiate(accept)
        if wanted.form != "full":
            raise not_acceptable()
        reply = _json(found)
        return Reply(200, to_yaml(reply.body), "application/yaml") if wanted.yaml else reply

    def _plain_document(self, path: str) -> dict[str, Any] | None:
        discovery = self._discovery
        parts = path.strip("/").split("/")
        match parts:
            case ["api"]:
                return discovery.legacy_versions()
            case ["apis"]:
                return discovery.group_list()
            case ["api", version]:
                return discovery.resources("", version)
            case ["apis", group]:
                return discovery.group(group)
            case ["apis", group, version]:
                found = discovery.resources(group, version)
                if found is None and discovery.is_builtin(group):
                    raise errors.resource_not_found()
                return found
            case _:
                return None


def _health(kind: str, check: str | None, *, verbose: bool) -> Reply:
    if check is None:
        if not verbose:
            return Reply(200, b"ok", _TEXT)
        lines = [*(f"[+]{name} ok" for name in _CHECKS), f"{kind} check passed"]
        return Reply(200, "\n".join([*lines, ""]).encode(), _TEXT)
    return Reply(200, b"ok", _TEXT) if check in _CHECKS else NO_PAGE


def _json(document: Any, content_type: str = "application/json") -> Reply:
    return Reply(200, orjson.dumps(document), content_type)
