"""source-controller in this process against devcluster, with real git processes and servers."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import copy
import io
import tarfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Self

import aiohttp
import orjson

from devcluster import DevCluster, Options
from fluvial.api import crd
from fluvial.artifact.server import FileServer
from fluvial.artifact.storage import Storage
from fluvial.clock import RealClock
from fluvial.cloud.identities import CloudIdentities
from fluvial.kube import config, kinds
from fluvial.kube.client import KubeClient
from fluvial.kube.informer import InformerFactory
from fluvial.kube.resource import Resource
from fluvial.log import get_logger
from fluvial.objects import JsonObject, ObjectKey
from fluvial.runtime.events import EventRecorder
from fluvial.runtime.metrics import Metrics
from harness.outbound import loopback_dialer
from source_controller.assemble import Parts, Settings, SourceController

__all__ = ["NAMESPACE", "SourceWorld", "condition", "fast_settings"]

NAMESPACE = "apps"
_MANAGER = "test"
_TIMEOUT = 20.0

Done = Callable[[JsonObject], Any]


def condition(obj: JsonObject, type_: str) -> JsonObject:
    """A condition of an object, ``{}`` if it is not there."""
    conditions = (obj.get("status") or {}).get("conditions") or []
    return next((item for item in conditions if item["type"] == type_), {})


class SourceWorld:
    """One cluster, one controller, one storage.

    Attributes:
        client: as the admin, also the controller's.
        url: of the artifact server, ending in ``/``.
        resource: the kind that names are about; see ``of``.
        identities: logs in to clouds; the controller's own if ``None``.

    """

    resource: Resource = kinds.GIT_REPOSITORY
    identities: CloudIdentities | None = None

    def __init__(self, folder: Path, client: KubeClient) -> None:
        self.folder = folder
        self.client = client
        self.url = ""
        self.storage_path = folder / "storage"
        self.http: aiohttp.ClientSession
        self.controller: SourceController
        self._running: asyncio.Task[None]
        self._controller_stack = AsyncExitStack()
        self._bound: tuple[str, int] = ("", 0)
        self._adapt: Callable[[Parts], Parts] = lambda parts: parts

    @classmethod
    @asynccontextmanager
    async def start(
        cls,
        folder: Path,
        *,
        settings: Settings | None = None,
        cluster_config: JsonObject | None = None,
        adapt: Callable[[Parts], Parts] = lambda parts: parts,
    ) -> AsyncIterator[SourceWorld]:
        """A cluster with the CRDs and a namespace, and the running controller.

        Args:
            folder: for everything.
            settings: of the controller.
            cluster_config: kubeconfig of a cluster that runs; a devcluster otherwise.
            adapt: what the controller is made of, where a test wants other parts.

        """
        async with AsyncExitStack() as stack:
            if cluster_config is None:
                cluster = await stack.enter_async_context(DevCluster(Options()))
                cluster_config = cluster.kubeconfig()
            kubeconfig = folder / "kubeconfig"
            kubeconfig.write_bytes(orjson.dumps(cluster_config))
            client = await stack.enter_async_context(
                await config.load_client(kubeconfig=kubeconfig, user_agent="test")
            )
            for kind in crd.KINDS:
                definition = crd.crd(kind)
                key = ObjectKey("", definition["metadata"]["name"])
                await client.apply(kinds.CRD, key, definition, field_manager=_MANAGER)
            world = cls(folder, client)
            world._adapt = adapt
            await world._create_namespace(NAMESPACE)
            world.http = await stack.enter_async_context(aiohttp.ClientSession())
            server = FileServer(world.storage_path, log=get_logger("test"), algorithm="sha256")
            world._bound = await server.start("127.0.0.1:0")
            stack.push_async_callback(server.stop)
            world.url = f"http://{world._bound[0]}:{world._bound[1]}/"
            stack.push_async_callback(world.stop_controller)
            await world.start_controller(settings or fast_settings())
            yield world

    async def start_controller(self, settings: Settings) -> None:
        """Run the controller until ``stop_controller``."""
        clock, log = RealClock(), get_logger("source-controller")
        recorder = EventRecorder(
            self.client,
            controller="source-controller",
            events_addr="",
            clock=clock,
            http=self.http,
            hostname="test",
            log=log,
        )
        informers = InformerFactory(self.client, clock, log, verify=True)
        storage = Storage(
            self.storage_path,
            adv_addr="",
            clock=clock,
            log=log,
            max_bytes=settings.limits.max_tree_bytes,
        )
        parts = Parts(
            client=self.client,
            informers=informers,
            events=recorder,
            metrics=Metrics(),
            storage=storage,
            dialer=loopback_dialer(),
            clock=clock,
            log=log,
            storage_address=lambda: f"{self._bound[0]}:{self._bound[1]}",
            identities=self.identities,
        )
        self.controller = SourceController(self._adapt(parts), settings)
        events = asyncio.create_task(recorder.run(), name="events")
        self._controller_stack.push_async_callback(_cancelled, events)
        self._controller_stack.push_async_callback(recorder.flush)
        await self._controller_stack.enter_async_context(informers)
        self._running = asyncio.create_task(self.controller.run(), name="controller")
        self._controller_stack.push_async_callback(_cancelled, self._running)

    async def controller_ended(self) -> None:
        """Wait until it ends by itself, and stop what is left; raises what it raised."""
        async with asyncio.timeout(_TIMEOUT):
            await asyncio.wait((self._running,))
        await self.stop_controller()

    async def stop_controller(self) -> None:
        """End it at once, as a killed process would, but for its tasks."""
        await self._controller_stack.aclose()

    async def _create_namespace(self, name: str) -> None:
        obj = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        await self.client.apply(kinds.NAMESPACE, ObjectKey("", name), obj, field_manager=_MANAGER)

    def of(self, resource: Resource) -> Self:
        """The same world with names about another kind."""
        view = copy.copy(self)
        view.resource = resource
        return view

    # --- making things ---------------------------------------------------------------------------

    async def repository(
        self, name: str = "app", *, labels: Mapping[str, str] | None = None, **spec: Any
    ) -> JsonObject:
        """A GitRepository; ``None`` leaves a field out."""
        fields = {"interval": "1h", "ref": {"branch": "main"}} | spec
        return await self.of(kinds.GIT_REPOSITORY).make(name, labels=labels, **fields)

    async def make(
        self, name: str = "app", *, labels: Mapping[str, str] | None = None, **spec: Any
    ) -> JsonObject:
        """An object of the world's kind; ``None`` leaves a field out."""
        obj = {
            "apiVersion": "source.toolkit.fluxcd.io/v1",
            "kind": self.resource.kind,
            "metadata": {"name": name, "namespace": NAMESPACE, "labels": dict(labels or {})},
            "spec": {key: value for key, value in spec.items() if value is not None},
        }
        return await self.client.apply(
            self.resource, ObjectKey(NAMESPACE, name), obj, field_manager=_MANAGER
        )

    async def run_now(self, name: str = "app") -> None:
        """Reconcile an object as its timer would, and wait until nothing is left to do."""
        queue = self.controller.queue_of(self.resource)
        queue.add(ObjectKey(NAMESPACE, name))
        await queue.wait_idle()

    async def secret(self, name: str, values: Mapping[str, str]) -> None:
        """Create or replace a Secret."""
        data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
        obj = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "data": data,
        }
        await self.client.apply(
            kinds.SECRET, ObjectKey(NAMESPACE, name), obj, field_manager=_MANAGER
        )

    async def request(self, token: str, name: str = "app") -> None:
        """Ask for a reconcile by annotation."""
        await self.client.patch(
            self.resource,
            ObjectKey(NAMESPACE, name),
            {"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": token}}},
            patch_type="merge",
            field_manager=_MANAGER,
        )

    async def delete(self, name: str = "app") -> None:
        """Ask for deletion."""
        await self.client.delete(self.resource, ObjectKey(NAMESPACE, name))

    # --- looking ---------------------------------------------------------------------------------

    async def get(self, name: str = "app") -> JsonObject:
        """The object."""
        return await self.client.get(self.resource, ObjectKey(NAMESPACE, name))

    async def until(self, done: Done, name: str = "app") -> JsonObject:
        """The object once ``done`` says so."""
        last: JsonObject = {}
        try:
            async with asyncio.timeout(_TIMEOUT):
                while True:
                    last = await self.get(name)
                    if done(last):
                        return last
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"it did not come to this: {last.get('status')}") from None

    async def until_ready(self, name: str = "app", *, revision: str = "") -> JsonObject:
        """The object once it is Ready at its generation, with a revision if one is given."""

        def done(obj: JsonObject) -> bool:
            status = obj.get("status") or {}
            artifact = status.get("artifact") or {}
            return (
                condition(obj, "Ready").get("status") == "True"
                and status.get("observedGeneration") == obj["metadata"]["generation"]
                and not condition(obj, "Reconciling")
                and (not revision or artifact.get("revision") == revision)
            )

        return await self.until(done, name)

    async def until_failed(self, reason: str, name: str = "app") -> JsonObject:
        """The object once Ready is False for a reason, at its generation."""

        def done(obj: JsonObject) -> bool:
            ready = condition(obj, "Ready")
            return (ready.get("status"), ready.get("reason"), ready.get("observedGeneration")) == (
                "False",
                reason,
                obj["metadata"]["generation"],
            )

        return await self.until(done, name)

    async def until_handled(self, token: str, name: str = "app") -> JsonObject:
        """The object once a request was acted on and is over."""
        return await self.until(
            lambda obj: (obj.get("status") or {}).get("lastHandledReconcileAt") == token, name
        )

    async def gone(self, name: str = "app") -> None:
        """Wait until the object is deleted."""
        async with asyncio.timeout(_TIMEOUT):
            while any(
                item["metadata"]["name"] == name
                for item in (await self.client.list_all(self.resource)).items
            ):
                await asyncio.sleep(0.02)

    async def files(self, obj: JsonObject) -> dict[str, str]:
        """The content of an object's artifact, fetched from its URL."""
        async with self.http.get(obj["status"]["artifact"]["url"]) as response:
            assert response.status == 200
            data = await response.read()
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            return {
                member.name: _text(archive, member)
                for member in archive.getmembers()
                if member.isfile()
            }

    async def events(self, name: str = "app") -> list[tuple[str, str]]:
        """Type and reason of the object's events, oldest first."""
        page = await self.client.list_all(kinds.EVENT, namespace=NAMESPACE)
        mine = [e for e in page.items if e["involvedObject"]["name"] == name]
        mine.sort(key=lambda event: int(event["metadata"]["resourceVersion"]))
        return [(event["type"], event["reason"]) for event in mine]

    @asynccontextmanager
    async def history(self, name: str = "app") -> AsyncIterator[list[JsonObject]]:
        """Every version of an object that the server has from here on, as a watch shows them."""
        seen: list[JsonObject] = []
        selector = f"metadata.name={name}"
        async with self.client.watch(
            self.resource, namespace=NAMESPACE, field_selector=selector
        ) as stream:

            async def follow() -> None:
                async for event in stream:
                    if event.type in {"ADDED", "MODIFIED"}:
                        seen.append(event.object)  # noqa: PERF401  # read while it grows

            task = asyncio.create_task(follow(), name="history")
            try:
                yield seen
            finally:
                await _cancelled(task)

    async def until_event(self, reason: str, name: str = "app") -> JsonObject:
        """The first event with a reason."""
        async with asyncio.timeout(_TIMEOUT):
            while True:
                page = await self.client.list_all(kinds.EVENT, namespace=NAMESPACE)
                for event in page.items:
                    if (event["involvedObject"]["name"], event["reason"]) == (name, reason):
                        return event
                await asyncio.sleep(0.02)


def fast_settings() -> Settings:
    """Retries soon, so that tests need not wait, and tells everything it does."""
    return Settings(
        requeue_dependency=0.2, retry_delays=(0.2, 1.0), http_retry=0, progress_after=0.0
    )


def _text(archive: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    stream = archive.extractfile(member)
    assert stream is not None
    return stream.read().decode()


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
