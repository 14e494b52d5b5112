"""A client that writes only while its process may."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

from fluvial.kube.client import KubeClient, ListPage, PatchType, Propagation, WatchEvent
from fluvial.kube.resource import Resource
from fluvial.objects import JsonObject, ObjectKey

__all__ = ["GuardedClient"]


class GuardedClient:
    """Passes everything on to a client, but calls ``check`` before each write.

    The manager hands it out under leader election, with the elector's ``check``: when the local
    deadline has passed, a write raises ``LeadershipLost`` instead of being sent. Impersonating
    views are guarded too; wrap clients of remote clusters by ``Manager.guard``.
    """

    def __init__(self, client: KubeClient, check: Callable[[], None]) -> None:
        self._client = client
        self._check = check

    async def get(
        self,
        resource: Resource,
        key: ObjectKey,
        *,
        subresource: str = "",
        metadata_only: bool = False,
    ) -> JsonObject:
        """Read one object."""
        return await self._client.get(
            resource, key, subresource=subresource, metadata_only=metadata_only
        )

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
        """Read one page."""
        return await self._client.list_page(
            resource,
            namespace=namespace,
            label_selector=label_selector,
            field_selector=field_selector,
            metadata_only=metadata_only,
            limit=limit,
            continue_token=continue_token,
            resource_version=resource_version,
        )

    async def list_all(
        self,
        resource: Resource,
        *,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        metadata_only: bool = False,
    ) -> ListPage:
        """Read every page."""
        return await self._client.list_all(
            resource,
            namespace=namespace,
            label_selector=label_selector,
            field_selector=field_selector,
            metadata_only=metadata_only,
        )

    async def create(
        self, resource: Resource, obj: JsonObject, *, field_manager: str, dry_run: bool = False
    ) -> JsonObject:
        """POST, if allowed."""
        self._check()
        return await self._client.create(
            resource, obj, field_manager=field_manager, dry_run=dry_run
        )

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
        """Server-side apply, if allowed."""
        self._check()
        return await self._client.apply(
            resource,
            key,
            body,
            field_manager=field_manager,
            force=force,
            dry_run=dry_run,
            subresource=subresource,
            field_validation=field_validation,
        )

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
        """PATCH, if allowed."""
        self._check()
        return await self._client.patch(
            resource,
            key,
            body,
            patch_type=patch_type,
            field_manager=field_manager,
            subresource=subresource,
            dry_run=dry_run,
        )

    async def replace(
        self,
        resource: Resource,
        obj: JsonObject,
        *,
        field_manager: str,
        field_validation: str = "",
        dry_run: bool = False,
    ) -> JsonObject:
        """PUT, if allowed."""
        self._check()
        return await self._client.replace(
            resource,
            obj,
            field_manager=field_manager,
            field_validation=field_validation,
            dry_run=dry_run,
        )

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
        """DELETE, if allowed."""
        self._check()
        return await self._client.delete(
            resource,
            key,
            uid=uid,
            resource_version=resource_version,
            propagation=propagation,
            dry_run=dry_run,
        )

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
        """Watch."""
        return self._client.watch(
            resource,
            namespace=namespace,
            label_selector=label_selector,
            field_selector=field_selector,
            metadata_only=metadata_only,
            resource_version=resource_version,
            timeout_seconds=timeout_seconds,
        )

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: JsonObject | None = None,
        accept: str = "application/json",
        idempotent: bool | None = None,
    ) -> JsonObject:
        """Ask for anything else; what may write (a review does not) only if allowed."""
        if method.upper() not in {"GET", "HEAD", "OPTIONS"} and idempotent is not True:
            self._check()
        return await self._client.request(
            method, path, body=body, accept=accept, idempotent=idempotent
        )

    async def pod_log(
        self, key: ObjectKey, *, container: str = "", tail_lines: int, limit_bytes: int
    ) -> str:
        """Read a log."""
        return await self._client.pod_log(
            key, container=container, tail_lines=tail_lines, limit_bytes=limit_bytes
        )

    def impersonate(self, user: str, groups: tuple[str, ...] = ()) -> GuardedClient:
        """A guarded view that acts as ``user``."""
        return GuardedClient(self._client.impersonate(user, groups), self._check)
