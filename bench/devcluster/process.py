"""The measured server: a process of its own, and what ``/proc`` says about it."""

from __future__ import annotations

import base64
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson

from bench.stats import cpu_seconds

__all__ = ["Server", "pss_mib", "running"]

_START_TIMEOUT = 30.0
_STOP_TIMEOUT = 20.0
_PSS = re.compile(rb"^Pss:\s+(\d+) kB", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Server:
    """A running devcluster.

    Attributes:
        pid: its process.
        host: where it listens.
        port: and on which port.
        ca_pem: the authority that signed its certificate.
        token: the admin's.
        started: seconds from the start of the process to ``ready``.

    """

    pid: int
    host: str
    port: int
    ca_pem: str
    token: str
    started: float

    def cpu(self) -> float:
        """Its CPU seconds so far."""
        return cpu_seconds(self.pid)

    def pss(self) -> float:
        """Its proportional memory in MiB."""
        return pss_mib(self.pid)


def pss_mib(pid: int) -> float:
    """Proportional set size in MiB: private memory and the process's share of the rest."""
    found = _PSS.search(Path(f"/proc/{pid}/smaps_rollup").read_bytes())
    if found is None:
        raise OSError(f"no Pss of process {pid}")
    return int(found[1]) / 1024


@contextmanager
def running(folder: Path, *arguments: str) -> Iterator[Server]:
    """Start ``python -m devcluster`` and stop it at the end.

    Args:
        folder: for its kubeconfig and log.
        arguments: more of its command line.

    Raises:
        OSError: it did not start, or not in time.

    """
    kubeconfig, log = folder / "kubeconfig", folder / "devcluster.log"
    argv = [sys.executable, "-m", "devcluster", "--kubeconfig", str(kubeconfig), *arguments]
    began = time.perf_counter()
    with log.open("ab") as errors:
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=errors)
    try:
        _await_ready(process, log)
        started = time.perf_counter() - began
        yield _described(process.pid, kubeconfig, started)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _await_ready(process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.perf_counter() + _START_TIMEOUT
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(b"ready"):
            return
        if time.perf_counter() > end:
            break
    raise OSError(f"devcluster did not start:\n{log.read_text()[-2000:]}")


def _described(pid: int, kubeconfig: Path, started: float) -> Server:
    config = orjson.loads(kubeconfig.read_bytes())
    cluster = config["clusters"][0]["cluster"]
    host, _, port = cluster["server"].removeprefix("https://").rpartition(":")
    ca_pem = base64.b64decode(cluster["certificate-authority-data"]).decode()
    return Server(pid, host, int(port), ca_pem, config["users"][0]["user"]["token"], started)
