"""A thousand equal OCIRepositories: until all are Ready, and what the registry sees of it."""

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
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
_TIME_TARGET, _MEMORY_TARGET = 20, 220
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_LAYER = "application/vnd.cncf.flux.content.v1.tar+gzip"
_AT_ONCE = 25
_WORTH_TELLING = 0.05


async def measure(count: int) -> None:
    """Create the objects, wait until all are Ready, and print.

    Args:
        count: of objects.

    """
    with tempfile.TemporaryDirectory(prefix="bench-sources-") as name:
        log_of_requests = Path(name) / "requests.jsonl"
        options = dev.DevOptions(
            controllers=(_CONTROLLER,), folder=Path(name) / "dev", request_log=log_of_requests
        )
        async with _Registry.run() as registry, dev.dev_environment(options) as environment:
            pids = environment.processes.pids()
            groups = {"with workers": pids[_CONTROLLER], "devcluster": pids["devcluster"]}
            async with Sampler(groups, period=0.05) as sampler:
                seconds = await _until_ready(environment, registry, count)
                uses = await sampler.uses()
            asked = _asked(log_of_requests)
            log = (environment.folder / "logs" / f"{_CONTROLLER}.log").read_text()
    table = Table(f"{count} equal OCIRepositories", "")
    table.add(f"s until all are Ready (target {_TIME_TARGET} for 1000)", seconds)
    table.add("requests to the registry", registry.requests)
    table.add("of them manifests and blobs", registry.pulls)
    print(table.text())
    for use in uses:
        how = "PSS" if use.exact else "resident"
        print(
            f"{use.name}: peak {use.peak_mib:.0f} MiB ({how}),"
            f" {use.cpu_seconds:.1f} s of CPU, {use.cpu_seconds / count * 1000:.1f} ms an object"
        )
    print(f"target with workers: {_MEMORY_TARGET} MiB")
    for what, number in asked.most_common():
        if number / count >= _WORTH_TELLING:
            print(f"{number / count:.2f} {what} an object")
    print(f"event loop blocked: {log.count('the event loop was blocked')} times")
    sys.stderr.write(f"load {os.getloadavg()[0]:.1f} at the end, {os.cpu_count()} cores\n")


def _asked(log: Path) -> Counter[str]:
    """The controller's requests by verb and what they are about."""
    found: Counter[str] = Counter()
    for line in log.read_bytes().splitlines():
        entry = orjson.loads(line)
        if entry["agent"].startswith(_CONTROLLER):
            parts = entry["path"].strip("/").split("/")
            about = "status" if parts[-1] == "status" else "events" if "events" in parts else ""
            found[f"{entry['verb']} {about}".strip()] += 1
    return found


async def _until_ready(environment: dev.Environment, registry: _Registry, count: int) -> float:
    start = time.perf_counter()
    for first in range(0, count, _AT_ONCE):
        numbers = range(first, min(first + _AT_ONCE, count))
        await asyncio.gather(*(_create(environment, registry.url, number) for number in numbers))
    async with asyncio.timeout(_TIMEOUT):
        while True:
            items = (await environment.client.list_all(kinds.OCI_REPOSITORY)).items
            if sum(map(_is_ready, items)) == count:
                return time.perf_counter() - start
            await asyncio.sleep(0.5)


async def _create(environment: dev.Environment, url: str, number: int) -> None:
    obj = {
        "apiVersion": kinds.OCI_REPOSITORY.api_version,
        "kind": kinds.OCI_REPOSITORY.kind,
        "metadata": {"name": f"equal-{number}", "namespace": "default"},
        "spec": {"interval": "1h", "url": url, "ref": {"tag": "v1"}},
    }
    await environment.client.create(kinds.OCI_REPOSITORY, obj, field_manager="bench")


def _is_ready(obj: JsonObject) -> bool:
    conditions = (obj.get("status") or {}).get("conditions") or []
    return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@dataclass
class _Registry:
    """One image, served as the distribution specification says."""

    url: str = ""
    requests: int = 0
    pulls: int = 0
    content: dict[str, tuple[str, bytes]] = field(default_factory=dict)

    @classmethod
    @asynccontextmanager
    async def run(cls) -> AsyncIterator[_Registry]:
        """Serve until the context is left."""
        self = cls()
        self._fill()
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.url = f"oci://127.0.0.1:{runner.addresses[0][1]}/app"
            yield self
        finally:
            await runner.cleanup()

    def _fill(self) -> None:
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            for number in range(20):
                info = tarfile.TarInfo(f"deploy/{number}.yaml")
                info.size = 1000
                archive.addfile(info, io.BytesIO(b"#" * 1000))
        layer, config = gzip.compress(packed.getvalue()), b"{}"

        def descriptor(data: bytes, kind: str) -> dict[str, Any]:
            return {"mediaType": kind, "digest": _digest(data), "size": len(data)}

        manifest = orjson.dumps(
            {
                "schemaVersion": 2,
                "mediaType": _MANIFEST,
                "config": descriptor(config, "application/vnd.cncf.flux.config.v1+json"),
                "layers": [descriptor(layer, _LAYER)],
            }
        )
        for name in ("v1", _digest(manifest)):
            self.content[f"/v2/app/manifests/{name}"] = (_MANIFEST, manifest)
        self.content[f"/v2/app/blobs/{_digest(layer)}"] = ("application/octet-stream", layer)

    async def _answer(self, request: web.Request) -> web.Response:
        self.requests += 1
        if request.path == "/v2/":
            return web.json_response({})
        found = self.content.get(request.path)
        if found is None:
            return web.Response(status=404)
        self.pulls += request.method == "GET"
        headers = {"Content-Type": found[0], "Docker-Content-Digest": _digest(found[1])}
        return web.Response(body=found[1], headers=headers)
