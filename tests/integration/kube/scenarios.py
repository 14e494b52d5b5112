"""What the client relies on, asked of whichever API server a test class gives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
import pytest

from fluvial.clock import RealClock
from fluvial.kube.config import load_client
from fluvial.kube.discovery import NoMatch, RestMapper
from fluvial.kube.errors import (
    AlreadyExists,
    BadRequest,
    Conflict,
    Forbidden,
    NotFound,
    Unauthorized,
)
from fluvial.kube.http import HttpKubeClient
from fluvial.kube.informer import InformerFactory, NotSynced
from fluvial.kube.reflector import ReflectorTiming
from fluvial.kube.remote import client_from_kubeconfig
from fluvial.kube.resource import Resource
from fluvial.log import get_logger
from fluvial.objects import GroupVersionKind, JsonObject, ObjectKey, key_of

CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap", namespaced=True)
SECRETS = Resource("", "v1", "secrets", "Secret", namespaced=True)
NAMESPACES = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
ACCOUNTS = Resource("", "v1", "serviceaccounts", "ServiceAccount", namespaced=True)
CRDS = Resource(
    "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", False
)
QUICK = ReflectorTiming(backoff=0.05, backoff_cap=0.2)
BY_DEFINITION = ReflectorTiming(backoff=0.2, backoff_cap=0.2, absence_cap=1000.0)
SECONDS = 20.0


def config_map(namespace: str, name: str, **data: str) -> JsonObject:
    """A ConfigMap with a label that tells test objects from the server's own."""
    metadata = {"namespace": namespace, "name": name, "labels": {"test": "yes"}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


async def until(condition: Callable[[], Any]) -> None:
    """Wait for what watches bring."""
    async with asyncio.timeout(SECONDS):
        while not condition():
            await asyncio.sleep(0.01)


class ApiServerScenarios:
    """Inherit and give the fixture ``kubeconfig``, the admin's, as data."""

    @pytest.fixture
    async def admin(self, kubeconfig: JsonObject, tmp_path: Path) -> AsyncIterator[HttpKubeClient]:
        path = tmp_path / "kubeconfig"
        path.write_bytes(orjson.dumps(kubeconfig))  # JSON is YAML
        async with await load_client(kubeconfig=path, user_agent="fluvial-test", environ={}) as c:
            yield c

    @pytest.fixture
    async def namespace(self, admin: HttpKubeClient) -> AsyncIterator[str]:
        name = f"kube-{uuid4().hex[:8]}"
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        await admin.create(NAMESPACES, body, field_manager="test")
        yield name
        await admin.delete(NAMESPACES, ObjectKey("", name))

    async def test_an_object_lives_and_dies(self, admin: HttpKubeClient, namespace: str) -> None:
        key = ObjectKey(namespace, "a")
        made = await admin.create(CONFIG_MAPS, config_map(namespace, "a", x="1"), field_manager="m")
        with pytest.raises(AlreadyExists):
            await admin.create(CONFIG_MAPS, config_map(namespace, "a"), field_manager="m")
        merged = await admin.patch(
            CONFIG_MAPS, key, {"data": {"x": "2"}}, patch_type="merge", field_manager="m"
        )
        assert (await admin.get(CONFIG_MAPS, key))["data"] == {"x": "2"}
        replace = [{"op": "replace", "path": "/data/x", "value": "3"}]
        dry = await admin.patch(
            CONFIG_MAPS, key, replace, patch_type="json", field_manager="m", dry_run=True
        )
        assert dry["data"] == {"x": "3"}
        uid, version = made["metadata"]["uid"], merged["metadata"]["resourceVersion"]
        with pytest.raises(Conflict):
            await admin.delete(CONFIG_MAPS, key, uid="00000000-0000-0000-0000-000000000000")
        with pytest.raises(Conflict):
            await admin.delete(
                CONFIG_MAPS, key, uid=uid, resource_version=made["metadata"]["resourceVersion"]
            )
        await admin.delete(CONFIG_MAPS, key, dry_run=True)
        await admin.delete(CONFIG_MAPS, key, uid=uid, resource_version=version)

        with pytest.raises(NotFound) as caught:
            await admin.get(CONFIG_MAPS, key)
        assert not caught.value.is_resource

    async def test_server_side_apply(self, admin: HttpKubeClient, namespace: str) -> None:
        key = ObjectKey(namespace, "a")
        first = await admin.apply(
            CONFIG_MAPS, key, config_map(namespace, "a", x="1"), field_manager="one"
        )
        again = await admin.apply(
            CONFIG_MAPS,
            key,
            orjson.dumps(config_map(namespace, "a", x="1")),
            field_manager="one",
        )
        other = config_map(namespace, "a", x="2")
        with pytest.raises(Conflict) as caught:
            await admin.apply(CONFIG_MAPS, key, other, field_manager="two", force=False)
        forced = await admin.apply(CONFIG_MAPS, key, other, field_manager="two")

        assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
        assert caught.value.causes[0]["field"] == ".data.x"
        assert forced["data"] == {"x": "2"}

    async def test_an_object_is_replaced_in_the_version_that_was_read(
        self, admin: HttpKubeClient, namespace: str
    ) -> None:
        made = await admin.create(
            CONFIG_MAPS, config_map(namespace, "a", x="1", y="1"), field_manager="m"
        )
        other = {**made, "data": {"x": "2"}}
        asked = await admin.replace(CONFIG_MAPS, other, field_manager="m", dry_run=True)
        replaced = await admin.replace(CONFIG_MAPS, other, field_manager="m")

        assert asked["data"] == replaced["data"] == {"x": "2"}
        with pytest.raises(Conflict):
            await admin.replace(CONFIG_MAPS, made, field_manager="m")
        with pytest.raises(BadRequest, match="unknown field"):
            await admin.replace(
                CONFIG_MAPS, {**replaced, "dat": {}}, field_manager="m", field_validation="Strict"
            )

    async def test_a_strategic_patch_merges_lists(
        self, admin: HttpKubeClient, namespace: str
    ) -> None:
        made = config_map(namespace, "a", x="1")
        made["metadata"]["finalizers"] = ["example.com/a"]
        key = key_of(await admin.create(CONFIG_MAPS, made, field_manager="m"))

        async def patched(change: dict[str, Any]) -> Any:
            patch: dict[str, Any] = {"metadata": change}
            result = await admin.patch(
                CONFIG_MAPS, key, patch, patch_type="strategic", field_manager="m"
            )
            return result["metadata"].get("finalizers")

        assert await patched({"finalizers": ["example.com/b"]}) == [
            "example.com/b",
            "example.com/a",
        ]
        both = ["example.com/a", "example.com/b"]
        assert await patched({"$deleteFromPrimitiveList/finalizers": both}) is None

    async def test_a_missing_kind_is_told_from_a_missing_object(
        self, admin: HttpKubeClient
    ) -> None:
        nothing = Resource("none.example.test", "v1", "things", "Thing", namespaced=False)

        with pytest.raises(NotFound) as caught:
            await admin.get(nothing, ObjectKey("", "x"))
        assert caught.value.is_resource

    async def test_another_identity_has_its_own_rights(
        self, admin: HttpKubeClient, namespace: str
    ) -> None:
        account = {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": "tenant", "namespace": namespace},
        }
        await admin.create(ACCOUNTS, account, field_manager="m")
        tenant = admin.impersonate(f"system:serviceaccount:{namespace}:tenant")

        with pytest.raises(Forbidden, match="tenant"):
            await tenant.list_page(CONFIG_MAPS, namespace=namespace)

    async def test_lists_come_in_pages_and_as_metadata(
        self, admin: HttpKubeClient, namespace: str
    ) -> None:
        for number in range(5):
            body = config_map(namespace, f"c{number}", x="1")
            await admin.create(CONFIG_MAPS, body, field_manager="m")
        first = await admin.list_page(
            CONFIG_MAPS, namespace=namespace, label_selector="test=yes", limit=2
        )
        rest = await admin.list_page(
            CONFIG_MAPS,
            namespace=namespace,
            label_selector="test=yes",
            limit=10,
            continue_token=first.continue_token,
        )
        slim = await admin.list_all(
            CONFIG_MAPS, namespace=namespace, label_selector="test=yes", metadata_only=True
        )
        one = await admin.get(CONFIG_MAPS, ObjectKey(namespace, "c0"), metadata_only=True)

        assert [len(first.items), len(rest.items), rest.continue_token] == [2, 3, ""]
        assert first.items[0]["kind"] == "ConfigMap"
        assert {key_of(item).name for item in slim.items} == {f"c{n}" for n in range(5)}
        assert slim.items[0].keys() == one.keys() == {"apiVersion", "kind", "metadata"}
        assert "managedFields" not in slim.items[0]["metadata"]
        assert (one["apiVersion"], one["kind"]) == ("v1", "ConfigMap")

    @pytest.mark.slow
    async def test_a_watch_ends_when_it_was_asked_to(
        self, admin: HttpKubeClient, namespace: str
    ) -> None:
        page = await admin.list_page(CONFIG_MAPS, namespace=namespace)
        async with admin.watch(
            CONFIG_MAPS,
            namespace=namespace,
            resource_version=page.resource_version,
            timeout_seconds=1,
        ) as events:
            kinds = [event.type async for event in events]

        assert set(kinds) <= {"ADDED", "BOOKMARK"}

    @pytest.mark.parametrize("metadata_only", [False, True], ids=["full", "metadata"])
    async def test_an_informer_follows(
        self, admin: HttpKubeClient, namespace: str, *, metadata_only: bool
    ) -> None:
        await admin.create(CONFIG_MAPS, config_map(namespace, "a", x="1"), field_manager="m")
        factory = InformerFactory(admin, RealClock(), get_logger("t"), timing=QUICK, verify=True)
        informer = factory.informer(
            CONFIG_MAPS,
            namespace=namespace,
            label_selector="test=yes",
            metadata_only=metadata_only,
            indexes={"name": lambda each: [each["metadata"]["name"]]},
        )
        changes: list[tuple[bool, bool]] = []
        informer.subscribe(lambda old, new: changes.append((old is not None, new is not None)))
        async with factory:
            await informer.wait_synced(SECONDS)
            key = ObjectKey(namespace, "a")
            patch = {"data": {"x": "2"}}
            await admin.patch(CONFIG_MAPS, key, patch, patch_type="merge", field_manager="m")
            await until(lambda: len(changes) == 2)
            await admin.create(CONFIG_MAPS, config_map(namespace, "b"), field_manager="m")
            await until(lambda: informer.store.by_index("name", "b"))
            unlabel = {"metadata": {"labels": {"test": None}}}
            await admin.patch(CONFIG_MAPS, key, unlabel, patch_type="merge", field_manager="m")
            await until(lambda: key not in informer.store)
            await admin.delete(CONFIG_MAPS, ObjectKey(namespace, "b"))
            await until(lambda: len(informer.store) == 0)
            informer.store.verify()

        assert changes == [(False, True), (True, True), (False, True), (True, False), (True, False)]
        assert informer.error is None

    @pytest.mark.slow
    async def test_an_informer_starts_once_its_kind_is_served(self, admin: HttpKubeClient) -> None:
        group = f"g{uuid4().hex[:8]}.example.test"
        resource = Resource(group, "v1", "things", "Thing", namespaced=False)
        mapper = RestMapper(admin)
        factory = InformerFactory(admin, RealClock(), get_logger("t"), timing=BY_DEFINITION)
        informer = factory.informer(resource)
        gvk = GroupVersionKind(group, "v1", "Thing")
        name = f"things.{group}"
        async with factory:
            with pytest.raises(NotSynced):
                await informer.wait_synced(0.1)
            with pytest.raises(NoMatch):
                await mapper.resource_for(gvk)
            assert not await mapper.has_kind_fresh(group, "Thing")
            await admin.create(CRDS, crd(group), field_manager="m")
            mapper.crd_appeared(group)
            found = await self.mapped(mapper, gvk)
            await informer.wait_synced(SECONDS)
            thing = {"apiVersion": f"{group}/v1", "kind": "Thing", "metadata": {"name": "t"}}
            await admin.create(resource, thing, field_manager="m")
            await until(lambda: len(informer.store) == 1)
            await admin.delete(CRDS, ObjectKey("", name))
            await until(lambda: len(informer.store) == 0)

            async with asyncio.timeout(SECONDS):
                while await mapper.has_kind_fresh(group, "Thing"):
                    await asyncio.sleep(0.05)
            await until(lambda: isinstance(informer.error, NotFound))
            lists = informer.lists
            await admin.create(CRDS, crd(group), field_manager="m")
            await until(lambda: informer.lists > lists and informer.error is None)
            await admin.delete(CRDS, ObjectKey("", name))
        assert found == resource

    async def mapped(self, mapper: RestMapper, gvk: GroupVersionKind) -> Resource:
        async with asyncio.timeout(SECONDS):
            while True:
                try:
                    return await mapper.resource_for(gvk)
                except NoMatch:
                    await asyncio.sleep(0.02)

    async def test_discovery_agrees_with_itself(self, admin: HttpKubeClient) -> None:
        """The aggregated form and the old one tell the same."""

        class Old(HttpKubeClient):
            async def request(self, method: str, path: str, **more: Any) -> JsonObject:
                more["accept"] = "application/json"
                return await super().request(method, path, **more)

        old = admin.own_pool(4)
        old.__class__ = Old
        new_mapper, old_mapper = RestMapper(admin), RestMapper(old)
        # Between the two looks a kind of another test may come or go.
        async with asyncio.timeout(20):
            while True:
                await new_mapper.refresh()
                await old_mapper.refresh()
                assert new_mapper._picture is not None
                assert old_mapper._picture is not None
                if new_mapper._picture.by_gvk == old_mapper._picture.by_gvk:
                    break
                await asyncio.sleep(0.2)

        preferred = {k: v[0] for k, v in new_mapper._picture.by_kind.items()}
        assert preferred == {k: v[0] for k, v in old_mapper._picture.by_kind.items()}
        assert await new_mapper.resource_for(GroupVersionKind("", "v1", "Secret")) == SECRETS

    async def test_a_remote_kubeconfig_works_and_wrong_credentials_do_not(
        self, admin: HttpKubeClient, kubeconfig: JsonObject
    ) -> None:
        options: dict[str, Any] = {
            "allow_exec": False,
            "allow_insecure_tls": False,
            "user_agent": "t",
        }
        good = await client_from_kubeconfig(orjson.dumps(kubeconfig), **options)
        kubeconfig["users"][0]["user"]["token"] = "wrong"
        bad = await client_from_kubeconfig(orjson.dumps(kubeconfig), **options)
        async with good, bad:
            assert (await good.request("GET", "/version"))["gitVersion"].startswith("v1.")
            with pytest.raises(Unauthorized):
                await bad.list_page(CONFIG_MAPS)


def crd(group: str) -> JsonObject:
    """A CustomResourceDefinition of cluster scope that allows everything."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"things.{group}"},
        "spec": {
            "group": group,
            "names": {"plural": "things", "singular": "thing", "kind": "Thing"},
            "scope": "Cluster",
            "versions": [version],
        },
    }
