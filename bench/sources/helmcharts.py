"""A thousand HelmCharts of one HelmRepository: until all are Ready, and what the host sees of it."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import io
import os
import sys
import tarfile
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import orjson
from aiohttp import web

from bench.load.sampling import Sampler
from bench.stats import Table
from fluvial.kube import kinds
from fluvial.objects import JsonObject
from fluvial_cli import dev

__all__ = ["measure"]

_CONTROLLER = "source-controller"
_TIMEOUT = 600.0
_TIME_TARGET, _MEMORY_TARGET = 25, 220
_AT_ONCE = 25
_VERSIONS = 200
_REPOSITORY = "charts"


async def measure(count: int) -> None:
    """Create the objects, wait until all are Ready, and print.

    Args:
        count: of HelmCharts.

    """
    with tempfile.TemporaryDirectory(prefix="bench-sources-") as name:
        options = dev.DevOptions(controllers=(_CONTROLLER,), folder=Path(name) / "dev")
        async with _Host.run() as host, dev.dev_environment(options) as environment:
            pid = environment.processes.pids()[_CONTROLLER]
            async with Sampler({"with workers": pid}, period=0.05) as sampler:
                seconds = await _until_ready(environment, host, count)
                uses = await sampler.uses()
            log = (environment.folder / "logs" / f"{_CONTROLLER}.log").read_text()
    table = Table(f"{count} HelmCharts of one HelmRepository", "")
    table.add(f"s until all are Ready (target {_TIME_TARGET} for 1000)", seconds)
    table.add("requests for the index", host.requests.get("/index.yaml", 0))
    table.add("requests for charts", sum(host.requests.values()) - host.requests["/index.yaml"])
    print(table.text())
    for use in uses:
        how = "PSS" if use.exact else "resident"
        print(
            f"{use.name}: peak {use.peak_mib:.0f} MiB ({how}, target {_MEMORY_TARGET}),"
            f" {use.cpu_seconds:.1f} s of CPU, {use.cpu_seconds / count * 1000:.1f} ms an object"
        )
    print(f"event loop blocked: {log.count('the event loop was blocked')} times")
    sys.stderr.write(f"load {os.getloadavg()[0]:.1f} at the end, {os.cpu_count()} cores\n")


async def _until_ready(environment: dev.Environment, host: _Host, count: int) -> float:
    start = time.perf_counter()
    spec = {"interval": "1h", "url": host.url}
    await _create(environment, kinds.HELM_REPOSITORY.kind, _REPOSITORY, spec)
    chart = {
        "interval": "1h",
        "chart": "app",
        "version": "1.x",
        "sourceRef": {"kind": kinds.HELM_REPOSITORY.kind, "name": _REPOSITORY},
    }
    for first in range(0, count, _AT_ONCE):
        numbers = range(first, min(first + _AT_ONCE, count))
        await asyncio.gather(
            *(
                _create(environment, kinds.HELM_CHART.kind, f"equal-{number}", chart)
                for number in numbers
            )
        )
    async with asyncio.timeout(_TIMEOUT):
        while True:
            items = (await environment.client.list_all(kinds.HELM_CHART)).items
            if sum(map(_is_ready, items)) == count:
                return time.perf_counter() - start
            await asyncio.sleep(0.5)


async def _create(environment: dev.Environment, kind: str, name: str, spec: JsonObject) -> None:
    resource = {item.kind: item for item in (kinds.HELM_CHART, kinds.HELM_REPOSITORY)}[kind]
    obj = {
        "apiVersion": resource.api_version,
        "kind": kind,
        "metadata": {"name": name, "namespace": "default"},
        "spec": spec,
    }
    await environment.client.create(resource, obj, field_manager="bench")


def _is_ready(obj: JsonObject) -> bool:
    conditions = (obj.get("status") or {}).get("conditions") or []
    return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)


@dataclass
class _Host:
    """An index of two hundred versions of one chart, and the packages."""

    url: str = ""
    requests: dict[str, int] = field(default_factory=dict)
    content: dict[str, bytes] = field(default_factory=dict)

    @classmethod
    @asynccontextmanager
    async def run(cls) -> AsyncIterator[_Host]:
        """Serve until the context is left."""
        self = cls()
        self._fill()
        app = web.Application()
        app.router.add_get("/{path:.*}", self._answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            yield self
        finally:
            await runner.cleanup()

    def _fill(self) -> None:
        entries = []
        for number in range(_VERSIONS):
            version = f"1.{number}.0"
            data = _package(version)
            entries.append(
                {
                    "apiVersion": "v2",
                    "name": "app",
                    "version": version,
                    "urls": [f"app-{version}.tgz"],
                    "digest": hashlib.sha256(data).hexdigest(),
                }
            )
            self.content[f"/app-{version}.tgz"] = data
        index = {"apiVersion": "v1", "entries": {"app": entries}}
        self.content["/index.yaml"] = orjson.dumps(index)

    async def _answer(self, request: web.Request) -> web.Response:
        self.requests[request.path] = self.requests.get(request.path, 0) + 1
        found = self.content.get(request.path)
        return web.Response(status=404) if found is None else web.Response(body=found)


def _package(version: str) -> bytes:
    described = f"apiVersion: v2\nname: app\nversion: {version}\n"
    files = {"Chart.yaml": described, "values.yaml": "replicas: 1\n"}
    files |= {f"templates/{number}.yaml": "#" * 1000 for number in range(20)}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(f"app/{name}")
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    return gzip.compress(packed.getvalue(), mtime=0)
