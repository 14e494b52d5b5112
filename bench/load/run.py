"""One run: a fresh control plane, the floor, the controllers, the phases, in this order."""

from __future__ import annotations

import asyncio
import os
import platform
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from bench.load.controllers import ControllerSet, load_set, start
from bench.load.definitions import install_unused
from bench.load.floor import Floor
from bench.load.measure import Meter
from bench.load.observe import Observer
from bench.load.phases import PHASES, Phases, Scale
from bench.load.placeholders import BadData
from bench.load.plane import AGENT, Plane, open_plane, version_of
from bench.load.results import FloorResult, Machine, PhaseResult, RunResult
from bench.load.sampling import cpu_seconds, group_of, memory_mib
from bench.load.workload import Workload, load_workload
from fluvial.api import crd
from fluvial.clock import RealClock, format_time
from fluvial.errors import FluvialError
from fluvial.kube import kinds
from fluvial.kube.client import KubeClient
from fluvial.kube.informer import InformerFactory
from fluvial.log import get_logger
from fluvial.objects import JsonObject, ObjectKey
from fluvial_cli import dev
from fluvial_cli.waiting import wait_for

__all__ = ["RunOptions", "machine", "run"]

_BENCH = "bench client"
_FIXED_WINDOW = frozenset({"no-op", "drift"})
_REST = 3.0  # seconds
_IDLE = 0.1  # of a core
_LONGEST_REST = 60  # rests

# Before these phases controllers are never quiet: intervals are short since the no-op phase.
_TIMERS_RUN = frozenset({"drift", "uninstall"})
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class RunOptions:
    """One run.

    Attributes:
        workload: name of a file in ``bench/workloads``.
        plane: ``devcluster`` or ``real``.
        controllers: name of a file in ``bench/controllers``, or any file.
        scale: how large.
        phases: out of ``PHASES``.
        parameters: of the workload, instead of its own.
        floor: replay the floor first.
        definitions: of kinds that nobody uses, each as large as that of a HelmRelease.

    """

    workload: str
    plane: str
    scale: Scale
    controllers: str = "fluvial"
    phases: tuple[str, ...] = PHASES
    parameters: Mapping[str, Any] = field(default_factory=dict)
    floor: bool = True
    definitions: int = 0


async def run(options: RunOptions, *, say: Say = lambda _: None) -> RunResult:
    """Run, and return the figures; everything that was started is stopped then.

    Raises:
        BadData: the workload or the controllers cannot be used.
        FluvialError: a program did not start.

    """
    wanted = load_set(options.controllers)
    workload = load_workload(options.workload).with_parameters(**options.parameters)
    refuse(workload, wanted)
    with tempfile.TemporaryDirectory(prefix="fluvial-bench-") as folder:
        async with open_plane(options.plane, Path(folder), workload) as plane:
            workload = workload.with_parameters(url=plane.url)
            return await _on_plane(options, plane, workload, wanted, say)


def refuse(workload: Workload, wanted: ControllerSet) -> None:
    """Refuse a workload whose kinds nobody reconciles.

    Raises:
        BadData: it needs kinds that the controllers' definitions lack.

    """
    missing = workload.missing(
        {definition["spec"]["names"]["kind"] for definition in _crds(wanted)}
    )
    if missing:
        raise BadData(
            f"workload {workload.name} needs {' and '.join(missing)}, for which"
            f" {wanted.name} has no controller yet"
        )


def machine() -> Machine:
    """This machine."""
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return Machine(
        cores=len(os.sched_getaffinity(0)),
        memory_gib=round(pages * size / 2**30, 1),
        kernel=platform.release(),
        python=platform.python_version(),
        fluvial=version("fluvial-shared"),
    )


async def _on_plane(
    options: RunOptions, plane: Plane, workload: Workload, wanted: ControllerSet, say: Say
) -> RunResult:
    await _install(plane.client, wanted)
    if options.definitions:
        await install_unused(plane.client, options.definitions)
        say("the control plane takes in what it was given ...")
        await _until_rested(plane)
    concurrency = {kind: wanted.concurrency(kind) for kind in workload.measured}
    floor = await _floor(options, plane, workload, concurrency, say) if options.floor else ()
    controllers = await start(
        wanted, processes=plane.processes, kubeconfig=plane.kubeconfig, folder=plane.folder
    )
    groups = {one.name: one.pid for one in controllers}
    meter = Meter(
        audit=plane.audit,
        agents=wanted.agents,
        started=controllers,
        groups={**groups, **plane.pids, _BENCH: os.getpid()},
        alone=(_BENCH,),
    )
    log = get_logger("bench")
    async with InformerFactory(plane.client, RealClock(), log) as informers:
        observer = Observer(informers, workload.namespace)
        phases = Phases(
            plane.client,
            observer,
            workload,
            options.scale,
            memory=lambda: ", ".join(
                f"{one.name} {memory_mib(group_of(one.pid))[0]:.0f} MiB" for one in controllers
            ),
        )
        measured = await _phases(options, phases, meter, plane, say)
    return RunResult(
        workload=workload.name,
        count=options.scale.count,
        plane=plane.name,
        plane_version=await version_of(plane.client),
        controllers=wanted.name,
        concurrency=concurrency,
        machine=machine(),
        date=format_time(RealClock().now()),
        phases=measured,
        floor=floor,
        notes=(*workload.notes, *wanted.notes),
    )


async def _until_rested(plane: Plane) -> None:
    """Wait until the control plane does next to nothing, for some minutes at most.

    A server that was given hundreds of definitions goes on to work on them for a while, and both
    the floor and the controllers would be slower for it.
    """
    pid = plane.pids["control plane"]
    for _ in range(_LONGEST_REST):
        before = cpu_seconds(group_of(pid))
        await asyncio.sleep(_REST)
        if cpu_seconds(group_of(pid)) - before < _IDLE * _REST:
            return


async def _phases(
    options: RunOptions, phases: Phases, meter: Meter, plane: Plane, say: Say
) -> tuple[PhaseResult, ...]:
    await phases.set_up()
    results: list[PhaseResult] = []
    failed = asyncio.create_task(plane.processes.failed(), name="children")
    try:
        for name in PHASES:
            if name not in options.phases or (name == "upgrades" and not options.scale.upgrades):
                continue
            say(f"{name} ...")
            work = asyncio.create_task(_measured(name, phases, meter), name=name)
            await asyncio.wait({work, failed}, return_when=asyncio.FIRST_COMPLETED)
            if failed.done():
                work.cancel()
                await asyncio.gather(work, return_exceptions=True)
                raise FluvialError(failed.result())
            results.append(work.result())
            if results[-1].failures:
                break
    finally:
        failed.cancel()
        await asyncio.gather(failed, return_exceptions=True)
    return tuple(results)


async def _measured(name: str, phases: Phases, meter: Meter) -> PhaseResult:
    await phases.prepare(name)
    if name not in _TIMERS_RUN:
        await meter.settle()
    return await meter.phase(name, phases.work[name], until_quiet=name not in _FIXED_WINDOW)


async def _floor(
    options: RunOptions,
    plane: Plane,
    workload: Workload,
    concurrency: Mapping[str, int],
    say: Say,
) -> tuple[FloorResult, ...]:
    floor = Floor(
        plane.client,
        workload,
        options.scale,
        concurrency=concurrency,
        plane_pid=plane.pids["control plane"],
    )
    await floor.set_up()
    results = []
    for phase in ("install", "upgrade", "drift", "uninstall"):
        say(f"floor of {phase} ...")
        results.append(await floor.replay(phase))
        await _calm(plane)
    return tuple(results)


async def _calm(plane: Plane) -> None:
    """Let the control plane's own controllers finish what the floor has given them to do."""
    for _ in range(120):
        await asyncio.sleep(0.5)
        news = await asyncio.to_thread(plane.audit.news)
        busy = [one for one in news if one.verb not in {"get", "list", "watch"}]
        if not any(one.agent != AGENT and "leases" not in one.resource for one in busy):
            return


def _crds(wanted: ControllerSet) -> list[JsonObject]:
    if wanted.crds is None:
        return [crd.crd(kind) for kind in crd.KINDS]
    files = sorted(wanted.crds.glob("*.yaml")) if wanted.crds.is_dir() else [wanted.crds]
    found = [
        obj
        for file in files
        for obj in yaml.load_all(file.read_bytes(), Loader=yaml.CSafeLoader)
        if obj and obj.get("kind") == kinds.CRD.kind
    ]
    if not found:
        raise BadData(f"{wanted.crds} has no CustomResourceDefinition")
    return found


async def _install(client: KubeClient, wanted: ControllerSet) -> None:
    """Fluvial's own definitions as ``fluvial dev`` installs them; or a peer's."""
    if wanted.crds is None:
        await dev.install(client)
        return
    namespace = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": dev.SYSTEM_NAMESPACE},
    }
    key = ObjectKey("", dev.SYSTEM_NAMESPACE)
    await client.apply(kinds.NAMESPACE, key, namespace, field_manager=AGENT)
    for definition in _crds(wanted):
        name = ObjectKey("", definition["metadata"]["name"])
        await client.apply(kinds.CRD, name, definition, field_manager=AGENT)
        await wait_for(client, kinds.CRD, name, until=_established)


def _established(definition: JsonObject) -> bool:
    conditions = (definition.get("status") or {}).get("conditions") or []
    return any(one["type"] == "Established" and one["status"] == "True" for one in conditions)
