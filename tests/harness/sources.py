"""source-controller as processes: several, killed, frozen, and started again."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from fluvial.api.meta import RECONCILE_REQUEST
from fluvial.kube.client import KubeClient
from fluvial.kube.config import load_client
from fluvial.kube.errors import NotFound
from fluvial.kube.kinds import GIT_REPOSITORY, HELM_REPOSITORY
from fluvial.kube.resource import Resource
from fluvial.objects import JsonObject, ObjectKey
from fluvial_cli.dev import install
from fluvial_cli.processes import Processes, Program
from gitservers.repos import Repo
from harness.webserver import FileHost

__all__ = ["Charts", "Commits", "OneSource", "SourceProcess", "connected", "free_port", "until"]

NAMESPACE = "default"
_TIMEOUT = 30.0


@asynccontextmanager
async def connected(folder: Path, kubeconfig: JsonObject) -> AsyncIterator[tuple[Path, KubeClient]]:
    """The path of a kubeconfig in a file, and a client of a cluster that knows our kinds."""
    path = folder / "kubeconfig"
    path.write_bytes(orjson.dumps(kubeconfig))
    async with await load_client(kubeconfig=path, user_agent="test") as client:
        await install(client)
        yield path, client


class OneSource:
    """One source and what it is fetched from.

    Args:
        client: of the cluster.
        resource: its kind.
        spec: its spec.
        name: of the object.

    Attributes:
        revision: what was published last.

    """

    def __init__(
        self, client: KubeClient, resource: Resource, spec: JsonObject, *, name: str
    ) -> None:
        self._client = client
        self._resource = resource
        self._spec = spec
        self.key = ObjectKey(NAMESPACE, name)
        self.revision = ""

    @property
    def kind(self) -> str:
        """Its kind."""
        return self._resource.kind

    def publish(self, version: str) -> None:
        """Have something else to be fetched."""
        raise NotImplementedError

    async def apply(self, *, labels: Mapping[str, str] | None = None) -> None:
        """Create the object, or change its labels."""
        obj = {
            "apiVersion": self._resource.api_version,
            "kind": self._resource.kind,
            "metadata": {
                "name": self.key.name,
                "namespace": self.key.namespace,
                "labels": dict(labels or {}),
            },
            "spec": self._spec,
        }
        await self._client.apply(self._resource, self.key, obj, field_manager="test")

    async def request(self, token: str) -> None:
        """Ask for a reconcile."""
        await self._client.patch(
            self._resource,
            self.key,
            {"metadata": {"annotations": {RECONCILE_REQUEST: token}}},
            patch_type="merge",
            field_manager="test",
        )

    async def delete(self) -> None:
        """Ask for deletion."""
        await self._client.delete(self._resource, self.key)

    async def is_leaving(self) -> bool:
        """Whether its deletion was asked for, or is done."""
        try:
            obj = await self._client.get(self._resource, self.key)
        except NotFound:
            return True
        return "deletionTimestamp" in obj["metadata"]

    async def status(self) -> JsonObject | None:
        """Its status; ``None`` once it is gone."""
        try:
            obj = await self._client.get(self._resource, self.key)
        except NotFound:
            return None
        return obj.get("status") or {}

    async def artifact(self) -> JsonObject:
        """Its artifact, ``{}`` if it has none."""
        return ((await self.status()) or {}).get("artifact") or {}

    async def is_ready(self) -> bool:
        """Whether it has the index that is served now."""
        status = await self.status() or {}
        found = {item["type"]: item["status"] for item in status.get("conditions") or []}
        current = (status.get("artifact") or {}).get("revision") == self.revision
        return current and found.get("Ready") == "True" and "Reconciling" not in found

    async def is_gone(self) -> bool:
        """Whether the object is."""
        return await self.status() is None


class Charts(OneSource):
    """A HelmRepository, the quickest of all sources; the rest as ``OneSource``.

    Args:
        client: of the cluster.
        host: serves its index.
        name: of the object.

    """

    def __init__(self, client: KubeClient, host: FileHost, name: str) -> None:
        spec = {"url": f"{host.url}/{name}", "interval": "1h"}
        super().__init__(client, HELM_REPOSITORY, spec, name=name)
        self._host = host

    def publish(self, version: str) -> None:
        """Have the host serve another index."""
        entry = {"name": "app", "version": version, "urls": [f"app-{version}.tgz"]}
        data = orjson.dumps({"apiVersion": "v1", "entries": {"app": [entry]}})
        (self._host.root / self.key.name).mkdir(exist_ok=True)
        (self._host.root / self.key.name / "index.yaml").write_bytes(data)
        self.revision = f"sha256:{hashlib.sha256(data).hexdigest()}"


class Commits(OneSource):
    """A GitRepository; the rest as ``OneSource``.

    Args:
        client: of the cluster.
        repo: is committed to.
        url: of the server that has it.

    """

    def __init__(self, client: KubeClient, repo: Repo, url: str) -> None:
        spec = {"url": f"{url}/{repo.name}", "interval": "1h", "ref": {"branch": "main"}}
        super().__init__(client, GIT_REPOSITORY, spec, name="commits")
        self._repo = repo

    def publish(self, version: str) -> None:
        """Make another commit."""
        self.revision = f"main@sha1:{self._repo.commit({'version': version})}"


async def until(state: Callable[[], Awaitable[bool]], timeout: float = _TIMEOUT) -> None:
    """Wait for a state."""
    async with asyncio.timeout(timeout):
        while not await state():
            await asyncio.sleep(0.02)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody has at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class SourceProcess:
    """One process.

    Attributes:
        processes: stops it in the end.
        name: its own.
        kubeconfig: of its cluster.
        storage: its folder.
        logs: folder for its log.
        flags: beyond addresses and folders.
        env: added to this process's.

    """

    processes: Processes
    name: str
    kubeconfig: Path
    storage: Path
    logs: Path
    flags: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    pid: int = 0

    @property
    def url(self) -> str:
        """Of its file server, without a slash."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self, *, until: str = "ready") -> None:
        """Start it; returns once it has logged a message.

        Args:
            until: the message.

        """

        def is_there(line: bytes) -> bool:
            return _message(line) == until

        if self.name in self.processes.pids():
            self.pid = await self.processes.restart(self.name, is_ready=is_there)
            return
        argv = [
            sys.executable,
            "-m",
            "source_controller",
            f"--kubeconfig={self.kubeconfig}",
            f"--storage-path={self.storage}",
            f"--storage-addr=127.0.0.1:{self.port}",
            "--health-addr=127.0.0.1:0",
            "--metrics-addr=127.0.0.1:0",
            "--allow-outbound=127.0.0.0/8",
            *self.flags,
        ]
        program = Program(self.name, argv, self.logs / f"{self.name}.log", self.env)
        self.pid = await self.processes.start(program, is_ready=is_there)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def resume(self) -> None:
        """Let it go on, if it was frozen and is there."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGCONT)

    def said(self, message: str) -> list[JsonObject]:
        """Its log lines with a message."""
        lines = (self.logs / f"{self.name}.log").read_bytes().splitlines()
        return [orjson.loads(line) for line in lines if _message(line) == message]


def _message(line: bytes) -> str:
    try:
        entry = orjson.loads(line)
    except orjson.JSONDecodeError:
        return ""
    return str(entry.get("msg", "")) if isinstance(entry, dict) else ""
