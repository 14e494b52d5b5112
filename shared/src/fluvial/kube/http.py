"""``HttpKubeClient``: the verbs of an API server over HTTP, unstructured, under one identity.

Every controller makes one (``fluvial.kube.config.load_client``) and takes views of it:
``impersonate`` for the tenant's identity, ``own_pool`` for work that must never wait behind
other requests (the lease). Views share credentials, limits and counters. Repetition of requests
is ``fluvial.kube.retry``'s; names become URLs in ``fluvial.kube.urls`` only.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import replace
from types import TracebackType
from typing import Self

from multidict import CIMultiDict

from fluvial.clock import Clock, RealClock
from fluvial.kube.client import ListPage, PatchType, Propagation, WatchEvent
from fluvial.kube.connection import Connection
from fluvial.kube.decode import complete, decode_list, decode_object, encode_object, iter_lines
from fluvial.kube.errors import ApiError, Gone, error_from_status
from fluvial.kube.kinds import POD
from fluvial.kube.resource import Resource
from fluvial.kube.retry import RateLimiter, RetryPolicy
from fluvial.kube.transport import (
    Call,
    RequestHook,
    Transport,
    TransportOptions,
    WarningHook,
)
from fluvial.kube.urls import (
    UnsafeName,
    check_path,
    collection_path,
    header_text,
    object_path,
    query_string,
)
from fluvial.objects import JsonObject, ObjectKey, key_of

__all__ = ["HttpKubeClient"]

_JSON = "application/json"
_AS_METADATA = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
_AS_METADATA_LIST = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
_APPLY = "application/apply-patch+yaml"
_PATCHES: dict[PatchType, str] = {
    "json": "application/json-patch+json",
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
}
_SAFE_TO_REPEAT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
_LIST_ATTEMPTS = 3
_DEFAULT_TIMEOUT = 60.0
_DEFAULT_CONNECTIONS = 100


class HttpKubeClient:
    """The implementation of ``fluvial.kube.client.KubeClient``; errors are its documentation's.

    Use it as an async context manager or call ``aclose``; closing a view closes nothing.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        user_agent: str,
        retry: RetryPolicy | None = None,
        timeout: float = _DEFAULT_TIMEOUT,
        qps: float = 0.0,
        burst: int = 0,
        max_connections: int = _DEFAULT_CONNECTIONS,
        on_request: RequestHook | None = None,
        on_warning: WarningHook | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Open nothing yet.

        Args:
            connection: the server and the credentials.
            user_agent: sent with every request.
            retry: bounds of the repetitions; by default 10 seconds in all.
            timeout: seconds for one attempt of one request.
            qps: requests a second over all views; 0 limits nothing.
            burst: requests at once before ``qps`` counts.
            max_connections: connections for requests; watches have others, without a limit.
            on_request: called once per attempt with code (or ``<error>``), method and host.
            on_warning: called with the text of each warning of the server.
            clock: the time.

        """
        clock = clock or RealClock()
        self._limiter = RateLimiter(qps=qps, burst=burst, clock=clock)
        options = TransportOptions(
            user_agent=user_agent,
            retry=retry or RetryPolicy(),
            timeout=timeout,
            limiter=self._limiter,
            on_request=on_request,
            on_warning=on_warning,
            clock=clock,
        )
        self._transport = Transport(connection, options, limit=max_connections)
        self._identity: tuple[tuple[str, str], ...] = ()
        self._is_view = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections of this client and of all its views; views close nothing."""
        if not self._is_view:
            await self._transport.aclose()

    @property
    def host(self) -> str:
        """Host and port of the server."""
        return self._transport.host

    def impersonate(self, user: str, groups: tuple[str, ...] = ()) -> HttpKubeClient:
        """A view that shares this client's connections and acts as ``user``.

        Without ``groups`` the server adds those of a service account itself.

        Raises:
            UnsafeName: the user is empty, or a text cannot be sent in a header.

        """
        identity = [("Impersonate-User", header_text(user, "user"))]
        identity += [("Impersonate-Group", header_text(group, "group")) for group in groups]
        view = self._view(self._transport)
        view._identity = tuple(identity)  # noqa: SLF001 - of our own class
        return view

    def own_pool(self, limit: int) -> HttpKubeClient:
        """A view with at most ``limit`` connections that nobody else uses."""
        return self._view(self._transport.own_pool(limit))

    def _view(self, transport: Transport) -> HttpKubeClient:
        view = object.__new__(HttpKubeClient)
        view._limiter = self._limiter
        view._transport = transport
        view._identity = self._identity
        view._is_view = True
        return view

    async def get(
        self,
        resource: Resource,
        key: ObjectKey,
        *,
        subresource: str = "",
        metadata_only: bool = False,
    ) -> JsonObject:
        call = self._call(
            "GET",
            object_path(resource, key, subresource),
            accept=_AS_METADATA if metadata_only else _JSON,
            resource=resource,
        )
        obj = decode_object((await self._transport.send(call)).body)
        return complete(obj, resource, metadata_only=True) if metadata_only else obj

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
        query = {
            "labelSelector": label_selector,
            "fieldSelector": field_selector,
            "limit": str(limit) if limit else "",
            "continue": continue_token,
            "resourceVersion": resource_version or "",
        }
        call = self._call(
            "GET",
            collection_path(resource, namespace) + query_string(query),
            accept=_AS_METADATA_LIST if metadata_only else _JSON,
            resource=resource,
        )
        reply = await self._transport.send(call)
        return await decode_list(reply.body, resource, metadata_only=metadata_only)

    async def list_all(
        self,
        resource: Resource,
        *,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        metadata_only: bool = False,
    ) -> ListPage:
        attempt = 0
        items: list[JsonObject] = []
        token = ""
        while True:
            try:
                page = await self.list_page(
                    resource,
                    namespace=namespace,
                    label_selector=label_selector,
                    field_selector=field_selector,
                    metadata_only=metadata_only,
                    continue_token=token,
                )
            except Gone:
                attempt += 1
                if attempt >= _LIST_ATTEMPTS:
                    raise
                items, token = [], ""
                continue
            items += page.items
            token = page.continue_token
            if not token:
                return ListPage(items, page.resource_version)

    async def create(
        self, resource: Resource, obj: JsonObject, *, field_manager: str, dry_run: bool = False
    ) -> JsonObject:
        namespace = key_of(obj).namespace
        if resource.namespaced and not namespace:
            raise UnsafeName("namespace", "", f"{resource.kind} needs one")
        query = {"fieldManager": field_manager, "dryRun": _dry(dry_run)}
        call = self._call(
            "POST",
            collection_path(resource, namespace) + query_string(query),
            body=encode_object(obj),
            content=_JSON,
            idempotent=dry_run,
            resource=resource,
        )
        return decode_object((await self._transport.send(call)).body)

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
        query = {
            "fieldManager": field_manager,
            "force": "true" if force else "false",
            "dryRun": _dry(dry_run),
            "fieldValidation": field_validation,
        }
        call = self._call(
            "PATCH",
            object_path(resource, key, subresource) + query_string(query),
            body=body if isinstance(body, bytes) else encode_object(body),
            content=_APPLY,
            resource=resource,
        )
        return decode_object((await self._transport.send(call)).body)

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
        query = {"fieldManager": field_manager, "dryRun": _dry(dry_run)}
        call = self._call(
            "PATCH",
            object_path(resource, key, subresource) + query_string(query),
            body=encode_object(body),
            content=_PATCHES[patch_type],
            idempotent=dry_run or patch_type != "json",
            resource=resource,
        )
        return decode_object((await self._transport.send(call)).body)

    async def replace(
        self,
        resource: Resource,
        obj: JsonObject,
        *,
        field_manager: str,
        field_validation: str = "",
        dry_run: bool = False,
    ) -> JsonObject:
        query = {
            "fieldManager": field_manager,
            "fieldValidation": field_validation,
            "dryRun": _dry(dry_run),
        }
        call = self._call(
            "PUT",
            object_path(resource, key_of(obj)) + query_string(query),
            body=encode_object(obj),
            content=_JSON,
            idempotent=dry_run,  # of a version: the second time would be a conflict
            resource=resource,
        )
        return decode_object((await self._transport.send(call)).body)

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
        options: JsonObject = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": propagation,
        }
        given = {"uid": uid, "resourceVersion": resource_version}
        preconditions = {name: value for name, value in given.items() if value}
        if preconditions:
            options["preconditions"] = preconditions
        if dry_run:
            options["dryRun"] = ["All"]
        call = self._call(
            "DELETE",
            object_path(resource, key),
            body=encode_object(options),
            content=_JSON,
            resource=resource,
        )
        return decode_object((await self._transport.send(call)).body)

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
        query = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "labelSelector": label_selector,
            "fieldSelector": field_selector,
            "resourceVersion": resource_version,
            "timeoutSeconds": str(timeout_seconds) if timeout_seconds else "",
        }
        call = self._call(
            "GET",
            collection_path(resource, namespace) + query_string(query),
            accept=_AS_METADATA if metadata_only else _JSON,
            resource=resource,
        )
        return self._watch(call, resource, metadata_only=metadata_only)

    @asynccontextmanager
    async def _watch(
        self, call: Call, resource: Resource, *, metadata_only: bool
    ) -> AsyncIterator[AsyncIterator[WatchEvent]]:
        async with (
            self._transport.stream(call) as chunks,
            aclosing(_events(chunks, resource, metadata_only=metadata_only)) as events,
        ):
            yield events

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: JsonObject | None = None,
        accept: str = _JSON,
        idempotent: bool | None = None,
    ) -> JsonObject:
        check_path(path)
        call = self._call(
            method,
            path,
            accept=accept,
            body=None if body is None else encode_object(body),
            content="" if body is None else _JSON,
            idempotent=method in _SAFE_TO_REPEAT if idempotent is None else idempotent,
            secret=True,  # nobody knows what is in it
        )
        return decode_object((await self._transport.send(call)).body)

    async def pod_log(
        self, key: ObjectKey, *, container: str = "", tail_lines: int, limit_bytes: int
    ) -> str:
        query = {
            "container": container,
            "tailLines": str(tail_lines),
            "limitBytes": str(limit_bytes),
        }
        call = replace(
            self._call(
                "GET",
                object_path(POD, key, "log") + query_string(query),
                accept="application/json, */*",  # refusals come as a Status
                idempotent=False,
                secret=True,
            ),
            cut_at=limit_bytes,
        )
        return (await self._transport.send(call)).body.decode(errors="replace")

    async def use_server_side_limits(self) -> bool:
        """Drop our own request limit if the server has priority and fairness; True if it has.

        Raises:
            ApiError: the server could not be asked; the limit stays.

        """
        reply = await self._transport.send(self._call("GET", "/livez/ping", accept="*/*"))
        fair = "X-Kubernetes-PF-FlowSchema-UID" in reply.headers
        if fair:
            self._limiter.disable()
        return fair

    def _call(
        self,
        method: str,
        path: str,
        *,
        accept: str = _JSON,
        body: bytes | None = None,
        content: str = "",
        idempotent: bool = True,
        resource: Resource | None = None,
        secret: bool = False,
    ) -> Call:
        headers: CIMultiDict[str] = CIMultiDict(self._identity)
        headers["Accept"] = accept
        if content:
            headers["Content-Type"] = content
        secret = secret or (resource is not None and resource.group_resource == "secrets")
        return Call(method, path, headers, body, idempotent=idempotent, secret=secret)


async def _events(
    chunks: AsyncIterator[bytes], resource: Resource, *, metadata_only: bool
) -> AsyncGenerator[WatchEvent, None]:
    async with aclosing(iter_lines(chunks)) as lines:
        async for line in lines:
            event = decode_object(line)
            kind, obj = str(event.get("type") or ""), event.get("object")
            if not isinstance(obj, dict):
                raise ApiError("a watch event has no object")
            if kind == "ERROR":
                code = obj.get("code")
                raise error_from_status(code if isinstance(code, int) else 500, obj)
            yield WatchEvent(kind, complete(obj, resource, metadata_only=metadata_only))


def _dry(dry_run: bool) -> str:  # noqa: FBT001 - one argument
    return "All" if dry_run else ""
