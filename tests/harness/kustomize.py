"""kustomize-controller in this process against devcluster, with artifacts packed by the test.

The test plays source-controller: ``source`` packs files, serves them and writes the artifact into
a GitRepository's status. Everything else is the real thing.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import io
import itertools
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from devcluster import DevCluster, Options
from fluvial.artifact import tar
from fluvial.artifact.fetcher import open_fetcher
from fluvial.artifact.server import FileServer
from fluvial.build.builder import Builder
from fluvial.build.cache import BuildCache
from fluvial.build.kustomize import KubectlEngine
from fluvial.clock import RealClock, format_time
from fluvial.kube import config, kinds
from fluvial.kube.client import KubeClient
from fluvial.kube.errors import NotFound
from fluvial.kube.http import HttpKubeClient
from fluvial.kube.informer import InformerFactory
from fluvial.kube.resource import Resource
from fluvial.log import get_logger
from fluvial.net.dialer import Dialer
from fluvial.net.policy import AddressPolicy, parse_networks
from fluvial.objects import JsonObject, ObjectKey, key_of
from fluvial.runtime.events import EventRecorder
from fluvial.runtime.metrics import Metrics
from fluvial_cli import dev
from harness.audit import unjustified
from harness.described import MakeClusters, described_clusters
from harness.rights import until_allowed
from kustomize_controller.assemble import KustomizeController, Parts, Settings
from kustomize_controller.kustomization.rendering import Renderer

__all__ = ["CONFIG_MAPS", "DEPLOYMENTS", "Harness", "configmap", "deployment", "ready_of"]

CONFIG_MAPS = kinds.CONFIG_MAP
DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment", namespaced=True)
_MANAGER = "test"
_AGENT = "kustomize-controller"
_TIMEOUT = 20.0
_ROLES = frozenset({"admin", "edit", "view", "cluster-admin"})
_NAMESPACES = ("team", "other", "made")


class Harness:
    """One cluster, one controller."""

    def __init__(self, folder: Path, client: KubeClient, cluster: DevCluster | None) -> None:
        self.folder = folder
        self.cluster = cluster
        self.client = client
        self.address = ""
        self.controller: KustomizeController | None = None
        self._numbers = itertools.count(1)
        self._stack = AsyncExitStack()
        self._tenants_only = True

    @classmethod
    @asynccontextmanager
    async def start(
        cls,
        folder: Path,
        *,
        settings: Settings | None = None,
        run: bool = True,
        kubeconfig: JsonObject | None = None,
        clusters: MakeClusters = described_clusters,
    ) -> AsyncIterator[Harness]:
        """A cluster with the CRDs, and the controller unless ``run`` is false.

        ``kubeconfig`` names a cluster that is there already; what former tests left is removed.
        ``clusters`` finds those that ConfigMaps describe.
        """
        async with AsyncExitStack() as stack:
            config_of, cluster = kubeconfig, None
            if config_of is None:
                cluster = await stack.enter_async_context(DevCluster(Options()))
                config_of = cluster.kubeconfig()
            file = folder / "kubeconfig"
            file.write_bytes(orjson.dumps(config_of))
            client = await stack.enter_async_context(
                await config.load_client(kubeconfig=file, user_agent="test")
            )
            await dev.install(client)
            self = cls(folder, client, cluster)
            if kubeconfig is not None:
                await self._sweep()
            (folder / "storage").mkdir()
            server = FileServer(folder / "storage", log=get_logger("test"), algorithm="sha256")
            host, port = await server.start("127.0.0.1:0")
            stack.push_async_callback(server.stop)
            self.address = f"http://{host}:{port}"
            await stack.enter_async_context(self._stack)
            if run:
                await self.start_controller(settings or Settings(), clusters=clusters)
            yield self
            self._check_identities()

    async def start_controller(
        self, settings: Settings, *, clusters: MakeClusters = described_clusters
    ) -> None:
        """Run the controller until the harness ends."""
        stack = self._stack
        clock, log = RealClock(), get_logger("kustomize-controller")
        client = await stack.enter_async_context(
            await config.load_client(kubeconfig=self.folder / "kubeconfig", user_agent=_AGENT)
        )
        http = await stack.enter_async_context(aiohttp.ClientSession())
        recorder = EventRecorder(
            client,
            controller="kustomize-controller",
            events_addr="",
            clock=clock,
            http=http,
            hostname="test",
            log=log,
        )
        informers = InformerFactory(client, clock, log, verify=True)
        fetcher = await stack.enter_async_context(
            open_fetcher(
                self.folder / f"cache-{next(self._numbers)}",
                dialer=Dialer(_policy(client)),
                max_cache_bytes=2**28,
                max_artifact_bytes=2**26,
                retries=0,
                clock=clock,
            )
        )
        renderer = Renderer(
            fetcher,
            _builder(self.folder / f"builds-{next(self._numbers)}", clock),
        )
        parts = Parts(
            client=client,
            informers=informers,
            events=recorder,
            metrics=Metrics(),
            renderer=renderer,
            clock=clock,
            log=log,
            clusters=clusters(client),
        )
        self.controller = KustomizeController(parts, settings)
        events = asyncio.create_task(recorder.run(), name="events")
        stack.push_async_callback(_cancelled, events)
        await stack.enter_async_context(informers)
        running = asyncio.create_task(self.controller.run(), name="controller")
        stack.push_async_callback(_cancelled, running)

    def _check_identities(self) -> None:
        """Whatever a test did: tenants' objects were touched as the tenants, or not at all."""
        if self.cluster is None or not self._tenants_only:
            return
        entries = [dataclasses.asdict(entry) for entry in self.cluster.control.requests()]
        assert unjustified(entries, agents=(_AGENT,)) == []

    async def _sweep(self) -> None:
        """Remove the Kustomizations and namespaces of former tests."""
        for obj in (await self.client.list_all(kinds.KUSTOMIZATION)).items:
            key = key_of(obj)
            free = {"metadata": {"finalizers": None}}
            await self.client.patch(
                kinds.KUSTOMIZATION, key, free, patch_type="merge", field_manager=_MANAGER
            )
            with contextlib.suppress(NotFound):
                await self.client.delete(kinds.KUSTOMIZATION, key)
        for name in _NAMESPACES:
            with contextlib.suppress(NotFound):
                await self.client.delete(kinds.NAMESPACE, ObjectKey("", name))
        for name in _NAMESPACES:
            await self.gone(kinds.NAMESPACE, name, "")

    # --- making things ---------------------------------------------------------------------------

    async def apply(self, obj: JsonObject, resource: Resource) -> JsonObject:
        """Server-side apply as the admin."""
        metadata = obj["metadata"]
        key = ObjectKey(metadata.get("namespace", ""), metadata["name"])
        return await self.client.apply(resource, key, obj, field_manager=_MANAGER)

    async def tenant(
        self, namespace: str = "team", *, account: str = "deployer", role: str = "admin"
    ) -> str:
        """A namespace whose service account has a cluster role in it; returns the user's name."""
        await self.apply(_named("v1", "Namespace", namespace), kinds.NAMESPACE)
        await self.apply(_named("v1", "ServiceAccount", account, namespace), kinds.SERVICE_ACCOUNT)
        rbac = "rbac.authorization.k8s.io"
        binding = _named(f"{rbac}/v1", "RoleBinding", account, namespace) | {
            "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}],
        }
        bindings = Resource(rbac, "v1", "rolebindings", "RoleBinding", namespaced=True)
        await self.apply(binding, bindings)
        user = f"system:serviceaccount:{namespace}:{account}"
        if role in _ROLES:
            await until_allowed(self.client.impersonate(user), namespace)
        return user

    async def source(
        self,
        files: Mapping[str, str],
        *,
        namespace: str = "team",
        name: str = "src",
        links: Mapping[str, str] | None = None,
    ) -> str:
        """A new artifact of a GitRepository, made if needed; returns the revision."""
        number = next(self._numbers)
        tree = self.folder / f"tree-{number}"
        for path, text in files.items():
            target = tree / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
        for path, points_to in (links or {}).items():
            (tree / path).symlink_to(points_to)
        revision = f"main@sha1:{number:040x}"
        path = f"gitrepository/{namespace}/{name}/{number:040x}.tar.gz"
        out = io.BytesIO()
        packed = tar.pack(tree, out, lambda _path, _folder: True)
        stored = self.folder / "storage" / path
        stored.parent.mkdir(parents=True, exist_ok=True)
        stored.write_bytes(out.getvalue())
        await self.announce(
            {
                "path": path,
                "url": f"{self.address}/{path}",
                "revision": revision,
                "digest": str(packed.digest),
                "lastUpdateTime": format_time(RealClock().now()),
                "size": packed.size,
            },
            namespace=namespace,
            name=name,
        )
        return revision

    async def announce(
        self, artifact: JsonObject | None, *, namespace: str = "team", name: str = "src"
    ) -> None:
        """Write an artifact into a GitRepository's status, as source-controller does."""
        obj = _named("source.toolkit.fluxcd.io/v1", "GitRepository", name, namespace)
        spec = {"spec": {"url": "https://git.example.com/x.git", "interval": "1h"}}
        await self.apply(obj | spec, kinds.GIT_REPOSITORY)
        await self.client.patch(
            kinds.GIT_REPOSITORY,
            ObjectKey(namespace, name),
            {"status": {"artifact": artifact}},
            patch_type="merge",
            field_manager=_MANAGER,
            subresource="status",
        )

    async def kustomization(
        self, name: str = "app", *, namespace: str = "team", **spec: Any
    ) -> JsonObject:
        """A Kustomization with sensible defaults; ``None`` leaves a field out."""
        defaults: dict[str, Any] = {
            "interval": "1h",
            "retryInterval": "1h",
            "prune": True,
            "serviceAccountName": "deployer",
            "sourceRef": {"kind": "GitRepository", "name": "src"},
        }
        merged = {k: v for k, v in (defaults | spec).items() if v is not None}
        if "serviceAccountName" not in merged:
            self._tenants_only = False
        obj = _named("kustomize.toolkit.fluxcd.io/v1", "Kustomization", name, namespace)
        return await self.apply(obj | {"spec": merged}, kinds.KUSTOMIZATION)

    async def request(self, token: str, name: str = "app", *, namespace: str = "team") -> None:
        """Ask for a reconcile by annotation."""
        await self.client.patch(
            kinds.KUSTOMIZATION,
            ObjectKey(namespace, name),
            {"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": token}}},
            patch_type="merge",
            field_manager=_MANAGER,
        )

    # --- looking ---------------------------------------------------------------------------------

    async def get(self, resource: Resource, name: str, namespace: str = "team") -> JsonObject:
        """One object."""
        return await self.client.get(resource, ObjectKey(namespace, name))

    async def exists(self, resource: Resource, name: str, namespace: str = "team") -> bool:
        """Whether an object is there."""
        try:
            await self.get(resource, name, namespace)
        except NotFound:
            return False
        return True

    async def until(
        self,
        done: Callable[[JsonObject], bool],
        name: str = "app",
        *,
        namespace: str = "team",
        resource: Resource = kinds.KUSTOMIZATION,
    ) -> JsonObject:
        """The object once ``done`` holds."""
        last: JsonObject = {}
        try:
            async with asyncio.timeout(_TIMEOUT):
                while True:
                    selector = f"metadata.name={name}"
                    async with self.client.watch(
                        resource, namespace=namespace, field_selector=selector
                    ) as stream:
                        async for event in stream:
                            last = event.object
                            if event.type in {"ADDED", "MODIFIED"} and done(last):
                                return last
        except TimeoutError:
            status = orjson.dumps(last.get("status"), option=orjson.OPT_INDENT_2).decode()
            raise AssertionError(f"{resource.kind}/{name} did not get there: {status}") from None

    async def applied(
        self, revision: str, name: str = "app", *, namespace: str = "team"
    ) -> JsonObject:
        """The Kustomization once it is Ready at a revision."""
        return await self.until(
            lambda obj: (
                ready_of(obj).get("status") == "True"
                and obj["status"].get("lastAppliedRevision") == revision
                and obj["status"].get("observedGeneration") == obj["metadata"]["generation"]
            ),
            name,
            namespace=namespace,
        )

    async def failed(
        self, reason: str, name: str = "app", *, namespace: str = "team"
    ) -> JsonObject:
        """The Kustomization once Ready is False for a reason."""
        return await self.until(
            lambda obj: (
                ready_of(obj).get("status") == "False"
                and ready_of(obj).get("reason") == reason
                and ready_of(obj).get("observedGeneration") == obj["metadata"]["generation"]
            ),
            name,
            namespace=namespace,
        )

    async def gone(self, resource: Resource, name: str, namespace: str = "team") -> None:
        """Wait until an object is not there."""
        async with asyncio.timeout(_TIMEOUT):
            while await self.exists(resource, name, namespace):
                await asyncio.sleep(0.02)

    async def event(self, reason: str, *, text: str = "", name: str = "app") -> JsonObject:
        """The core Event about a Kustomization with a reason and a text, once it is there."""
        async with asyncio.timeout(_TIMEOUT):
            while True:
                page = await self.client.list_all(kinds.EVENT)
                for event in page.items:
                    about = event["involvedObject"]["name"] == name
                    if about and event["reason"] == reason and text in event["message"]:
                        return event
                await asyncio.sleep(0.02)


def _policy(client: HttpKubeClient) -> AddressPolicy:
    """The file server of the test is on this machine, like the API server, which is denied."""
    host, _, port = client.host.rpartition(":")
    return AddressPolicy.build(
        allowed=parse_networks("127.0.0.0/8"), api_servers=[(host.strip("[]"), int(port))]
    )


def _builder(work: Path, clock: RealClock) -> Builder:
    for folder in (work / "home", work / "trees"):
        folder.mkdir(parents=True)
    return Builder(KubectlEngine(work / "home"), BuildCache(), clock, work_dir=work / "trees")


def ready_of(obj: JsonObject, kind: str = "Ready") -> dict[str, Any]:
    """A condition, or an empty dict."""
    found = (obj.get("status") or {}).get("conditions") or []
    return next((c for c in found if c["type"] == kind), {})


def configmap(name: str = "settings", namespace: str = "team", **data: str) -> str:
    """A ConfigMap as YAML."""
    return _yaml(_named("v1", "ConfigMap", name, namespace) | {"data": data or {"k": "v"}})


def deployment(name: str = "web", namespace: str = "team", **annotations: str) -> str:
    """A Deployment as YAML."""
    obj = _named("apps/v1", "Deployment", name, namespace)
    if annotations:
        obj["metadata"]["annotations"] = annotations
    labels = {"app": name}
    container = {"name": "main", "image": "example.com/app:1"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
    return _yaml(obj | {"spec": spec})


def _named(api_version: str, kind: str, name: str, namespace: str = "") -> JsonObject:
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata}


def _yaml(obj: JsonObject) -> str:
    """JSON is YAML."""
    return orjson.dumps(obj, option=orjson.OPT_INDENT_2).decode() + "\n"


async def _cancelled(task: asyncio.Task[None]) -> None:
    """End a task that runs until it is told to end; one that has ended by itself fails the test."""
    died = task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert not died, f"{task.get_name()} had ended: {task}"
