"""Service accounts and their tokens, without an API server."""

from __future__ import annotations

import json
from typing import Any, cast

from fluvial.kube.client import KubeClient
from fluvial.kube.errors import NotFound
from fluvial.kube.resource import Resource
from fluvial.objects import JsonObject, ObjectKey

__all__ = ["FakeAccounts"]


class FakeAccounts:
    """The two verbs that this room uses.

    Attributes:
        annotations: of each service account that exists.
        requests: bodies of the TokenRequests, with their paths.
        token: that is given out; ``None`` makes one that says whose it is.

    """

    def __init__(self) -> None:
        self.annotations: dict[ObjectKey, dict[str, str]] = {}
        self.uids: dict[ObjectKey, str] = {}
        self.requests: list[tuple[str, JsonObject]] = []
        self.token: str | None = None

    @property
    def client(self) -> KubeClient:
        return cast("KubeClient", self)

    def add(self, namespace: str, name: str, **annotations: str) -> None:
        self.annotations[ObjectKey(namespace, name)] = annotations

    def annotate(self, namespace: str, name: str, annotations: dict[str, str]) -> None:
        self.annotations[ObjectKey(namespace, name)] = annotations

    async def get(self, resource: Resource, key: ObjectKey, **_: Any) -> JsonObject:
        assert resource.kind == "ServiceAccount"
        if key not in self.annotations:
            raise NotFound(f"{key} not found", status=404)
        uid = self.uids.get(key, f"uid-{key}")
        return {"metadata": {"uid": uid, "annotations": dict(self.annotations[key])}}

    async def request(self, method: str, path: str, *, body: JsonObject, **_: Any) -> JsonObject:
        assert method == "POST"
        self.requests.append((path, json.loads(json.dumps(body))))
        token = f"token-of-{path}" if self.token is None else self.token
        return {"status": {"token": token}}
