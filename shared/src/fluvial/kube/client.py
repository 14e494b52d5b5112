"""What the rest of the system may ask of an API server.

``fluvial.kube.http.HttpKubeClient`` is the implementation. A client has one identity; a view with
another one comes from ``impersonate``. Every method raises ``fluvial.kube.errors.ApiError``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

from fluvial.kube.resource import Resource
from fluvial.objects import JsonObject, ObjectKey

__all__ = ["KubeClient", "ListPage", "PatchType", "Propagation", "WatchEvent"]

PatchType = Literal["json", "merge", "strategic"]
Propagation = Literal["Background", "Foreground", "Orphan"]


@dataclass(frozen=True, slots=True)
class ListPage:
    """One page of a list; ``continue_token`` is ``""`` on the last."""

    items: list[JsonObject]
    resource_version: str
    continue_token: str = ""


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """ADDED, MODIFIED, DELETED or BOOKMARK. ERROR is raised as the ``ApiError`` it carries."""

    type: str
    object: JsonObject


class KubeClient(Protocol):
    """Unstructured verbs under one identity.

    Items of lists and watches always have ``apiVersion`` and ``kind``, those of the resource even
    where only metadata is asked for; metadata-only answers come without ``managedFields``.
    """

    async def get(
        self,
        resource: Resource,
        key: ObjectKey,
        *,
        subresource: str = "",
        metadata_only: bool = False,
    ) -> JsonObject:
        """Read one object, quorum read.

        Raises:
            NotFound: it is not there (``is_resource`` tells a missing kind from a missing object).

        """
        ...

    async def list_page(
        self,
        resource: Resource,
        *,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        metadata_only: bool = False,
        limit: int = 500,
        continue_token: str = "",
        resource_version: str | None = None,
    ) -> ListPage:
        """Read one page; ``namespace=""`` lists all namespaces.

        Raises:
            Gone: the continue token has expired.

        """
        ...

    async def list_all(
        self,
        resource: Resource,
        *,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        metadata_only: bool = False,
    ) -> ListPage:
        """Read every page; starts again, at most 3 times, where a token expires."""
        ...

    async def create(
        self, resource: Resource, obj: JsonObject, *, field_manager: str, dry_run: bool = False
    ) -> JsonObject:
        """POST; the namespace is the object's own."""
        ...

    async def apply(
        self,
        resource: Resource,
        key: ObjectKey,
        body: JsonObject | bytes,
        *,
        field_manager: str,
        force: bool = True,
        dry_run: bool = False,
        subresource: str = "",
        field_validation: str = "",
    ) -> JsonObject:
        """Server-side apply. ``bytes`` are sent as they are (JSON)."""
        ...

    async def patch(
        self,
        resource: Resource,
        key: ObjectKey,
        body: JsonObject | list[JsonObject],
        *,
        patch_type: PatchType,
        field_manager: str,
        subresource: str = "",
        dry_run: bool = False,
    ) -> JsonObject:
        """JSON patch (RFC 6902), merge patch (RFC 7386) or strategic merge patch (built-in kinds)."""
        ...

    async def replace(
        self,
        resource: Resource,
        obj: JsonObject,
        *,
        field_manager: str,
        field_validation: str = "",
        dry_run: bool = False,
    ) -> JsonObject:
        """PUT; name and namespace are the object's own, and so is the version that it replaces.

        Raises:
            Conflict: ``metadata.resourceVersion`` is not what is there.

        """
        ...

    async def delete(
        self,
        resource: Resource,
        key: ObjectKey,
        *,
        uid: str = "",
        resource_version: str = "",
        propagation: Propagation = "Background",
        dry_run: bool = False,
    ) -> JsonObject:
        """DELETE under preconditions; answers the object or a Status.

        Raises:
            Conflict: ``uid`` or ``resource_version`` is not what is there.

        """
        ...

    def watch(
        self,
        resource: Resource,
        *,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        metadata_only: bool = False,
        resource_version: str = "",
        timeout_seconds: int = 0,
    ) -> AbstractAsyncContextManager[AsyncIterator[WatchEvent]]:
        """Watch with bookmarks; the iterator ends when the server ends the watch.

        Raises:
            Gone: the resource version is too old (as answer or as an ERROR event).

        """
        ...

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: JsonObject | None = None,
        accept: str = "application/json",
        idempotent: bool | None = None,
    ) -> JsonObject:
        """Ask for anything else: discovery, reviews, ``/version``. ``path`` is used as it is.

        Args:
            method: the HTTP method.
            path: path and query, encoded, below the server's own path.
            body: sent as JSON.
            accept: the media types wanted.
            idempotent: whether it may be repeated after it may have been processed; a review by
                POST may. ``None`` decides by the method.

        """
        ...

    async def pod_log(
        self, key: ObjectKey, *, container: str = "", tail_lines: int, limit_bytes: int
    ) -> str:
        """The end of what a container has written; asked for once, since nobody depends on it.

        What is written in it is known to nobody, and may be secret.

        Args:
            key: of the pod.
            container: its name; ``""`` for the only one, or the one that the server takes.
            tail_lines: lines from the end.
            limit_bytes: bytes of those at most, whatever the server sends.

        Raises:
            NotFound: there is no such pod.
            ApiError: the log cannot be had: no node, no kubelet, not started, not allowed.

        """
        ...

    def impersonate(self, user: str, groups: tuple[str, ...] = ()) -> KubeClient:
        """A view that shares this client's connections and acts as ``user``."""
        ...
