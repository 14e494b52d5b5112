"""One world a test: a cluster, a namespace, a tenant that may do everything in it, and a spy."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any

from fluvial.apply import (
    ApplyOptions,
    ApplyResult,
    Inventory,
    Masker,
    Owner,
    Target,
    Verified,
    WriteAhead,
    apply_set,
    prepare,
)
from fluvial.clock import RealClock
from fluvial.kube.auth import StaticAuth
from fluvial.kube.client import KubeClient, ListPage, PatchType, Propagation
from fluvial.kube.connection import Connection, tls_context
from fluvial.kube.discovery import RestMapper
from fluvial.kube.errors import Forbidden, NotFound
from fluvial.kube.http import HttpKubeClient
from fluvial.kube.resource import Resource
from fluvial.kube.retry import RetryPolicy
from fluvial.objects import JsonObject, ObjectKey
from harness.rights import until_allowed

__all__ = [
    "BINDINGS",
    "CONFIG_MAPS",
    "GROUP",
    "NAMESPACES",
    "ROLES",
    "Spy",
    "World",
    "connect",
    "new_world",
]

CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap", namespaced=True)
NAMESPACES = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
SERVICE_ACCOUNTS = Resource("", "v1", "serviceaccounts", "ServiceAccount", namespaced=True)
ROLES = Resource("rbac.authorization.k8s.io", "v1", "roles", "Role", namespaced=True)
BINDINGS = Resource(
    "rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding", namespaced=True
)
GROUP = "kustomize.toolkit.fluxcd.io"
Hook = Callable[[str, str], Awaitable[None]]


@dataclass(slots=True)
class Spy:
    """A client that notes ``verb name`` of each call, and lets a test act just before one."""

    client: KubeClient
    calls: list[str] = field(default_factory=list)
    before: Hook | None = None
    after: Hook | None = None

    async def _note(self, verb: str, name: str, *, dry_run: bool = False) -> None:
        verb = f"dry-{verb}" if dry_run else verb
        self.calls.append(f"{verb} {name}")
        if self.before is not None:
            await self.before(verb, name)

    async def _noted(
        self, result: JsonObject, verb: str, name: str, *, dry_run: bool
    ) -> JsonObject:
        if self.after is not None and not dry_run:
            await self.after(verb, name)
        return result

    @property
    def writes(self) -> list[str]:
        """The calls that change something."""
        verbs = ("apply ", "create ", "patch ", "replace ", "delete ")
        return [call for call in self.calls if call.startswith(verbs)]

    def take(self) -> list[str]:
        """The calls since the last time, sorted."""
        calls, self.calls = self.calls, []
        return sorted(calls)

    async def get(
        self,
        resource: Resource,
        key: ObjectKey,
        *,
        subresource: str = "",
        metadata_only: bool = False,
    ) -> JsonObject:
        await self._note("get", key.name)
        return await self.client.get(
            resource, key, subresource=subresource, metadata_only=metadata_only
        )

    async def list_page(self, resource: Resource, **options: Any) -> ListPage:
        await self._note("list", resource.plural)
        return await self.client.list_page(resource, **options)

    async def list_all(
        self,
        resource: Resource,
        *,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        metadata_only: bool = False,
    ) -> ListPage:
        await self._note("list", resource.plural)
        return await self.client.list_all(
            resource,
            namespace=namespace,
            label_selector=label_selector,
            field_selector=field_selector,
            metadata_only=metadata_only,
        )

    async def create(
        self, resource: Resource, obj: JsonObject, *, field_manager: str, dry_run: bool = False
    ) -> JsonObject:
        await self._note("create", obj["metadata"]["name"], dry_run=dry_run)
        result = await self.client.create(
            resource, obj, field_manager=field_manager, dry_run=dry_run
        )
        return await self._noted(result, "create", obj["metadata"]["name"], dry_run=dry_run)

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
        await self._note("apply", key.name, dry_run=dry_run)
        result = await self.client.apply(
            resource,
            key,
            body,
            field_manager=field_manager,
            force=force,
            dry_run=dry_run,
            subresource=subresource,
            field_validation=field_validation,
        )
        return await self._noted(result, "apply", key.name, dry_run=dry_run)

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
        await self._note("patch", key.name, dry_run=dry_run)
        result = await self.client.patch(
            resource,
            key,
            body,
            patch_type=patch_type,
            field_manager=field_manager,
            subresource=subresource,
            dry_run=dry_run,
        )
        return await self._noted(result, "patch", key.name, dry_run=dry_run)

    async def replace(
        self,
        resource: Resource,
        obj: JsonObject,
        *,
        field_manager: str,
        field_validation: str = "",
        dry_run: bool = False,
    ) -> JsonObject:
        await self._note("replace", obj["metadata"]["name"], dry_run=dry_run)
        return await self.client.replace(
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
        await self._note("delete", key.name, dry_run=dry_run)
        result = await self.client.delete(
            resource,
            key,
            uid=uid,
            resource_version=resource_version,
            propagation=propagation,
            dry_run=dry_run,
        )
        return await self._noted(result, "delete", key.name, dry_run=dry_run)

    def watch(
        self,
        resource: Resource,
        **options: Any,
    ) -> AbstractAsyncContextManager[Any]:
        return self.client.watch(resource, **options)

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: JsonObject | None = None,
        accept: str = "application/json",
        idempotent: bool | None = None,
    ) -> JsonObject:
        await self._note("request", path)
        return await self.client.request(
            method, path, body=body, accept=accept, idempotent=idempotent
        )

    async def pod_log(
        self, key: ObjectKey, *, container: str = "", tail_lines: int, limit_bytes: int
    ) -> str:
        await self._note("log", key.name)
        return await self.client.pod_log(
            key, container=container, tail_lines=tail_lines, limit_bytes=limit_bytes
        )

    def impersonate(self, user: str, groups: tuple[str, ...] = ()) -> KubeClient:
        return self.client.impersonate(user, groups)


@dataclass(slots=True)
class World:
    """What a test acts on."""

    admin: HttpKubeClient
    spy: Spy
    mapper: RestMapper
    namespace: str
    owner: Owner
    kind: str
    known: Verified = field(default_factory=Verified)
    inventory: Inventory = field(default_factory=Inventory)
    ahead: list[Inventory] = field(default_factory=list)

    @property
    def target(self) -> Target:
        return Target(client=self.spy, mapper=self.mapper, owner=self.owner)

    def masked(self, *strings: str) -> Target:
        return Target(client=self.spy, mapper=self.mapper, owner=self.owner, masker=Masker(strings))

    def as_user(self, name: str) -> Spy:
        """A client of another service account in the namespace."""
        user = f"system:serviceaccount:{self.namespace}:{name}"
        return Spy(self.admin.impersonate(user))

    def config_map(self, name: str, **data: str) -> JsonObject:
        return {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": self.namespace},
            "data": data,
        }

    def key(self, name: str) -> ObjectKey:
        return ObjectKey(self.namespace, name)

    async def live(self, name: str, resource: Resource = CONFIG_MAPS) -> JsonObject:
        return await self.admin.get(resource, self.key(name))

    async def names(self, resource: Resource = CONFIG_MAPS) -> set[str]:
        page = await self.admin.list_all(resource, namespace=self.namespace)
        found = {item["metadata"]["name"] for item in page.items}
        return found - {"kube-root-ca.crt"}

    def deployment(self, name: str, image: str = "registry.test/app:1") -> JsonObject:
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {
                "selector": {"matchLabels": {"app": name}},
                "template": {
                    "metadata": {"labels": {"app": name}},
                    "spec": {"containers": [{"name": "app", "image": image}]},
                },
            },
        }

    async def revoke(self) -> None:
        """Take the tenant's rights away, and wait until the server knows."""
        await self.admin.delete(BINDINGS, self.key("tenant"))
        while True:
            try:
                await self.spy.client.get(SERVICE_ACCOUNTS, self.key("tenant"))
            except Forbidden:
                return
            await asyncio.sleep(0.02)

    async def restrict(self, verbs: list[str], *, resources: list[str]) -> None:
        """Leave the tenant all rights but for some resources, where only these verbs are left."""
        role = await self.admin.get(ROLES, self.key("tenant"))
        rules = [
            {"apiGroups": ["apps"], "resources": ["*"], "verbs": ["*"]},
            {"apiGroups": [""], "resources": resources, "verbs": verbs},
        ]
        await self.admin.patch(
            ROLES, self.key("tenant"), {"rules": rules}, patch_type="merge", field_manager="test"
        )
        assert role["rules"] != rules
        while True:
            try:
                await self.spy.client.delete(CONFIG_MAPS, self.key("probe"), dry_run=True)
            except Forbidden:
                return
            except NotFound:
                await asyncio.sleep(0.02)

    async def write_ahead(self, inventory: Inventory) -> None:
        self.ahead.append(inventory)

    async def apply_only(
        self,
        objects: Sequence[JsonObject],
        inventory: Inventory,
        *,
        store: WriteAhead,
        **options: Any,
    ) -> ApplyResult:
        """Apply a set upon an inventory; the caller keeps the books."""
        return await apply_set(
            self.target,
            prepare(objects, owner=self.owner),
            inventory=inventory,
            known=self.known,
            write_ahead=store,
            options=ApplyOptions(**options),
        )

    async def apply(
        self, *objects: JsonObject, target: Target | None = None, **options: Any
    ) -> ApplyResult:
        """Apply a set as a reconcile does, keeping the inventory and what is known."""
        result = await apply_set(
            target or self.target,
            prepare(objects, owner=self.owner),
            inventory=self.inventory,
            known=self.known,
            write_ahead=self.write_ahead,
            options=ApplyOptions(**options),
        )
        self.inventory = result.inventory
        return result


def connect(url: str, ca_pem: bytes, token: str) -> HttpKubeClient:
    return HttpKubeClient(
        Connection(server=url, tls=tls_context(ca=ca_pem), auth=StaticAuth(f"Bearer {token}")),
        user_agent="apply-tests",
        retry=RetryPolicy(budget=0),
    )


async def _tenant(admin: HttpKubeClient, namespace: str) -> KubeClient:
    """A service account with every right in one namespace and none outside."""
    meta = {"name": "tenant", "namespace": namespace}
    await admin.create(
        NAMESPACES,
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}},
        field_manager="test",
    )
    await admin.create(
        SERVICE_ACCOUNTS,
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta},
        field_manager="test",
    )
    rule = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}
    rbac = "rbac.authorization.k8s.io"
    await admin.create(
        ROLES,
        {"apiVersion": f"{rbac}/v1", "kind": "Role", "metadata": meta, "rules": [rule]},
        field_manager="test",
    )
    await admin.create(
        BINDINGS,
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "RoleBinding",
            "metadata": meta,
            "roleRef": {"apiGroup": rbac, "kind": "Role", "name": "tenant"},
            "subjects": [{"kind": "ServiceAccount", "name": "tenant", "namespace": namespace}],
        },
        field_manager="test",
    )
    return admin.impersonate(f"system:serviceaccount:{namespace}:tenant")


async def new_world(admin: HttpKubeClient, kind: str) -> World:
    namespace = f"apply-{secrets.token_hex(4)}"
    tenant = await _tenant(admin, namespace)
    await until_allowed(tenant, namespace)
    owner = Owner(GROUP, "Kustomization", "flux-system", f"app-{namespace}")
    return World(admin, Spy(tenant), RestMapper(admin, RealClock()), namespace, owner, kind)
