"""A start with thousands of stored artifacts: until every one has been checked, and what it reads."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

import orjson

from bench.stats import Table, cpu_seconds
from fluvial.api.codec import encode
from fluvial.artifact.storage import Storage
from fluvial.clock import RealClock
from fluvial.kube import kinds
from fluvial.log import get_logger
from fluvial.objects import JsonObject, ObjectKey
from fluvial_cli import dev
from fluvial_cli.processes import Program

__all__ = ["measure"]

_CONTROLLER = "source-controller"
_KIND = kinds.GIT_REPOSITORY
_TARGET = 10
_TIMEOUT = 300.0


async def measure(count: int, size: int) -> None:
    """Store artifacts, announce them, start the controller, and print.

    Args:
        count: of objects, each with an artifact of its own; they are suspended, so that nothing
            but the check of what is stored is measured.
        size: of each artifact in bytes.

    """
    with tempfile.TemporaryDirectory(prefix="bench-sources-") as name:
        folder = Path(name)
        options = dev.DevOptions(controllers=(), folder=folder / "dev")
        async with dev.dev_environment(options) as environment:
            sys.stderr.write(f"storing {count} artifacts of {size / 1024:.0f} KiB\n")
            await _store(environment, folder / "storage", count, size)
            start = time.perf_counter()
            pid = await environment.processes.start(
                _program(environment, folder), is_ready=_is_checked, timeout=_TIMEOUT
            )
            seconds = time.perf_counter() - start
            read, cpu = _bytes_read(pid), cpu_seconds(pid)
            log = (environment.folder / "logs" / f"{_CONTROLLER}.log").read_text()
    table = Table(f"start with {count} stored artifacts of {size / 1024:.0f} KiB", "")
    table.add(f"s from the start until all are checked (target {_TARGET} for 5000)", seconds)
    table.add("MiB that are stored", count * size / 2**20)
    table.add("MiB that the process read, its own code and lists included", read / 2**20)
    table.add("s of CPU until then", cpu)
    print(table.text())
    print(f"event loop blocked: {log.count('the event loop was blocked')} times")
    sys.stderr.write(f"load {os.getloadavg()[0]:.1f} at the end, {os.cpu_count()} cores\n")


async def _store(environment: dev.Environment, base: Path, count: int, size: int) -> None:
    storage = Storage(base, adv_addr="artifacts", clock=RealClock(), log=get_logger("bench"))
    await storage.start()
    content = base.with_name("content")

    async def announce(number: int) -> None:
        key = ObjectKey("default", f"source-{number}")
        content.write_bytes(os.urandom(size))
        path = storage.relative_path(_KIND.kind, key, "x.tar.gz")
        artifact = await storage.store_file(content, path=path, revision=f"main@sha1:{number}")
        await environment.client.create(_KIND, _suspended(key), field_manager="bench")
        await environment.client.patch(
            _KIND,
            key,
            {"status": {"artifact": encode(artifact), "observedGeneration": 1}},
            patch_type="merge",
            field_manager="bench",
            subresource="status",
        )

    for number in range(count):
        await announce(number)
    storage.stop()


def _suspended(key: ObjectKey) -> JsonObject:
    return {
        "apiVersion": _KIND.api_version,
        "kind": _KIND.kind,
        "metadata": {
            "name": key.name,
            "namespace": key.namespace,
            "finalizers": ["finalizers.fluxcd.io"],
        },
        "spec": {"interval": "1h", "url": "https://git.example/app", "suspend": True},
    }


def _program(environment: dev.Environment, folder: Path) -> Program:
    argv = [
        sys.executable,
        "-m",
        "source_controller",
        f"--kubeconfig={environment.kubeconfig}",
        f"--storage-path={folder / 'storage'}",
        "--storage-addr=127.0.0.1:0",
        "--health-addr=127.0.0.1:0",
        "--metrics-addr=127.0.0.1:0",
    ]
    return Program(_CONTROLLER, argv, environment.folder / "logs" / f"{_CONTROLLER}.log")


def _is_checked(line: bytes) -> bool:
    try:
        entry = orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    told = (entry.get("msg"), entry.get("controllerKind"))
    return told == ("checked stored artifacts", _KIND.kind)


def _bytes_read(pid: int) -> int:
    """By read calls, from the page cache or not; 0 where that is not told."""
    try:
        fields = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    except OSError:
        return 0
    return int(fields["rchar"])
