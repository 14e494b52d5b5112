"""``make bench-sources``: what large sources cost.

Figures of one run on one machine. Memory is the sum of PSS where the kernel tells it, of resident
sets otherwise; the highest that was seen at one look, twenty times a second.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from bench.load.sampling import GroupUse, Sampler
from bench.sources import git, helmcharts, ocirepositories, restart
from bench.sources.helmindex import write_index
from bench.stats import Table
from fluvial.api.meta import RECONCILE_REQUEST
from fluvial.kube import kinds
from fluvial.objects import JsonObject, ObjectKey
from fluvial_cli import dev
from fluvial_cli.waiting import wait_for

__all__ = ["main"]

_CONTROLLER = "source-controller"
_KEY = ObjectKey("default", "large")
_TIMEOUT = 600.0
_MEMORY_TARGET = 400.0
_STORED_BYTES = 64 << 10


def main(argv: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.sources", description=__doc__)
    parser.add_argument(
        "--index-mib", type=float, default=50.0, help="size of the Helm index; 0 for none"
    )
    parser.add_argument(
        "--oci-objects", type=int, default=1000, help="equal OCIRepositories; 0 for none"
    )
    parser.add_argument(
        "--helm-charts", type=int, default=1000, help="HelmCharts of one repository; 0 for none"
    )
    parser.add_argument(
        "--git-commits", type=int, default=20_000, help="of one Git repository; 0 for none"
    )
    parser.add_argument(
        "--git-objects", type=int, default=100, help="GitRepositories of it; 0 for none"
    )
    parser.add_argument(
        "--stored", type=int, default=5000, help="artifacts that a start finds; 0 for none"
    )
    given = parser.parse_args(argv)
    if given.index_mib:
        asyncio.run(_helm_index(int(given.index_mib * 2**20)))
    if given.oci_objects:
        asyncio.run(ocirepositories.measure(given.oci_objects))
    if given.helm_charts:
        asyncio.run(helmcharts.measure(given.helm_charts))
    if given.git_commits:
        asyncio.run(git.measure(given.git_commits, given.git_objects))
    if given.stored:
        asyncio.run(restart.measure(given.stored, _STORED_BYTES))
    return 0


async def _helm_index(size: int) -> None:
    """An index of that many bytes: first as YAML, then unchanged, then as JSON."""
    with tempfile.TemporaryDirectory(prefix="bench-sources-") as name:
        folder = Path(name)
        _say(f"writing an index of {size / 2**20:.0f} MiB")
        versions = write_index(folder / "charts" / "index.yaml", size)
        options = dev.DevOptions(controllers=(_CONTROLLER,), folder=folder / "dev")
        async with _files(folder / "charts") as url, dev.dev_environment(options) as environment:
            pid = environment.processes.pids()[_CONTROLLER]
            groups = {"with workers": pid, "controller": pid}
            async with Sampler(groups, alone=("controller",), period=0.05) as sampler:
                await _measure(environment, url, folder / "charts", versions, sampler)
            log = (environment.folder / "logs" / f"{_CONTROLLER}.log").read_text()
            print(f"event loop blocked: {log.count('the event loop was blocked')} times")
            _say(f"load {os.getloadavg()[0]:.1f} at the end, {os.cpu_count()} cores")


async def _measure(
    environment: dev.Environment, url: str, charts: Path, versions: int, sampler: Sampler
) -> None:
    table = Table(f"Helm index, {versions} versions", "s")
    start = time.perf_counter()
    await environment.client.create(kinds.HELM_REPOSITORY, _repository(url), field_manager="bench")
    await _handled(environment, "")
    table.add("YAML until Ready", time.perf_counter() - start)
    for name in ("unchanged", "JSON until Ready"):
        if name != "unchanged":
            stored = next((environment.folder / _CONTROLLER).rglob("index-*.yaml"), None)
            assert stored is not None
            (charts / "index.yaml").write_bytes(stored.read_bytes())
        start = time.perf_counter()
        await _request(environment, name)
        await _handled(environment, name)
        table.add(name, time.perf_counter() - start)
    print(table.text())
    for use in await sampler.uses():
        print(_memory(use))


def _memory(use: GroupUse) -> str:
    how = "PSS" if use.exact else "resident"
    return (
        f"{use.name}: peak {use.peak_mib:.0f} MiB ({how}, target {_MEMORY_TARGET:.0f}),"
        f" {use.cpu_seconds:.1f} s of CPU"
    )


def _repository(url: str) -> JsonObject:
    return {
        "apiVersion": kinds.HELM_REPOSITORY.api_version,
        "kind": kinds.HELM_REPOSITORY.kind,
        "metadata": {"name": _KEY.name, "namespace": _KEY.namespace},
        "spec": {"interval": "1h", "url": url},
    }


async def _request(environment: dev.Environment, token: str) -> None:
    await environment.client.patch(
        kinds.HELM_REPOSITORY,
        _KEY,
        {"metadata": {"annotations": {RECONCILE_REQUEST: token}}},
        patch_type="merge",
        field_manager="bench",
    )


async def _handled(environment: dev.Environment, token: str) -> None:
    def ready(obj: JsonObject) -> bool:
        status = obj.get("status") or {}
        found = {item["type"]: item["status"] for item in status.get("conditions") or []}
        return (
            found.get("Ready") == "True"
            and "Reconciling" not in found
            and status.get("lastHandledReconcileAt", "") == token
        )

    await wait_for(environment.client, kinds.HELM_REPOSITORY, _KEY, until=ready, timeout=_TIMEOUT)


@asynccontextmanager
async def _files(folder: Path) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_static("/", folder)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
