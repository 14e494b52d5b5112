"""``fluvial dev``: a control plane and the controllers as separate processes, on loopback.

The piece under the demo and a contract for scripts: it writes an admin kubeconfig, installs the
CRDs, starts the named controllers, says ``ready`` when everything serves, and stops all that it
started when it is left.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import sysconfig
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import orjson

from fluvial.api import crd
from fluvial.errors import FluvialError
from fluvial.kube import config as kube_config
from fluvial.kube import kinds
from fluvial.kube.client import KubeClient
from fluvial.kube.errors import Conflict
from fluvial.objects import JsonObject, ObjectKey
from fluvial_cli.processes import Processes, Program
from fluvial_cli.state import KeptRepository, cluster_file, kept_repository, make_folder

__all__ = [
    "CONTROLLERS",
    "FOR_GIT",
    "SYSTEM_NAMESPACE",
    "DevOptions",
    "Environment",
    "dev_environment",
    "run",
    "says_ready",
]

CONTROLLERS = (
    "notification-controller",
    "source-controller",
    "kustomize-controller",
    "helm-controller",
)
"""The controllers, in the order in which they start."""

FOR_GIT = ("notification-controller", "source-controller", "kustomize-controller")
"""Those that bring Git repositories to a cluster: what the demo and most tests need."""

SYSTEM_NAMESPACE = "flux-system"
_FIELD_MANAGER = "fluvial-dev"
_LOOKS = 1500  # at a definition that is not established yet
_PAUSE = 0.02  # seconds between them
_OWN_MACHINE = "--allow-outbound=127.0.0.0/8"  # where Git server and artifacts are


@dataclass(frozen=True, slots=True)
class DevOptions:
    """What to start.

    Attributes:
        control_plane: ``devcluster``, ``real`` or the path of a kubeconfig.
        controllers: names out of ``CONTROLLERS``; all are started by ``fluvial dev``.
        kubeconfig: where to write the admin kubeconfig; ``None`` puts it in the work folder.
        folder: work folder for logs and artifacts; ``None`` makes one and removes it.
        request_log: JSON lines of every API request.
        control: open devcluster's control endpoint; for tests.
        state: keep the cluster, a Git repository and all else in this folder over restarts; for
            devcluster only.

    """

    control_plane: str = "devcluster"
    controllers: tuple[str, ...] = FOR_GIT
    kubeconfig: Path | None = None
    folder: Path | None = None
    request_log: Path | None = None
    control: bool = False
    state: Path | None = None


@dataclass(frozen=True, slots=True)
class Environment:
    """What runs now."""

    kubeconfig: Path
    folder: Path
    client: KubeClient
    processes: Processes
    repository: KeptRepository | None = None


@asynccontextmanager
async def dev_environment(options: DevOptions) -> AsyncIterator[Environment]:
    """Start everything; leaving the block stops everything in reverse order.

    Raises:
        FluvialError: a program did not start; the message has the tail of its log.

    """
    async with AsyncExitStack() as stack:
        folder = _folder_of(options) or Path(stack.enter_context(work_folder()))
        folder.mkdir(parents=True, exist_ok=True)
        processes = await stack.enter_async_context(Processes())
        kubeconfig = await _start_control_plane(options, folder=folder, processes=processes)
        repository = None
        if options.state is not None:
            repository = await stack.enter_async_context(
                kept_repository(make_folder(options.state))
            )
        client = await stack.enter_async_context(
            await kube_config.load_client(kubeconfig=kubeconfig, user_agent="fluvial-dev")
        )
        await install(client)
        events = ""
        for name in options.controllers:
            log = folder / "logs" / f"{name}.log"
            argv = _controller_argv(name, kubeconfig, folder, events=events)
            await processes.start(Program(name, argv, log), is_ready=says_ready)
            events = events or _events_address(log)
        yield Environment(kubeconfig, folder, client, processes, repository)


def _folder_of(options: DevOptions) -> Path | None:
    """The work folder that was asked for, if any."""
    if options.state is None:
        return options.folder
    if options.control_plane != "devcluster":
        raise FluvialError("--state is for devcluster: other control planes keep their own state")
    return options.folder or make_folder(options.state)


def work_folder() -> tempfile.TemporaryDirectory[str]:
    """A temporary folder for logs, artifacts and the kubeconfig."""
    return tempfile.TemporaryDirectory(prefix="fluvial-dev-")


async def install(client: KubeClient) -> None:
    """Apply the CRDs and the system namespace, and wait until the kinds are served.

    Nothing is taken over by force: in a cluster where Flux is installed, its CRDs are its own.

    Raises:
        FluvialError: a CRD belongs to somebody else, or was not established within 30 s.

    """
    await client.apply(
        kinds.NAMESPACE,
        ObjectKey("", SYSTEM_NAMESPACE),
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM_NAMESPACE}},
        field_manager=_FIELD_MANAGER,
        force=False,
    )
    for name, definition in _definitions().items():
        try:
            await client.apply(
                kinds.CRD,
                ObjectKey("", name),
                definition,
                field_manager=_FIELD_MANAGER,
                force=False,
            )
        except Conflict as error:
            raise FluvialError(
                f"CustomResourceDefinition {name} belongs to another installation: {error}"
            ) from error
    for name in _definitions():
        await _until_established(client, name)


@cache
def _definitions() -> Mapping[str, bytes]:
    """By name, as they are sent; making them takes longer than to apply them."""
    definitions = (crd.crd(kind) for kind in crd.KINDS)
    return {one["metadata"]["name"]: orjson.dumps(one) for one in definitions}


async def _until_established(client: KubeClient, name: str) -> None:
    """Wait for one; the server works on all of them meanwhile."""
    for _ in range(_LOOKS):
        if _is_established(await client.get(kinds.CRD, ObjectKey("", name))):
            return
        await asyncio.sleep(_PAUSE)
    raise FluvialError(f"CustomResourceDefinition {name} was not established in 30s")


async def run(options: DevOptions) -> int:
    """Start, say ``ready``, stay until SIGINT or SIGTERM, stop. Returns the exit status."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with dev_environment(options) as environment:
        _say(f"export KUBECONFIG={environment.kubeconfig}")
        _say(f"logs: {environment.folder / 'logs'}")
        if environment.repository is not None:
            _say(f"git: {environment.repository.url} (push to {environment.repository.path})")
        _say("ready")
        stopped = asyncio.create_task(stop.wait(), name="signal")
        failed = asyncio.create_task(environment.processes.failed(), name="children")
        try:
            await asyncio.wait({stopped, failed}, return_when=asyncio.FIRST_COMPLETED)
            if failed.done() and not stop.is_set():
                sys.stderr.write(f"{failed.result()}\n")
                return 1
        finally:
            for task in (stopped, failed):
                task.cancel()
            await asyncio.gather(stopped, failed, return_exceptions=True)
    return 0


async def _start_control_plane(options: DevOptions, *, folder: Path, processes: Processes) -> Path:
    if options.control_plane not in {"devcluster", "real"}:
        return _existing_kubeconfig(options.control_plane)
    kubeconfig = (options.kubeconfig or folder / "kubeconfig").absolute()
    module, env = "devcluster", {}
    if options.control_plane == "real":
        module, env = "controlplane", {"PYTHONPATH": str(_tests_folder())}
    argv = [sys.executable, "-m", module, "--kubeconfig", str(kubeconfig)]
    if module == "controlplane":
        argv.append("--workloads")
    if options.request_log is not None:
        flag = "--audit-log" if module == "controlplane" else "--request-log"
        argv += [flag, str(options.request_log)]
    if options.state is not None:
        argv += ["--state", str(cluster_file(make_folder(options.state)))]
    if options.control and module == "devcluster":
        argv += ["--control-port", "0"]
    program = Program(module, argv, folder / "logs" / f"{module}.log", env)
    await processes.start(program, is_ready=lambda line: line.startswith(b"ready"))
    return kubeconfig


def _existing_kubeconfig(text: str) -> Path:
    given = Path(text).absolute()
    if not given.is_file():
        raise FluvialError(
            f"--control-plane: {text} is no file; use devcluster, real or a kubeconfig"
        )
    return given


def _tests_folder() -> Path:
    tests = Path(__file__).resolve().parents[3] / "tests"
    if not (tests / "controlplane").is_dir():
        raise FluvialError("--control-plane real needs a checkout: its build files are in tests/")
    return tests


def _events_address(log: Path) -> str:
    """Where the controller that has just become ready takes events, or ``""``."""
    lines = log.read_bytes().splitlines()
    ready = orjson.loads(next(line for line in lines if says_ready(line)))
    address = ready.get("eventsAddr")
    return f"http://{address}/" if address else ""


def _controller_argv(name: str, kubeconfig: Path, folder: Path, *, events: str) -> list[str]:
    argv = [
        sys.executable,
        "-m",
        name.replace("-", "_"),
        f"--kubeconfig={kubeconfig}",
        "--health-addr=127.0.0.1:0",
        "--metrics-addr=127.0.0.1:0",
    ]
    if name == "notification-controller":
        return [
            *argv,
            "--receiverAddr=127.0.0.1:0",
            "--events-addr=127.0.0.1:0",
            _OWN_MACHINE,
        ]
    if events:
        argv.append(f"--events-addr={events}")
    data = folder / name
    data.mkdir(parents=True, exist_ok=True)
    if name == "source-controller":
        return [*argv, f"--storage-path={data}", "--storage-addr=127.0.0.1:0", _OWN_MACHINE]
    argv += ["--feature-gates=ExternalArtifact=true", _OWN_MACHINE]
    return [*argv, f"--cache-path={data}"] if name == "kustomize-controller" else argv


def says_ready(line: bytes) -> bool:
    """Whether a controller's log line says that it serves."""
    try:
        entry = orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return isinstance(entry, dict) and entry.get("msg") == "ready"


def _is_established(definition: JsonObject) -> bool:
    conditions = (definition.get("status") or {}).get("conditions") or []
    return any(c["type"] == "Established" and c["status"] == "True" for c in conditions)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def controllers_of(text: str) -> tuple[str, ...]:
    """Names in ``all``, ``none`` or a comma-separated list.

    Raises:
        FluvialError: a name is unknown.

    """
    if text == "all":
        return CONTROLLERS
    if text in {"none", ""}:
        return ()
    names = tuple(name.strip() for name in text.split(","))
    for name in names:
        if name not in CONTROLLERS:
            raise FluvialError(
                f"--controllers: {name!r} cannot be started; this version has {', '.join(CONTROLLERS)}"
            )
    return tuple(name for name in CONTROLLERS if name in names)


def kubectl_program() -> str:
    """The kubectl of the environment's own wheel, never one that happens to be installed.

    Raises:
        FluvialError: the environment lacks it.

    """
    program = Path(sysconfig.get_path("scripts")) / "kubectl"
    if not program.is_file():
        raise FluvialError(f"{program} is missing: install requirements/run.txt")
    return str(program)


def kubectl_environment(kubeconfig: Path) -> dict[str, str]:
    """The environment for a kubectl that reads nothing but this kubeconfig."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "KUBECONFIG": str(kubeconfig),
        "HOME": str(kubeconfig.parent),
        "TERM": os.environ.get("TERM", "dumb"),
    }
