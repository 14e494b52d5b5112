"""Helm's own engine in a process of its own, for tests that do as its users do.

A Go library is loaded there, after which a process must not fork. Requests are JSON lines on
standard input, ``{"do": method, "with": keyword arguments}``, where ``also`` are options of the
library that its Python face lacks, such as ``server_side_apply``; the first is the keyword
arguments of ``helm_python.Config``. Each has one JSON line as its answer, ``{"result": …}`` or
``{"error": type, "message": text}``.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

__all__ = ["HelmSdk", "helm_sdk", "need_helm"]

_REQUIRE = "FLUVIAL_REQUIRE_HELM"
_TESTS = Path(__file__).parents[1]
_SECONDS = 60.0
Json = dict[str, Any]


def need_helm() -> None:
    """Skip the test where the SDK is not installed; fail it where the environment says it must be.

    ``requirements/helm.txt`` installs it.
    """
    if importlib.util.find_spec("helm_python") is not None:
        return
    if os.environ.get(_REQUIRE) == "1":
        pytest.fail("helm-python-sdk is not installed: requirements/helm.txt")
    pytest.skip("helm-python-sdk is not installed: requirements/helm.txt")


class HelmSdk:
    """The process that has the library."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def send(self, value: Json) -> None:
        """Send one line."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(value).encode() + b"\n")
        await self._process.stdin.drain()

    async def call(self, method: str, **arguments: Any) -> Json:
        """What the SDK answers, an error as a value."""
        assert self._process.stdout is not None
        await self.send({"do": method, "with": arguments})
        async with asyncio.timeout(_SECONDS):
            line = await self._process.stdout.readline()
        answer: Json = json.loads(line)
        return answer

    async def do(self, method: str, **arguments: Any) -> Any:
        """What the SDK answers; an error fails the test."""
        answer = await self.call(method, **arguments)
        assert "error" not in answer, answer
        return answer["result"]


@asynccontextmanager
async def helm_sdk(
    kubeconfig: Mapping[str, Any], namespace: str, folder: Path
) -> AsyncIterator[HelmSdk]:
    """The engine as an admin of a cluster; ``folder`` gets the kubeconfig and is its home."""
    config = folder / "helm-kubeconfig"
    config.touch(mode=0o600)
    config.write_text(json.dumps(kubeconfig))
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "harness.helm_child",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={"HOME": str(folder), "PATH": os.environ["PATH"], "PYTHONPATH": str(_TESTS)},
        cwd=folder,
        limit=2**24,
    )
    sdk = HelmSdk(process)
    try:
        await sdk.send({"kubeconfig_path": str(config), "namespace": namespace})
        yield sdk
    finally:
        process.kill()
        await process.communicate()
