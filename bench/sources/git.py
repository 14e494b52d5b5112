"""A Git repository with a long history, and many sources: what they cost beside the git binary.

The binary does the same over the same server in the same run: a shallow clone of one branch, and
``ls-remote``. CPU time is that of the processes that fetch; the server's is in neither.
"""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.load.sampling import Sampler, cpu_seconds, group_of
from bench.stats import Table
from fluvial.api.meta import RECONCILE_REQUEST
from fluvial.kube import kinds
from fluvial.objects import JsonObject, ObjectKey
from fluvial_cli import dev
from fluvial_cli.waiting import wait_for

__all__ = ["measure", "write_repository"]

_CONTROLLER = "source-controller"
_TIMEOUT = 600.0
_FILES = 300
_ROUNDS = 7
_AT_ONCE = 10


@dataclass(frozen=True, slots=True)
class _Cost:
    """Seconds of the wall clock, and of CPU time."""

    wall: float
    cpu: float


async def measure(commits: int, objects: int) -> None:
    """Compare, and print.

    Args:
        commits: of the repository.
        objects: GitRepositories of it that are made afterwards; 0 for none.

    """
    with tempfile.TemporaryDirectory(prefix="bench-sources-") as name:
        folder = Path(name)
        write_repository(folder / "repos" / "shop.git", commits)
        server, url = await _serve(folder / "repos")
        try:
            options = dev.DevOptions(controllers=(_CONTROLLER,), folder=folder / "dev")
            async with dev.dev_environment(options) as environment:
                await _compare(environment, url, folder, commits)
                if objects:
                    await _many(environment, url, objects, equal=False)
                    await _many(environment, url, objects, equal=True)
        finally:
            server.terminate()
            await server.wait()


def write_repository(bare: Path, commits: int) -> None:
    """A bare repository with that many commits on ``main``, each of which changes one file."""
    bare.mkdir(parents=True)
    _git(["init", "--quiet", "--bare", "--initial-branch=main", "."], bare)
    process = subprocess.Popen(
        [_binary(), "fast-import", "--quiet"], cwd=bare, stdin=subprocess.PIPE
    )
    assert process.stdin is not None
    for number in range(commits):
        body = "".join(f"line {number} {line}\n" for line in range(20))
        process.stdin.write(
            f"commit refs/heads/main\ncommitter b <b@example.com> {1700000000 + number} +0000\n"
            f"data 7\nchange\n\nM 100644 inline deploy/{number % _FILES}.yaml\n"
            f"data {len(body)}\n{body}\n".encode()
        )
    process.stdin.close()
    if process.wait():
        raise RuntimeError("git fast-import failed")


async def _compare(environment: dev.Environment, url: str, folder: Path, commits: int) -> None:
    table = Table(f"Git repository of {commits} commits", "")
    pid = environment.processes.pids()[_CONTROLLER]
    async with Sampler({"with workers": pid}, period=0.05) as sampler:
        # A worker has been started, and what it fetched is another archive.
        await _create(environment, "warm", url, ignore="/warm")
        await _handled(environment, "warm", "")
        before = _own(pid)
        await _create(environment, "large", url)
        await _handled(environment, "large", "")
        ours = _since(before, pid)
        theirs = [
            _timed(["clone", "--quiet", "--depth=1", "--branch=main", url, str(folder / f"{n}")])
            for n in range(3)
        ]
        _compared(table, "first clone", ours, "git clone --depth=1", _mean(theirs, len(theirs)))
        before = _own(pid)
        for number in range(_ROUNDS):
            await _request(environment, "large", str(number))
            await _handled(environment, "large", str(number))
        noop = _mean([_since(before, pid)], _ROUNDS)
        looks = [_timed(["ls-remote", "--heads", "--tags", url]) for _ in range(_ROUNDS)]
        _compared(table, "no-op reconcile", noop, "git ls-remote", _mean(looks, _ROUNDS))
        uses = await sampler.uses()
    print(table.text())
    for use in uses:
        print(f"{use.name}: peak {use.peak_mib:.0f} MiB ({'PSS' if use.exact else 'resident'})")


async def _many(environment: dev.Environment, url: str, count: int, *, equal: bool) -> None:
    """Equal ones share their fetch; the others have ignore rules of their own."""
    pid = environment.processes.pids()[_CONTROLLER]
    before = _own(pid)
    kind = "equal" if equal else "different"
    rules = {number: "" if equal else f"/none-{number}" for number in range(count)}
    for first in range(0, count, _AT_ONCE):
        numbers = range(first, min(first + _AT_ONCE, count))
        await asyncio.gather(
            *(_create(environment, f"{kind}-{n}", url, ignore=rules[n]) for n in numbers)
        )
    for number in range(count):
        await _handled(environment, f"{kind}-{number}", "")
    cost = _since(before, pid)
    table = Table(f"{count} {kind} GitRepositories of it", "")
    table.add("s until all are Ready", cost.wall)
    table.add("ms of CPU each, workers included", cost.cpu / count * 1000)
    print(table.text())
    sys.stderr.write(f"load {os.getloadavg()[0]:.1f} at the end, {os.cpu_count()} cores\n")


def _compared(table: Table, what: str, ours: _Cost, other: str, theirs: _Cost) -> None:
    table.add(f"{what}: ms", ours.wall * 1000)
    table.add(f"{what}: ms of CPU", ours.cpu * 1000)
    table.add(f"{other}: ms", theirs.wall * 1000)
    table.add(f"{other}: ms of CPU", theirs.cpu * 1000)
    table.add(f"{what}, ratio of time", ours.wall / theirs.wall)
    table.add(f"{what}, ratio of CPU", ours.cpu / theirs.cpu if theirs.cpu else 0.0)


def _mean(costs: Sequence[_Cost], count: int) -> _Cost:
    wall, cpu = sum(cost.wall for cost in costs), sum(cost.cpu for cost in costs)
    return _Cost(wall / count, cpu / count)


def _own(pid: int) -> _Cost:
    return _Cost(time.perf_counter(), cpu_seconds(group_of(pid)))


def _since(before: _Cost, pid: int) -> _Cost:
    after = _own(pid)
    return _Cost(after.wall - before.wall, after.cpu - before.cpu)


def _timed(arguments: list[str]) -> _Cost:
    start, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    _git(arguments, Path("/"))
    wall, now = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
    return _Cost(wall, cpu)


async def _create(environment: dev.Environment, name: str, url: str, *, ignore: str = "") -> None:
    spec = {"interval": "1h", "url": url, "ref": {"branch": "main"}}
    obj = {
        "apiVersion": kinds.GIT_REPOSITORY.api_version,
        "kind": kinds.GIT_REPOSITORY.kind,
        "metadata": {"name": name, "namespace": "default"},
        "spec": spec | ({"ignore": ignore} if ignore else {}),
    }
    await environment.client.create(kinds.GIT_REPOSITORY, obj, field_manager="bench")


async def _request(environment: dev.Environment, name: str, token: str) -> None:
    await environment.client.patch(
        kinds.GIT_REPOSITORY,
        ObjectKey("default", name),
        {"metadata": {"annotations": {RECONCILE_REQUEST: token}}},
        patch_type="merge",
        field_manager="bench",
    )


async def _handled(environment: dev.Environment, name: str, token: str) -> None:
    def ready(obj: JsonObject) -> bool:
        status = obj.get("status") or {}
        found = {item["type"]: item["status"] for item in status.get("conditions") or []}
        handled = status.get("lastHandledReconcileAt", "") == token
        return found.get("Ready") == "True" and "Reconciling" not in found and handled

    key = ObjectKey("default", name)
    await wait_for(environment.client, kinds.GIT_REPOSITORY, key, until=ready, timeout=_TIMEOUT)


async def _serve(folder: Path) -> tuple[asyncio.subprocess.Process, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.load.gitserver", str(folder)),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    return process, (await process.stdout.readline()).decode().split()[1]


def _binary() -> str:
    found = shutil.which("git")
    if found is None:
        raise RuntimeError("there is no git to compare with")
    return found


def _git(arguments: list[str], folder: Path) -> None:
    environment = {"PATH": os.defpath, "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1"}
    subprocess.run(
        [_binary(), *arguments], cwd=folder, env=environment, check=True, capture_output=True
    )
