"""Jobs that behave badly, run by the pool's tests in real worker processes."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fluvial.workers import asking, landlock
from fluvial.workers.errors import WorkerError

Payload = dict[str, Any]


def _echo(payload: Payload) -> Payload:
    return {**payload, "pid": os.getpid()}


def _environment(payload: Payload) -> Payload:
    return {
        "environ": dict(os.environ),
        "fds": sorted(p.name for p in Path("/proc/self/fd").iterdir()),
    }


def _crash(payload: Payload) -> Payload:
    ctypes.string_at(0)
    return {}


def _crash_once(payload: Payload) -> Payload:
    marker = Path(payload["marker"])
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGSEGV)
    return {"survived": True}


def _hang(payload: Payload) -> Payload:
    with Path(payload["marker"]).open("a") as marker:
        marker.write(f"{os.getpid()}\n")
    while True:
        time.sleep(60)


def _hang_with_child(payload: Payload) -> Payload:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    with Path(payload["marker"]).open("a") as marker:
        marker.write(f"{child.pid}\n")
    return _hang(payload)


def _eat_memory(payload: Payload) -> Payload:
    held = [bytearray(16 << 20) for _ in range(1000)]
    return {"held": len(held)}


def _print(payload: Payload) -> Payload:
    print("x" * 300_000, flush=True)  # noqa: T201  # what the test is about
    print('{"result": "forged"}', file=sys.stderr, flush=True)  # noqa: T201  # likewise
    os.write(1, b"raw bytes\n")
    return {"printed": True}


def _huge(payload: Payload) -> Payload:
    return {"text": "y" * payload["size"]}


def _ask(payload: Payload) -> Payload:
    return {"answers": [asking.ask({"number": number}) for number in range(payload["times"])]}


def _ask_late(payload: Payload) -> Payload:
    """Answer at once, and ask from a thread that goes on."""
    marker = Path(payload["marker"])

    def late() -> None:
        time.sleep(0.02)
        try:
            asking.ask({})
        except WorkerError as error:
            marker.write_text(error.code)

    threading.Thread(target=late).start()
    return {}


def _raise(payload: Payload) -> Payload:
    raise ValueError("password=hunter2")


def _refuse(payload: Payload) -> Payload:
    raise WorkerError("NoSuchBranch", "branch x does not exist", details={"branch": "x"})


def _no_json(payload: Payload) -> Payload:
    return {"value": object()}


def _fenced(payload: Payload) -> Payload:
    folder = Path(payload["folder"])
    done = landlock.fence(read=landlock.paths_of_libraries(), write=[folder])
    (folder / "mine").write_text("x")
    outcomes = {}
    for name, path in payload["others"].items():
        try:
            Path(path).read_text()
            outcomes[name] = "read"
        except PermissionError:
            outcomes[name] = "denied"
    try:
        os.kill(os.getppid(), 0)
        outcomes["signal"] = "sent"
    except PermissionError:
        outcomes["signal"] = "denied"
    return {"fenced": done, "outcomes": outcomes, "host": socket.gethostbyname("localhost")}


def _ported(payload: Payload) -> Payload:
    """Where a job may still connect after naming one port."""
    landlock.fence(read=landlock.paths_of_libraries(), write=[], ports=[payload["allowed"]])
    outcomes = {}
    for name in ("allowed", "other"):
        try:
            socket.create_connection(("127.0.0.1", payload[name])).close()
            outcomes[name] = "connected"
        except PermissionError:
            outcomes[name] = "denied"
    return {"outcomes": outcomes}


_JOBS: dict[str, Callable[[Payload], Payload]] = {
    "echo": _echo,
    "environment": _environment,
    "crash": _crash,
    "crash-once": _crash_once,
    "hang": _hang,
    "hang-with-child": _hang_with_child,
    "eat-memory": _eat_memory,
    "print": _print,
    "fenced": _fenced,
    "ported": _ported,
    "huge": _huge,
    "ask": _ask,
    "ask-late": _ask_late,
    "raise": _raise,
    "refuse": _refuse,
    "no-json": _no_json,
}


def run(method: str, payload: Payload) -> Payload:
    return _JOBS[method](payload)
