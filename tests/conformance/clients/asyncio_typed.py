"""kubernetes-asyncio's typed client: models, pages, patches of each type, watches, errors."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from kubernetes_asyncio import client, config, watch

from conformance.clients.plane import Plane, namespace
from conformance.clients.text import Texts
from conformance.clients.transcript import Transcript

__all__ = ["DEFINITION", "api_client", "defined", "play"]

Json = dict[str, Any]
SPACE = "asyncio-typed"
GROUP = "asyncio.example.com"
DEFINITION: Json = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "spec": {
        "scope": "Namespaced",
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {
                    "status": {},
                    "scale": {
                        "specReplicasPath": ".spec.size",
                        "statusReplicasPath": ".status.size",
                    },
                },
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "properties": {
                                    "size": {"type": "integer", "maximum": 9},
                                    "name": {"type": "string", "default": "none"},
                                },
                            },
                            "status": {
                                "type": "object",
                                "properties": {"size": {"type": "integer"}},
                            },
                        },
                    }
                },
            }
        ],
    },
}
_APPLY = "application/apply-patch+yaml"
_MERGE = "application/merge-patch+json"
_SECONDS = 20.0


@asynccontextmanager
async def api_client(plane: Plane, space: str) -> AsyncIterator[client.ApiClient]:
    """A client of the library with the admin's kubeconfig."""
    settings = client.Configuration()
    await config.load_kube_config_from_dict(plane.kubeconfig(space), client_configuration=settings)
    async with client.ApiClient(settings) as api:
        yield api


@asynccontextmanager
async def defined(api: client.ApiClient, plural: str, kind: str) -> AsyncIterator[None]:
    """A custom resource definition for as long as the context lasts, established."""
    extensions: Any = client.ApiextensionsV1Api(api)
    name = f"{plural}.{GROUP}"
    names = {"plural": plural, "singular": kind.lower(), "kind": kind}
    spec = {**DEFINITION["spec"], "group": GROUP, "names": names}
    body = {**DEFINITION, "metadata": {"name": name}, "spec": spec}
    await extensions.create_custom_resource_definition(body)
    try:
        async with asyncio.timeout(_SECONDS):
            while not await _served(api, plural):
                await asyncio.sleep(0.02)
        yield
    finally:
        await extensions.delete_custom_resource_definition(name)


async def _served(api: client.ApiClient, plural: str) -> bool:
    try:
        await client.CustomObjectsApi(api).list_cluster_custom_object(GROUP, "v1", plural)
    except client.ApiException as error:
        if error.status not in {404, 429}:  # not yet; its storage is being made
            raise
        return False
    return True


async def play(plane: Plane) -> list[Json]:
    """Every use of the typed client."""
    with tempfile.TemporaryDirectory(prefix="fluvial-asyncio-") as name:
        script = Transcript(Texts(server=plane.url, folder=str(Path(name))))
        async with namespace(plane, SPACE), api_client(plane, SPACE) as api:
            typed = _Typed(api, script)
            await typed.objects()
            await typed.patches()
            await typed.watches()
            await typed.workloads()
            await typed.access()
            await typed.deletes()
            async with defined(api, "typeds", "Typed"):
                await typed.custom()
        return script.answers


class _Typed:
    def __init__(self, api: client.ApiClient, script: Transcript) -> None:
        self._api = api
        # Any: the library's types know neither a content type nor a plain dict as a body.
        self._core: Any = client.CoreV1Api(api)
        self._apps: Any = client.AppsV1Api(api)
        self._record = script.record

    def _shown(self, model: Any) -> Any:
        return self._api.sanitize_for_serialization(model)

    async def _refused(self, step: str, call: Awaitable[Any]) -> None:
        """Record the status and the body of a call that must fail."""
        try:
            await call
        except client.ApiException as error:
            body = json.loads(error.body) if error.body else None
            self._record(step, {"status": error.status, "reason": error.reason, "body": body})
        else:
            raise AssertionError(f"{step}: not refused")

    async def objects(self) -> None:
        version = await client.VersionApi(self._api).get_code()
        self._record("version", [version.major, version.minor])
        for name in ("a", "b", "c"):
            meta = client.V1ObjectMeta(name=name, labels={"set": "abc", "own": name})
            model = client.V1ConfigMap(metadata=meta, data={"k": name})
            made = await self._core.create_namespaced_config_map(SPACE, model)
            self._record(f"create {name}", self._shown(made))
        read = await self._core.read_namespaced_config_map("a", SPACE)
        self._record("read", [type(read).__name__, read.metadata.labels, read.data])
        self._record("pages", await self._pages())
        by_label = await self._names(label_selector="own in (a, b)")
        by_field = await self._names(field_selector="metadata.name=c")
        self._record("selected", [by_label, by_field])
        read.data = {"k": "replaced"}
        replaced = await self._core.replace_namespaced_config_map("a", SPACE, read)
        self._record("replace", replaced.data)
        await self._refused(
            "replace an old version", self._core.replace_namespaced_config_map("a", SPACE, read)
        )
        await self._refused("read missing", self._core.read_namespaced_config_map("z", SPACE))
        bad = client.V1ConfigMap(metadata=client.V1ObjectMeta(name="BAD"))
        await self._refused("create invalid", self._core.create_namespaced_config_map(SPACE, bad))
        dry = await self._core.create_namespaced_config_map(
            SPACE, {"metadata": {"generateName": "dry-"}}, dry_run="All"
        )
        self._record("dry run", dry.metadata.name)

    async def _names(self, **options: Any) -> list[str]:
        found = await self._core.list_namespaced_config_map(SPACE, **options)
        return [item.metadata.name for item in found.items]

    async def _pages(self) -> list[Any]:
        pages: list[Any] = []
        token = None
        while True:
            page = await self._core.list_namespaced_config_map(
                SPACE, label_selector="set=abc", limit=2, _continue=token
            )
            names = [item.metadata.name for item in page.items]
            pages.append([names, page.metadata.remaining_item_count])
            token = page.metadata._continue
            if not token:
                return pages

    async def patches(self) -> None:
        patch = self._core.patch_namespaced_config_map
        strategic = await patch("a", SPACE, {"data": {"s": "1"}})
        self._record("strategic merge patch", strategic.data)
        operations = [{"op": "replace", "path": "/data/s", "value": "2"}]
        self._record("json patch", (await patch("a", SPACE, operations)).data)
        merged = await patch("a", SPACE, {"data": {"s": None, "m": "3"}}, _content_type=_MERGE)
        self._record("merge patch", merged.data)
        applied: Json = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "a"},
            "data": {"own": "x"},
        }
        options: Json = {"_content_type": _APPLY, "field_manager": "one"}
        self._record("apply", self._shown(await patch("a", SPACE, applied, **options)))
        again = await patch("a", SPACE, applied, **options)
        self._record("apply again", self._shown(again)["data"])
        other = {**applied, "data": {"own": "y"}}
        options = {"_content_type": _APPLY, "field_manager": "two"}
        await self._refused("apply in conflict", patch("a", SPACE, other, **options))
        forced = await patch("a", SPACE, other, force=True, **options)
        self._record("apply by force", self._shown(forced)["metadata"]["managedFields"])
        await self._refused("patch missing", patch("z", SPACE, {"data": {"k": "v"}}))
        await self._refused("patch invalid", patch("a", SPACE, {"data": "text"}))

    async def watches(self) -> None:
        listed = await self._core.list_namespaced_config_map(SPACE)
        changes = asyncio.create_task(self._change(), name="changes")
        seen: list[Any] = []
        async with watch.Watch() as watching:
            stream = watching.stream(
                self._core.list_namespaced_config_map,
                SPACE,
                resource_version=listed.metadata.resource_version,
                label_selector="set=watched",
                timeout_seconds=int(_SECONDS),
            )
            async for event in stream:
                seen.append([event["type"], event["object"].metadata.name, event["object"].data])
                if len(seen) == 4:
                    break
        await changes
        self._record("watch", seen)

    async def _change(self) -> None:
        meta = {"name": "w", "labels": {"set": "watched"}}
        await self._core.create_namespaced_config_map(SPACE, {"metadata": meta, "data": {"n": "1"}})
        patch = self._core.patch_namespaced_config_map
        await patch("w", SPACE, {"data": {"n": "2"}})
        await patch("w", SPACE, {"metadata": {"labels": {"set": None}}})
        await patch("w", SPACE, {"metadata": {"labels": {"set": "watched"}}})

    async def workloads(self) -> None:
        labels = {"app": "web"}
        container = client.V1Container(name="web", image="example.com/web:1")
        template = client.V1PodTemplateSpec(
            metadata=client.V1ObjectMeta(labels=labels),
            spec=client.V1PodSpec(containers=[container]),
        )
        selector = client.V1LabelSelector(match_labels=labels)
        spec = client.V1DeploymentSpec(selector=selector, template=template, replicas=0)
        model = client.V1Deployment(metadata=client.V1ObjectMeta(name="web"), spec=spec)
        made = await self._apps.create_namespaced_deployment(SPACE, model)
        self._record("deployment", self._shown(made.spec))
        scale = await self._apps.read_namespaced_deployment_scale("web", SPACE)
        self._record("scale", self._shown(scale.spec))
        patched = await self._apps.patch_namespaced_deployment_scale(
            "web", SPACE, {"spec": {"replicas": 2}}
        )
        self._record("scaled", self._shown(patched.spec))
        async with asyncio.timeout(_SECONDS):
            while True:
                found = await self._apps.read_namespaced_deployment_status("web", SPACE)
                if found.status.ready_replicas == 2:
                    break
                await asyncio.sleep(0.02)
        self._record("ready", sorted(c.type for c in found.status.conditions))
        changed = {"spec": {"selector": {"matchLabels": {"app": "other"}}}}
        await self._refused(
            "immutable", self._apps.patch_namespaced_deployment("web", SPACE, changed)
        )

    async def access(self) -> None:
        reviews = client.AuthorizationV1Api(self._api)
        attributes = client.V1ResourceAttributes(verb="get", resource="pods", namespace=SPACE)
        own = client.V1SelfSubjectAccessReviewSpec(resource_attributes=attributes)
        mine = await reviews.create_self_subject_access_review(
            client.V1SelfSubjectAccessReview(spec=own)
        )
        spec = client.V1SubjectAccessReviewSpec(resource_attributes=attributes, user="jane")
        hers = await reviews.create_subject_access_review(client.V1SubjectAccessReview(spec=spec))
        self._record("may", [mine.status.allowed, hers.status.allowed])
        self._api.set_default_header("Impersonate-User", "jane")
        try:
            await self._refused("forbidden", self._core.list_namespaced_secret(SPACE))
            review = client.V1SelfSubjectReview()
            made = await client.AuthenticationV1Api(self._api).create_self_subject_review(review)
            self._record("who am I", self._shown(made.status))
        finally:
            del self._api.default_headers["Impersonate-User"]
        request = client.AuthenticationV1TokenRequest(
            spec=client.V1TokenRequestSpec(audiences=["api"], expiration_seconds=600)
        )
        issued = await self._core.create_namespaced_service_account_token("default", SPACE, request)
        self._record("token", [issued.status.token, issued.spec.audiences])

    async def deletes(self) -> None:
        conditions = client.V1Preconditions(uid="00000000-0000-0000-0000-000000000000")
        options = client.V1DeleteOptions(preconditions=conditions)
        delete = self._core.delete_namespaced_config_map
        await self._refused("delete another", delete("a", SPACE, body=options))
        self._record("delete", self._shown(await delete("a", SPACE)))
        await self._core.delete_collection_namespaced_config_map(SPACE, label_selector="set=abc")
        self._record("left", await self._names(label_selector="set"))
        await self._refused("delete missing", delete("a", SPACE))

    async def custom(self) -> None:
        objects: Any = client.CustomObjectsApi(self._api)
        kind = (GROUP, "v1", SPACE, "typeds")
        head = {"apiVersion": f"{GROUP}/v1", "kind": "Typed"}
        for number in (1, 2, 3):
            body: Json = {**head, "metadata": {"name": f"t{number}"}, "spec": {"size": number}}
            made = await objects.create_namespaced_custom_object(*kind, body)
            self._record(f"custom {number}", made)
        page = await objects.list_namespaced_custom_object(*kind, limit=2)
        rest = await objects.list_namespaced_custom_object(
            *kind, limit=2, _continue=page["metadata"]["continue"]
        )
        self._record("custom pages", [[i["spec"] for i in p["items"]] for p in (page, rest)])
        patch = objects.patch_namespaced_custom_object
        merged = await patch(*kind, "t1", {"spec": {"size": 5}}, _content_type=_MERGE)
        self._record("custom merge patch", merged["spec"])
        operations = [{"op": "add", "path": "/spec/name", "value": "n"}]
        self._record("custom json patch", (await patch(*kind, "t1", operations))["spec"])
        applied = {**head, "metadata": {"name": "t1"}, "spec": {"name": "applied"}}
        options: Json = {"_content_type": _APPLY, "field_manager": "one"}
        await self._refused("custom conflict", patch(*kind, "t1", applied, **options))
        forced = await patch(*kind, "t1", applied, force=True, **options)
        self._record("custom apply", forced)
        status = await objects.patch_namespaced_custom_object_status(
            *kind, "t1", {"status": {"size": 5}}, _content_type=_MERGE
        )
        self._record("custom status", [status["spec"], status["status"]])
        scale = await objects.get_namespaced_custom_object_scale(*kind, "t1")
        self._record("custom scale", scale)
        too_big = {"spec": {"size": 99}}
        await self._refused("custom invalid", patch(*kind, "t1", too_big, _content_type=_MERGE))
        await self._refused("custom strategic", patch(*kind, "t1", {"spec": {"size": 2}}))
        gone = await objects.delete_namespaced_custom_object(*kind, "t1")
        self._record("custom delete", gone)
        await objects.delete_collection_namespaced_custom_object(*kind)
        left = await objects.list_cluster_custom_object(GROUP, "v1", "typeds")
        self._record("custom left", left["items"])
