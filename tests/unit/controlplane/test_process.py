"""Child processes of the control plane."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from controlplane.process import Child, ChildDied
from controlplane.start import remove_leftovers


async def test_death_is_reported_with_the_end_of_the_log(tmp_path: Path) -> None:
    script = "for n in range(1000): print('line', n)\nraise SystemExit(3)"
    child = await Child.start(
        name="thing", command=[sys.executable, "-c", script], log=tmp_path / "log"
    )
    await child.wait()

    with pytest.raises(ChildDied) as caught:
        child.check()

    message = str(caught.value)
    assert "thing ended with code 3" in message
    assert "line 999" in message
    assert "line 0\n" not in message


async def test_stop_kills_what_does_not_listen(tmp_path: Path) -> None:
    script = (
        "import signal,time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('up', flush=True)\ntime.sleep(60)"
    )
    log = tmp_path / "log"
    child = await Child.start(name="deaf", command=[sys.executable, "-c", script], log=log)
    while b"up" not in log.read_bytes():
        child.check()

    await child.stop(grace=0.05)

    with pytest.raises(ProcessLookupError):
        os.kill(child.pid, 0)


async def test_data_of_killed_control_planes_is_removed(tmp_path: Path) -> None:
    ended = await Child.start(name="t", command=[sys.executable, "-V"], log=tmp_path / "log")
    await ended.wait()
    for owner in (ended.pid, os.getpid(), "somebody"):
        (tmp_path / f"fluvial-control-plane-{owner}-x").mkdir()

    remove_leftovers(tmp_path)

    mine = f"fluvial-control-plane-{os.getpid()}-x"
    assert _folders(tmp_path) == {mine, "fluvial-control-plane-somebody-x"}


def _folders(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.is_dir()}
