"""notification-controller in this process against devcluster, with its webhook server."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from aiohttp.test_utils import TestServer

from devcluster import DevCluster, Options
from fluvial.clock import RealClock
from fluvial.cloud.http import CloudHttp
from fluvial.kube import config, kinds
from fluvial.kube.client import KubeClient
from fluvial.kube.informer import InformerFactory
from fluvial.kube.resource import Resource
from fluvial.log import get_logger
from fluvial.net.dialer import Dialer
from fluvial.objects import JsonObject, ObjectKey
from fluvial.runtime.events import EventRecorder
from fluvial.runtime.metrics import Metrics
from fluvial_cli import dev
from harness.outbound import loopback_dialer
from notification_controller.assemble import NotificationController, Parts, Settings

__all__ = ["TOKEN", "ReceiverWorld", "ready_of"]

TOKEN = "token"
_MANAGER = "test"
_TIMEOUT = 20.0
_REQUEST = "reconcile.fluxcd.io/requestedAt"


@dataclass
class ReceiverWorld:
    """One cluster, one controller, one webhook server.

    Attributes:
        url: of the webhook server, without a path.
        events_url: of the event server.
        metrics: of the controller.

    """

    client: KubeClient
    controller: NotificationController
    url: str
    events_url: str
    http: aiohttp.ClientSession
    metrics: Metrics

    @classmethod
    @asynccontextmanager
    async def start(
        cls,
        folder: Path,
        *,
        settings: Settings | None = None,
        http: CloudHttp | None = None,
        dialer: Dialer | None = None,
    ) -> AsyncIterator[ReceiverWorld]:
        """The namespaces ``team`` and ``other``, and the running controller."""
        async with AsyncExitStack() as stack:
            cluster = await stack.enter_async_context(DevCluster(Options()))
            kubeconfig = folder / "kubeconfig"
            kubeconfig.write_bytes(orjson.dumps(cluster.kubeconfig()))
            client = await stack.enter_async_context(
                await config.load_client(kubeconfig=kubeconfig, user_agent="test")
            )
            await dev.install(client)
            session = await stack.enter_async_context(aiohttp.ClientSession())
            clock, log, metrics = RealClock(), get_logger("notification-controller"), Metrics()
            recorder = EventRecorder(
                client,
                controller="notification-controller",
                events_addr="",
                clock=clock,
                http=session,
                hostname="test",
                log=log,
            )
            informers = InformerFactory(client, clock, log, verify=True)
            parts = Parts(
                client=client,
                everywhere=client,
                informers=informers,
                events=recorder,
                metrics=metrics,
                dialer=dialer or loopback_dialer(),
                http=http or CloudHttp(loopback_dialer()),
                clock=clock,
                log=log,
            )
            controller = NotificationController(parts, settings or Settings())
            urls = []
            for app in (controller.webhooks(), controller.events()):
                server = TestServer(app, host="127.0.0.1")
                await server.start_server()
                stack.push_async_callback(server.close)
                urls.append(str(server.make_url("")).rstrip("/"))
            await stack.enter_async_context(informers)
            for running in (recorder, *controller.everywhere, *controller.leading):
                task = asyncio.create_task(running.run())
                stack.push_async_callback(_cancelled, task)
            world = cls(client, controller, urls[0], urls[1], session, metrics)
            for name in ("team", "other"):
                await world.apply(kinds.NAMESPACE, "", name)
            yield world

    # --- making things ---------------------------------------------------------------------------

    async def secret(self, token: str = TOKEN, **more: str) -> None:
        """The Secret ``token`` of the namespace ``team``."""
        values = {"token": token, **more}
        data = {name: base64.b64encode(value.encode()).decode() for name, value in values.items()}
        labels = {"reconcile.fluxcd.io/watch": "Enabled"}
        await self.apply(kinds.SECRET, "team", "token", labels=labels, data=data)

    async def git(
        self, name: str, namespace: str = "team", labels: Mapping[str, str] | None = None
    ) -> None:
        """A GitRepository that nobody fetches."""
        spec = {"url": "https://git.example.com/app", "interval": "1h"}
        await self.apply(kinds.GIT_REPOSITORY, namespace, name, labels=labels, spec=spec)

    async def receiver(self, name: str = "hook", **spec: Any) -> str:
        """A Receiver; its address once it is ready."""
        await self.make(name, **spec)
        done = await self.until(lambda obj: ready_of(obj).get("status") == "True", name)
        return self.url + str(done["status"]["webhookPath"])

    async def make(self, name: str = "hook", **spec: Any) -> None:
        """A Receiver of GitHub for the GitRepository ``app``; ``None`` leaves a field out."""
        fields = {
            "type": "github",
            "secretRef": {"name": "token"},
            "resources": [{"kind": "GitRepository", "name": "app"}],
        } | spec
        given = {field: value for field, value in fields.items() if value is not None}
        await self.apply(kinds.RECEIVER, "team", name, spec=given)

    async def apply(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        *,
        labels: Mapping[str, str] | None = None,
        **fields: Any,
    ) -> None:
        """Server-side apply as the admin."""
        metadata: JsonObject = {"name": name, "labels": dict(labels or {})}
        if namespace:
            metadata["namespace"] = namespace
        head = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata}
        await self.client.apply(
            resource, ObjectKey(namespace, name), {**head, **fields}, field_manager=_MANAGER
        )

    # --- calling, and looking --------------------------------------------------------------------

    async def call(
        self, url: str, body: Any = b"{}", *, method: str = "POST", **headers: str
    ) -> int:
        """The status of the answer, whose body must be empty."""
        data = body if isinstance(body, bytes | io.BytesIO) else orjson.dumps(body)
        sent = {"Content-Type": "application/json"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.http.request(method, url, data=data, headers=sent) as answer:
            assert await answer.read() == b""
            return answer.status

    async def woken(self, name: str = "app", namespace: str = "team") -> str:
        """The request that stands on a GitRepository, or ``""``."""
        obj = await self.client.get(kinds.GIT_REPOSITORY, ObjectKey(namespace, name))
        return str((obj["metadata"].get("annotations") or {}).get(_REQUEST, ""))

    async def until(self, holds: Callable[[JsonObject], Any], name: str = "hook") -> JsonObject:
        """The Receiver once something holds of it."""
        async with asyncio.timeout(_TIMEOUT):
            while True:
                obj = await self.client.get(kinds.RECEIVER, ObjectKey("team", name))
                if holds(obj):
                    return obj
                await asyncio.sleep(0.01)

    async def reasons(self, name: str = "hook") -> list[tuple[str, str]]:
        """Type and reason of the events of an object."""
        return [(event["type"], event["reason"]) for event in await self.warnings(name)]

    async def warnings(self, name: str) -> list[JsonObject]:
        """The events of an object."""
        page = await self.client.list_all(kinds.EVENT, namespace="team")
        return [event for event in page.items if event["involvedObject"]["name"] == name]

    async def report(self, number: int = 1, **fields: Any) -> int:
        """Post an event, as a controller does; the status of the answer."""
        body = {
            "involvedObject": {
                "apiVersion": "source.toolkit.fluxcd.io/v1",
                "kind": "GitRepository",
                "name": "app",
                "namespace": "team",
            },
            "severity": "info",
            "timestamp": "2026-11-23T10:00:00Z",
            "message": f"message {number}",
            "reason": "NewArtifact",
            "reportingController": "source-controller",
        } | fields
        async with self.http.post(self.events_url, json=body) as answer:
            return answer.status


def ready_of(obj: JsonObject, type_: str = "Ready") -> JsonObject:
    """A condition, ``{}`` if it is not there or not of this generation."""
    found: list[JsonObject] = (obj.get("status") or {}).get("conditions") or []
    condition = next((item for item in found if item["type"] == type_), {})
    is_current = condition.get("observedGeneration") == obj["metadata"]["generation"]
    return condition if is_current else {}


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
