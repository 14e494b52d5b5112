"""Storage servers out of packages, in an environment of their own (``make`` installs it)."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

__all__ = ["azurite_path", "need_storage", "serving"]

_ENVIRONMENT = Path(sys.prefix) / "storage"
_CACHED_AZURITE = Path.home() / ".cache/fluvial/azurite/node_modules/.bin/azurite-blob"


def need_storage() -> Path:
    """The Python that moto and the emulator of Google's storage are installed for."""
    python = _ENVIRONMENT / "bin/python"
    if python.exists():
        return python
    missing = "moto is not installed: make .venv/.storage"
    if os.environ.get("FLUVIAL_REQUIRE_STORAGE") == "1":
        pytest.fail(missing)
    pytest.skip(missing)


def azurite_path() -> str:
    """The program of Azurite's blob service."""
    found = shutil.which("azurite-blob") or str(_CACHED_AZURITE)
    if Path(found).exists() and shutil.which("node"):
        return found
    missing = "azurite is not installed: bash tests/setup.sh"
    if os.environ.get("FLUVIAL_REQUIRE_AZURITE") == "1":
        pytest.fail(missing)
    pytest.skip(missing)


@contextmanager
def serving(argv: Sequence[str], *, ready: str, env: dict[str, str]) -> Iterator[int]:
    """A server from its first word to its end.

    Args:
        argv: the command.
        ready: expression for a line of its output; its group 1 is the port.
        env: beside ``PATH`` and ``HOME``; the rest of the environment is kept from it.

    """
    base = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    process = subprocess.Popen(
        argv,
        env={**base, "PYTHONUNBUFFERED": "1", **env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield _port(process.stdout.readline, re.compile(ready))
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def _port(readline: Callable[[], str], ready: re.Pattern[str]) -> int:
    seen = ""
    while line := readline():
        seen += line
        found = ready.search(line)
        if found:
            drain = threading.Thread(target=_drain, args=(readline,), daemon=True)
            drain.start()
            return int(found[1])
    raise AssertionError(f"the server did not start: {seen}")


def _drain(readline: Callable[[], str]) -> None:
    """Read what it goes on saying, so that it never waits for a reader."""
    try:
        while readline():
            pass
    except ValueError:
        return
