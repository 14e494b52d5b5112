"""What one run stands on: a control plane of its own, a server of sources, and the bare client."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.load.audit import AuditLog
from bench.load.podinfo import chart_files
from bench.load.workload import Workload
from fluvial.errors import FluvialError
from fluvial.kube.config import load_client
from fluvial.kube.http import HttpKubeClient
from fluvial.objects import JsonObject
from fluvial_cli.processes import Processes, Program
from fluvial_cli.repository import DemoRepository

__all__ = ["AGENT", "PLANES", "Plane", "open_plane", "version_of"]

PLANES = ("devcluster", "real")
AGENT = "fluvial-bench"
_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Plane:
    """Everything but the controllers.

    Attributes:
        name: ``devcluster`` or ``real``.
        folder: of this run; removed at its end.
        client: the bare client, as the administrator.
        audit: requests that were answered.
        processes: starts and stops children.
        pids: of process groups so far, by name.
        url: where the workload's content is, for sources.

    """

    name: str
    folder: Path
    kubeconfig: Path
    client: HttpKubeClient
    audit: AuditLog
    processes: Processes
    url: str
    pids: dict[str, int] = field(default_factory=dict)


@asynccontextmanager
async def open_plane(name: str, folder: Path, workload: Workload) -> AsyncIterator[Plane]:
    """Start a control plane and a server that has the workload's content.

    Raises:
        FluvialError: a program did not start; the message has the tail of its log.

    """
    if name not in PLANES:
        raise FluvialError(f"{name!r} is no control plane, only {' and '.join(PLANES)} are")
    async with AsyncExitStack() as stack:
        processes = await stack.enter_async_context(Processes())
        pids: dict[str, int] = {}
        address = _Address()
        name_of_server, argv = await _source_server(folder, workload)
        pids[name_of_server] = await processes.start(
            _program(name_of_server.replace(" ", "-"), argv, folder), is_ready=address.read
        )
        kubeconfig, audit = folder / "kubeconfig", folder / "audit.log"
        module = "devcluster" if name == "devcluster" else "controlplane"
        argv = [module, "--kubeconfig", str(kubeconfig), "--audit-log", str(audit)]
        pids["control plane"] = await processes.start(
            _program(module, argv, folder), is_ready=lambda line: line.startswith(b"ready")
        )
        client = await stack.enter_async_context(
            await load_client(kubeconfig=kubeconfig, user_agent=AGENT)
        )
        log = AuditLog(audit)
        yield Plane(name, folder, kubeconfig, client, log, processes, address.url, pids)


async def version_of(client: HttpKubeClient) -> str:
    """The version that the API server tells."""
    answer: JsonObject = await client.request("GET", "/version")
    return str(answer.get("gitVersion", ""))


class _Address:
    """Takes the address out of the line ``ready URL``."""

    url = ""

    def read(self, line: bytes) -> bool:
        word, _, rest = line.decode().strip().partition(" ")
        if word == "ready":
            self.url = rest
        return bool(self.url)


def _program(name: str, argv: list[str], folder: Path) -> Program:
    path = [str(_ROOT), str(_ROOT / "tests"), os.environ.get("PYTHONPATH", "")]
    environment = {"PYTHONPATH": os.pathsep.join(part for part in path if part)}
    command = [sys.executable, "-m", *argv]
    return Program(name, command, folder / "logs" / f"{name}.log", environment)


async def _source_server(folder: Path, workload: Workload) -> tuple[str, list[str]]:
    """Name and command of what serves the content."""
    content = folder / "content"
    content.mkdir(parents=True)
    files = chart_files() if workload.serve == "chart" else workload.content
    for name, text in files.items():
        (content / name).parent.mkdir(parents=True, exist_ok=True)
        (content / name).write_text(text, encoding="utf-8")
    if workload.serve in {"oci", "chart"}:
        what = "chart" if workload.serve == "chart" else "artifact"
        argv = ["bench.load.registry", what, str(content), str(folder / "registry")]
        return "registry", argv
    served = folder / "git"
    await DemoRepository.create(content, served)
    return "git server", ["bench.load.gitserver", str(served)]
