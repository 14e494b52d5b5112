"""The controllers that are measured, as data: ours, or a peer's that speaks the same API.

A set is a YAML file as ``bench/controllers/fluvial.yaml``, which explains the fields. A program
counts as started when its ``ready`` address answers 200; its requests are told apart in the audit
log by how its user agent begins.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from bench.load.placeholders import BadData, fill
from fluvial_cli.processes import ChildFailed, Processes, Program

__all__ = ["CONTROLLERS", "Controller", "ControllerSet", "Started", "load_set", "start"]

CONTROLLERS = Path(__file__).resolve().parents[1] / "controllers"
_POLL = 0.1
_START_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Controller:
    """One program.

    Attributes:
        name: of the process group in all figures.
        argv: template of the command line, the program first.
        env: templates of what is added to the environment.
        ready: template of the address that answers 200 once it serves.
        metrics: template of the address of its metrics; ``""`` for none.
        agent: how its user agent begins.
        concurrent: objects that it reconciles at once, by kind.

    """

    name: str
    argv: tuple[str, ...]
    ready: str
    env: Mapping[str, str] = field(default_factory=dict)
    metrics: str = ""
    agent: str = ""
    concurrent: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ControllerSet:
    """Controllers that work together.

    Attributes:
        name: in all figures.
        crds: folder of their definitions; ``None`` for Fluvial's own.
        notes: settings that a reader of the figures has to know.

    """

    name: str
    controllers: tuple[Controller, ...]
    crds: Path | None = None
    notes: tuple[str, ...] = ()

    @property
    def agents(self) -> dict[str, str]:
        """How the user agent of each begins, by name."""
        return {one.name: one.agent for one in self.controllers}

    def concurrency(self, kind: str, default: int = 4) -> int:
        """Objects of a kind that are reconciled at once."""
        found = [one.concurrent[kind] for one in self.controllers if kind in one.concurrent]
        return found[0] if found else default


@dataclass(frozen=True, slots=True)
class Started:
    """A running controller."""

    name: str
    pid: int
    metrics: str


def load_set(name: str, folder: Path = CONTROLLERS) -> ControllerSet:
    """Read a set: the name of a file in ``folder``, or the path of any file.

    Raises:
        BadData: it is not there, or lacks a field.

    """
    file = folder / f"{name}.yaml"
    if not file.is_file():
        file = Path(name)
    if not file.is_file():
        known = ", ".join(sorted(path.stem for path in folder.glob("*.yaml")))
        raise BadData(f"there are no controllers {name!r}: give a file, or one of {known}")
    data = yaml.safe_load(file.read_text(encoding="utf-8"))
    try:
        return _set(data, file.parent)
    except (KeyError, TypeError) as error:
        raise BadData(f"{file.name} is no set of controllers: {error!r}") from error


def _set(data: Mapping[str, Any], folder: Path) -> ControllerSet:
    crds = data.get("crds")
    return ControllerSet(
        name=str(data["name"]),
        controllers=tuple(_controller(item) for item in data["controllers"]),
        crds=(folder / Path(crds).expanduser()).resolve() if crds else None,
        notes=tuple(data.get("notes") or ()),
    )


def _controller(item: Mapping[str, Any]) -> Controller:
    return Controller(
        name=str(item["name"]),
        argv=tuple(str(part) for part in item["argv"]),
        ready=str(item["ready"]),
        env={str(key): str(value) for key, value in (item.get("env") or {}).items()},
        metrics=str(item.get("metrics") or ""),
        agent=str(item.get("agent") or item["name"]),
        concurrent=dict(item.get("concurrent") or {}),
    )


async def start(
    wanted: ControllerSet, *, processes: Processes, kubeconfig: Path, folder: Path
) -> tuple[Started, ...]:
    """Start all of a set, one after the other.

    Args:
        wanted: the set.
        processes: who owns and stops them.
        kubeconfig: the admin's.
        folder: for their data and logs.

    Raises:
        ChildFailed: one ended, or did not become ready within two minutes.

    """
    return tuple(
        [
            await _start(one, processes=processes, kubeconfig=kubeconfig, folder=folder)
            for one in wanted.controllers
        ]
    )


async def _start(
    one: Controller, *, processes: Processes, kubeconfig: Path, folder: Path
) -> Started:
    own = folder / one.name
    own.mkdir(parents=True, exist_ok=True)
    values = _Values({"python": sys.executable, "kubeconfig": str(kubeconfig), "folder": str(own)})
    program = Program(
        one.name,
        fill(list(one.argv), values.find),
        folder / "logs" / f"{one.name}.log",
        fill(dict(one.env), values.find),
    )
    pid = await processes.start(program, is_ready=bool, timeout=_START_SECONDS)
    try:
        async with asyncio.timeout(_START_SECONDS):
            await _until_ready(fill(one.ready, values.find), processes)
    except TimeoutError:
        raise ChildFailed(f"{one.name} was not ready after {_START_SECONDS:.0f}s") from None
    return Started(one.name, pid, fill(one.metrics, values.find))


async def _until_ready(url: str, processes: Processes) -> None:
    failed = asyncio.create_task(processes.failed(), name="children")
    try:
        async with aiohttp.ClientSession() as session:
            while not await _answers(session, url):
                if failed.done():
                    raise ChildFailed(failed.result())
                await asyncio.sleep(_POLL)
    finally:
        failed.cancel()
        await asyncio.gather(failed, return_exceptions=True)


async def _answers(session: aiohttp.ClientSession, url: str) -> bool:
    with contextlib.suppress(aiohttp.ClientError, OSError):
        async with session.get(url) as answer:
            return answer.status == 200
    return False


class _Values:
    """Values of placeholders; ``port:NAME`` is a free port, the same each time."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = dict(values)

    def find(self, name: str) -> str:
        if name.startswith("port:") and name not in self._values:
            self._values[name] = _free_port()
        return self._values[name]


def _free_port() -> str:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return str(taken.getsockname()[1])
