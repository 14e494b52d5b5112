"""What templates may read of a cluster: GET of one object or of a list, answered in the parent.

The engine asks for paths. They are taken apart here, in the parent, and whoever answers gets words
and not a path: it builds its own (``fluvial.kube.urls``) and asks as the tenant.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

import orjson

from fluvial.kube.client import KubeClient
from fluvial.kube.errors import (
    ApiError,
    Gone,
    ServerError,
    TooManyRequests,
    Unauthorized,
    Unreachable,
)
from fluvial.kube.resource import Resource
from fluvial.kube.urls import (
    UnsafeName,
    collection_path,
    group_version_path,
    object_path,
    query_string,
)
from fluvial.objects import JsonObject, ObjectKey
from fluvial.workers.process import Answering

__all__ = ["Lookup", "LookupAnswer", "LookupQuery", "answering", "cluster_lookup"]

_PAGE: Final = 100
_MAX_LIST: Final = 16 << 20
_MAX_QUERIES: Final = 1000
_PATH: Final = re.compile(
    r"/(?:api|apis/(?P<group>[^/]+))/(?P<version>[^/]+)"
    r"(?:(?:/namespaces/(?P<namespace>[^/]+))?/(?P<plural>[^/]+)(?:/(?P<name>[^/]+))?)?"
)


@dataclass(frozen=True, slots=True)
class LookupQuery:
    """What a template asks for.

    Attributes:
        group: API group, ``""`` for the core one.
        version: of the API.
        plural: the resource; ``""`` asks which resources the version has.
        namespace: ``""`` for a resource of cluster scope, or for all namespaces.
        name: ``""`` asks for a list.

    """

    group: str
    version: str
    plural: str = ""
    namespace: str = ""
    name: str = ""

    @classmethod
    def parse(cls, path: str) -> LookupQuery | None:
        """Take the path of a request apart; ``None`` if no lookup makes such a request."""
        match = _PATH.fullmatch(path)
        if match is None:
            return None
        words = {name: unquote(value or "") for name, value in match.groupdict().items()}
        return cls(**words)


@dataclass(frozen=True, slots=True)
class LookupAnswer:
    """An API server's answer: HTTP status, and an object, a list or a Status.

    404 makes a template's ``lookup`` give an empty mapping; other failures make it fail.
    """

    status: int
    body: JsonObject


Lookup = Callable[[LookupQuery], Awaitable[LookupAnswer]]
"""Answers a query as the tenant. What it raises ends the render and is raised by it."""


def answering(lookup: Lookup) -> Answering:
    """A lookup in the words of the worker, for one render."""
    asked = 0

    async def answer(question: JsonObject) -> JsonObject:
        nonlocal asked
        asked += 1
        query = LookupQuery.parse(str(question.get("get")))
        if query is None:
            return _said(LookupAnswer(404, _status(404, "NotFound", "not a lookup")), query)
        if asked > _MAX_QUERIES:
            message = f"the chart looks up more than {_MAX_QUERIES} times"
            return _said(LookupAnswer(400, _status(400, "BadRequest", message)), query)
        return _said(await lookup(query), query)

    return answer


def cluster_lookup(client: KubeClient) -> Lookup:
    """Look up in a cluster.

    Args:
        client: with the identity of the tenant.

    Returns:
        A lookup that raises ``ApiError`` where the server cannot be asked or fails, so that the
        render is tried again; what the server refuses is told to the template, and so is a list
        that is larger than 16 MiB.

    """

    async def look(query: LookupQuery) -> LookupAnswer:
        try:
            if query.plural and not query.name:
                return await _list(client, query)
            return LookupAnswer(200, await client.request("GET", _path(query)))
        except UnsafeName as error:
            return LookupAnswer(400, _status(400, "BadRequest", str(error)))
        except (Unreachable, ServerError, TooManyRequests, Unauthorized, Gone):
            raise
        except ApiError as error:
            status = error.status or 500
            return LookupAnswer(status, _status(status, error.reason, str(error)))

    return look


async def _list(client: KubeClient, query: LookupQuery) -> LookupAnswer:
    """A whole list, read in pages, because the controller must not hold one of any size."""
    path, token, size = _path(query), "", 0
    items: list[JsonObject] = []
    while True:
        page = await client.request(
            "GET", path + query_string({"limit": str(_PAGE), "continue": token})
        )
        items += page.get("items") or ()
        size += len(orjson.dumps(page))
        if size > _MAX_LIST:
            message = f"the list of {query.plural} is larger than {_MAX_LIST >> 20} MiB"
            return LookupAnswer(413, _status(413, "RequestEntityTooLarge", message))
        metadata = page.get("metadata") or {}
        token = str(metadata.pop("continue", "") or "")
        metadata.pop("remainingItemCount", None)
        if not token:
            return LookupAnswer(200, {**page, "items": items})


def _path(query: LookupQuery) -> str:
    if not query.plural:
        return group_version_path(query.group, query.version)
    resource = Resource(
        query.group, query.version, query.plural, "", namespaced=bool(query.namespace)
    )
    if not query.name:
        return collection_path(resource, query.namespace)
    return object_path(resource, ObjectKey(query.namespace, query.name))


def _said(answer: LookupAnswer, query: LookupQuery | None) -> JsonObject:
    found = answer.status == 200 and query is not None and not query.plural
    return {"status": answer.status, "body": answer.body, "resources": found}


def _status(code: int, reason: str, message: str) -> JsonObject:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "reason": reason,
        "message": message,
        "code": code,
    }
