"""helm-controller in this process, on either control plane, with charts that the test hands out.

The test plays source-controller: ``Team.chart`` serves an archive and writes the artifact into the
status of an OCIRepository, HelmChart or ExternalArtifact. Everything else is the real thing. One
world serves many tests: each has a ``Team``, a namespace with an account of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from devcluster import DevCluster
from fluvial.api import crd
from fluvial.artifact.fetcher import open_fetcher
from fluvial.artifact.server import FileServer
from fluvial.build.helm.model import RenderedRelease
from fluvial.build.helm.postrender import PostRenderer
from fluvial.build.helm.renderer import HelmRenderer, engine_pool
from fluvial.build.kustomize import KubectlEngine
from fluvial.clock import RealClock
from fluvial.kube import config, kinds
from fluvial.kube.client import KubeClient
from fluvial.kube.errors import NotFound
from fluvial.kube.informer import InformerFactory
from fluvial.kube.resource import Resource
from fluvial.log import get_logger
from fluvial.objects import JsonObject, ObjectKey
from fluvial.runtime.events import EventRecorder
from fluvial.runtime.metrics import Metrics
from fluvial.workers.pool import WorkerPool
from fluvial_cli import dev
from harness.audit import unjustified
from harness.described import described_clusters
from harness.outbound import loopback_dialer
from harness.rights import until_allowed
from harness.team import BINDINGS, CLUSTER_BINDINGS, MANAGER, Team, named
from helm_controller.assemble import HelmController, Parts, Settings

__all__ = ["AGENT", "ReleaseWorld", "install_definitions"]

AGENT = "helm-controller"
_RBAC = "rbac.authorization.k8s.io"
_ROLES = frozenset({"admin", "edit", "view", "cluster-admin"})
_ESTABLISHED = 30.0


async def install_definitions(client: KubeClient) -> None:
    """Our kinds' definitions; returns once they are served."""
    await dev.install(client)
    definition = crd.crd(crd.HELM_RELEASE)
    key = ObjectKey("", definition["metadata"]["name"])
    await client.apply(kinds.CRD, key, definition, field_manager=MANAGER)
    async with asyncio.timeout(_ESTABLISHED):
        while True:
            with contextlib.suppress(NotFound):
                await client.list_page(kinds.HELM_RELEASE, limit=1)
                return
            await asyncio.sleep(0.02)


class ReleaseWorld:
    """One cluster, one controller.

    Attributes:
        folder: for everything.
        client: the admin's.
        kubeconfig: the admin's.
        cluster: devcluster; ``None`` on the real control plane.
        address: of the server of artifacts, without a slash.
        renders: that the controller has asked for.
        metrics: the controller's.
        controller: once it is started.

    """

    def __init__(
        self, folder: Path, client: KubeClient, kubeconfig: JsonObject, cluster: DevCluster | None
    ) -> None:
        self.folder = folder
        self.client = client
        self.kubeconfig = kubeconfig
        self.cluster = cluster
        self.address = ""
        self.renders = 0
        self.metrics = Metrics()
        self.controller: HelmController | None = None
        self._numbers = itertools.count(1)
        self._stack = AsyncExitStack()

    @classmethod
    @asynccontextmanager
    async def start(
        cls, folder: Path, kubeconfig: JsonObject, *, cluster: DevCluster | None = None
    ) -> AsyncIterator[ReleaseWorld]:
        """A cluster with the definitions, and a server of artifacts; no controller yet."""
        async with AsyncExitStack() as stack:
            file = folder / "kubeconfig"
            file.write_bytes(orjson.dumps(kubeconfig))
            client = await stack.enter_async_context(
                await config.load_client(kubeconfig=file, user_agent="test")
            )
            await install_definitions(client)
            self = cls(folder, client, kubeconfig, cluster)
            (folder / "storage").mkdir()
            server = FileServer(folder / "storage", log=get_logger("test"), algorithm="sha256")
            host, port = await server.start("127.0.0.1:0")
            stack.push_async_callback(server.stop)
            self.address = f"http://{host}:{port}"
            await stack.enter_async_context(self._stack)
            yield self

    async def start_controller(self, settings: Settings | None = None) -> None:
        """Run the controller until the world ends."""
        stack, clock, log = self._stack, RealClock(), get_logger(AGENT)
        client = await stack.enter_async_context(
            await config.load_client(kubeconfig=self.folder / "kubeconfig", user_agent=AGENT)
        )
        recorder = EventRecorder(
            client,
            controller=AGENT,
            events_addr="",
            clock=clock,
            http=await stack.enter_async_context(aiohttp.ClientSession()),
            hostname="test",
            log=log,
        )
        fetcher = await stack.enter_async_context(
            open_fetcher(
                self.folder / "cache",
                dialer=loopback_dialer(),
                max_cache_bytes=2**28,
                max_artifact_bytes=2**26,
                retries=0,
                clock=clock,
            )
        )
        pool = await stack.enter_async_context(engine_pool(log=log))
        for folder in (work := self.folder / "work", work / "home", work / "trees"):
            folder.mkdir()
        post_renderer = PostRenderer(KubectlEngine(work / "home"), work_dir=work / "trees")
        informers = InformerFactory(client, clock, log, verify=True)
        parts = Parts(
            client=client,
            informers=informers,
            events=recorder,
            metrics=self.metrics,
            fetcher=fetcher,
            renderer=_Counting(self, pool, post_renderer=post_renderer),
            clock=clock,
            log=log,
            clusters=described_clusters(client),
        )
        self.controller = controller = HelmController(
            parts, settings or Settings(external_artifacts=True)
        )
        events = asyncio.create_task(recorder.run(), name="events")
        stack.push_async_callback(_cancelled, events)
        await stack.enter_async_context(informers)
        running = asyncio.create_task(controller.run(), name="controller")
        stack.push_async_callback(_cancelled, running)

    @property
    def runs(self) -> int:
        """Reconciles so far, however they ended."""
        found = self.metrics.reconciles.collect()
        samples = [one for family in found for one in family.samples]
        return int(sum(one.value for one in samples if one.name.endswith("_total")))

    # --- namespaces ------------------------------------------------------------------------------

    async def team(self, *, role: str = "admin", everywhere: bool = False) -> Team:
        """A namespace whose service account ``deployer`` has a cluster role.

        Args:
            role: of the account; ``""`` for none.
            everywhere: in the whole cluster, and not only in its namespace.

        """
        namespace = f"team-{next(self._numbers)}-{secrets.token_hex(3)}"
        team = Team(self.client, namespace, self.folder / "storage", self.address)
        await self._apply(kinds.NAMESPACE, named("v1", "Namespace", namespace))
        await self.account(team, role=role, everywhere=everywhere)
        return team

    async def account(
        self, team: Team, name: str = "deployer", *, role: str = "admin", everywhere: bool = False
    ) -> str:
        """A service account of a team; the name of its user."""
        namespace = team.namespace
        account = named("v1", "ServiceAccount", name, namespace)
        await self._apply(kinds.SERVICE_ACCOUNT, account)
        user = f"system:serviceaccount:{namespace}:{name}"
        if not role:
            return user
        bound = {
            "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
        }
        if everywhere:
            obj = named(f"{_RBAC}/v1", "ClusterRoleBinding", f"{namespace}-{name}") | bound
            await self._apply(CLUSTER_BINDINGS, obj)
        else:
            obj = named(f"{_RBAC}/v1", "RoleBinding", name, namespace) | bound
            await self._apply(BINDINGS, obj)
        if role in _ROLES:
            await until_allowed(self.client.impersonate(user), namespace)
        return user

    async def allowed(self, user: str, namespace: str) -> None:
        """Wait until the server knows what a user was granted in a namespace."""
        await until_allowed(self.client.impersonate(user), namespace)

    async def leave(self, team: Team) -> None:
        """Check who did what in a team's namespace, and delete its releases and the namespace."""
        if self.cluster is not None and team.tenants_only:
            entries = [asdict(entry) for entry in self.cluster.control.requests()]
            about = [one for one in entries if f"/namespaces/{team.namespace}" in one["path"]]
            assert unjustified(about, agents=(AGENT,)) == []
        await team.delete_all()
        with contextlib.suppress(NotFound):
            await self.client.delete(kinds.NAMESPACE, ObjectKey("", team.namespace))

    async def _apply(self, resource: Resource, obj: JsonObject) -> None:
        metadata = obj["metadata"]
        key = ObjectKey(metadata.get("namespace", ""), metadata["name"])
        await self.client.apply(resource, key, obj, field_manager=MANAGER)


class _Counting(HelmRenderer):
    """A renderer that counts."""

    def __init__(self, world: ReleaseWorld, pool: WorkerPool, **options: Any) -> None:
        super().__init__(pool, **options)
        self._world = world

    async def render(self, *arguments: Any, **options: Any) -> RenderedRelease:
        self._world.renders += 1
        return await super().render(*arguments, **options)


async def _cancelled(task: asyncio.Task[None]) -> None:
    """End a task that runs until it is told to end; one that has ended by itself fails the test."""
    died = task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert not died, f"{task.get_name()} had ended: {task}"
