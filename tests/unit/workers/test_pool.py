"""The pool's processes are real here; what they must survive is in ``pool_jobs``."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from fluvial.log import get_logger
from fluvial.workers import frames
from fluvial.workers.errors import (
    WorkerBusy,
    WorkerDied,
    WorkerError,
    WorkerOutOfMemory,
    WorkerStartFailed,
    WorkerTimeout,
)
from fluvial.workers.landlock import landlock_version
from fluvial.workers.pool import WorkerPool

HERE = Path(__file__).parent


def make_pool(**changes: Any) -> WorkerPool:
    settings: dict[str, Any] = {
        "target": "pool_jobs:run",
        "size": 1,
        "memory_bytes": 256 << 20,
        "env": {"PYTHONPATH": str(HERE)},
        "log": get_logger("test"),
        "keep_spare": False,
    }
    return WorkerPool(**(settings | changes))


@pytest.fixture
async def pool() -> AsyncIterator[WorkerPool]:
    async with make_pool() as pool:
        yield pool


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    # A zombie of another parent (init has not reaped it yet) is as good as gone.
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"


async def until_gone(pid: int) -> None:
    async with asyncio.timeout(10):
        while not gone(pid):  # the kernel offers no event for a grandchild
            await asyncio.sleep(0.01)


def lines_of(path: Path) -> list[int]:
    return [int(line) for line in path.read_text().splitlines()] if path.exists() else []


async def until_written(path: Path, lines: int = 1) -> list[int]:
    async with asyncio.timeout(10):
        while len(lines_of(path)) < lines:  # another process writes it
            await asyncio.sleep(0.01)
    return lines_of(path)


def live_children() -> list[int]:
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return [int(child) for child in children if not gone(int(child))]


async def test_answers_with_the_result_and_keeps_the_process(pool: WorkerPool) -> None:
    first = await pool.call("echo", {"a": [1, "ä"]}, timeout=10)
    second = await pool.call("echo", {}, timeout=10)

    assert first["a"] == [1, "ä"]
    assert first["pid"] == second["pid"]


async def test_job_runs_without_the_parents_environment_and_descriptors(
    pool: WorkerPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.invalid")
    monkeypatch.setenv("GIT_SSH_COMMAND", "evil")
    seen = await pool.call("environment", {}, timeout=10)

    assert set(seen["environ"]) <= {"PATH", "LANG", "LC_CTYPE", "HOME", "PYTHONPATH"}
    assert seen["environ"]["HOME"] == "/nonexistent"
    assert len(seen["fds"]) <= 5, "0, 1, 2, the connection and the listing itself"


async def test_job_errors_keep_code_message_and_details(pool: WorkerPool) -> None:
    with pytest.raises(WorkerError, match="branch x does not exist") as caught:
        await pool.call("refuse", {}, timeout=10)

    assert (caught.value.code, caught.value.details) == ("NoSuchBranch", {"branch": "x"})
    assert type(caught.value) is WorkerError


async def test_unexpected_errors_do_not_show_their_text(pool: WorkerPool) -> None:
    with pytest.raises(WorkerError) as caught:
        await pool.call("raise", {}, timeout=10)

    assert caught.value.code == "Internal"
    assert "ValueError" in caught.value.message
    assert "hunter2" not in caught.value.message


async def test_an_answer_that_is_not_json_is_an_error_of_the_job(pool: WorkerPool) -> None:
    with pytest.raises(WorkerError) as caught:
        await pool.call("no-json", {}, timeout=10)

    assert caught.value.code == "Internal"
    assert (await pool.call("echo", {"still": 1}, timeout=10))["still"] == 1


async def test_a_crash_is_told_by_its_signal_and_noticed_at_once(pool: WorkerPool) -> None:
    with pytest.raises(WorkerDied, match="SIGSEGV"):
        await pool.call("crash", {}, timeout=60, retry=False)

    assert pool.pids == ()
    assert (await pool.call("echo", {"next": 1}, timeout=10))["next"] == 1


async def test_a_crash_costs_one_retry(pool: WorkerPool, tmp_path: Path) -> None:
    answer = await pool.call("crash-once", {"marker": str(tmp_path / "m")}, timeout=10)

    assert answer == {"survived": True}


async def test_a_second_crash_is_not_retried(pool: WorkerPool) -> None:
    with pytest.raises(WorkerDied):
        await pool.call("crash", {}, timeout=10)


@pytest.mark.slow
async def test_a_hung_job_is_killed_with_what_it_started(pool: WorkerPool, tmp_path: Path) -> None:
    marker = tmp_path / "m"
    with pytest.raises(WorkerTimeout, match="than 1s"):
        await pool.call("hang-with-child", {"marker": str(marker)}, timeout=1, retry=False)

    child, worker = await until_written(marker, 2)
    assert gone(worker)
    await until_gone(child)


@pytest.mark.slow
async def test_a_hung_job_is_retried_only_where_asked(pool: WorkerPool, tmp_path: Path) -> None:
    once, twice = tmp_path / "once", tmp_path / "twice"
    for marker, again in ((once, False), (twice, True)):
        with pytest.raises(WorkerTimeout):
            await pool.call("hang", {"marker": str(marker)}, timeout=1, retry_timeout=again)

    assert len(await until_written(once)) == 1
    assert len(await until_written(twice, 2)) == 2


async def test_memory_is_capped(pool: WorkerPool) -> None:
    with pytest.raises(WorkerOutOfMemory):
        await pool.call("eat-memory", {}, timeout=20, retry=False)

    assert pool.pids == ()


async def test_output_cannot_corrupt_or_block_the_answers(pool: WorkerPool) -> None:
    answers = [await pool.call("print", {}, timeout=10) for _ in range(2)]

    assert answers == [{"printed": True}] * 2


@pytest.mark.slow
async def test_large_frames_pass_and_larger_ones_are_refused() -> None:
    async with make_pool(memory_bytes=0) as pool:
        answer = await pool.call("huge", {"size": 32 << 20}, timeout=30)
        with pytest.raises(WorkerError) as caught:
            await pool.call("huge", {"size": frames.MAX_FRAME_BYTES}, timeout=30)

        assert len(answer["text"]) == 32 << 20
        assert caught.value.code == "AnswerTooLarge"
        assert len(pool.pids) == 1


async def test_cancelling_the_call_kills_the_worker(pool: WorkerPool, tmp_path: Path) -> None:
    marker = tmp_path / "m"
    call = asyncio.create_task(pool.call("hang", {"marker": str(marker)}, timeout=60))
    (pid,) = await until_written(marker)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call

    assert gone(pid)
    assert pool.pids == ()


async def test_a_process_serves_one_trust_domain_only() -> None:
    async with make_pool(size=2) as pool:

        async def pid(domain: str) -> int:
            answer = await pool.call("echo", {}, timeout=10, trust_domain=domain)
            return int(answer["pid"])

        first = await pid("team-a")
        other = await pid("team-b")
        again = await pid("team-a")
        third = await pid("team-c")
        anonymous = await pid("")

        assert again == first
        assert len({first, other, third, anonymous}) == 4
        assert len(pool.pids) <= 2


async def test_a_process_is_replaced_after_its_jobs() -> None:
    async with make_pool(max_jobs=2) as pool:
        pids = [(await pool.call("echo", {}, timeout=10))["pid"] for _ in range(4)]

    assert pids[0] == pids[1] != pids[2] == pids[3]


async def test_the_queue_is_bounded(tmp_path: Path) -> None:
    marker = tmp_path / "m"
    async with make_pool(max_waiting=1) as pool, asyncio.TaskGroup() as group:
        running = group.create_task(pool.call("hang", {"marker": str(marker)}, timeout=60))
        await until_written(marker)
        waiting = group.create_task(pool.call("echo", {"waited": 1}, timeout=10))
        await asyncio.sleep(0)
        with pytest.raises(WorkerBusy):
            await pool.call("echo", {}, timeout=10)
        running.cancel()

    assert waiting.result()["waited"] == 1


async def test_closing_ends_running_jobs_and_leaves_no_process(tmp_path: Path) -> None:
    marker = tmp_path / "m"
    others = set(live_children())  # of fixtures that outlive a test
    async with make_pool(keep_spare=True) as pool:
        call = asyncio.create_task(pool.call("hang", {"marker": str(marker)}, timeout=60))
        (pid,) = await until_written(marker)

    with pytest.raises(WorkerError):
        await call
    assert gone(pid)
    assert pool.pids == ()
    assert set(live_children()) <= others


async def test_a_job_asks_its_caller(pool: WorkerPool) -> None:
    async def double(question: dict[str, Any]) -> dict[str, Any]:
        return {"doubled": 2 * question["number"]}

    answer = await pool.call("ask", {"times": 3}, timeout=10, answering=double)

    assert answer == {"answers": [{"doubled": 0}, {"doubled": 2}, {"doubled": 4}]}


async def test_a_job_is_told_that_nobody_answers(pool: WorkerPool) -> None:
    with pytest.raises(WorkerError) as caught:
        await pool.call("ask", {"times": 1}, timeout=10)

    assert caught.value.code == "NoAnswer"


@pytest.mark.parametrize("error", [ValueError("no"), ConnectionError("gone"), WorkerBusy("full")])
async def test_an_answer_that_fails_ends_the_job(pool: WorkerPool, error: Exception) -> None:
    async def fail(_: dict[str, Any]) -> dict[str, Any]:
        raise error

    with pytest.raises(type(error)) as caught:
        await pool.call("ask", {"times": 1}, timeout=10, answering=fail)

    assert caught.value is error
    assert pool.pids == ()


async def test_asking_after_the_job_reaches_nobody(pool: WorkerPool, tmp_path: Path) -> None:
    marker = tmp_path / "said"
    await pool.call("ask-late", {"marker": str(marker)}, timeout=10)
    while not (marker.is_file() and marker.read_text()):
        await asyncio.sleep(0.01)

    assert marker.read_text() == "NotAsked"
    assert "pid" in await pool.call("echo", {}, timeout=10)


async def test_a_target_that_cannot_be_imported_is_told() -> None:
    async with make_pool(target="no_such_module:run") as pool:
        with pytest.raises(WorkerStartFailed, match="ModuleNotFoundError"):
            await pool.call("echo", {}, timeout=10)


async def test_the_spare_takes_the_first_call_of_a_new_domain() -> None:
    async with make_pool(size=1, keep_spare=True) as pool:
        first = await pool.call("echo", {}, timeout=10, trust_domain="a")
        second = await pool.call("echo", {}, timeout=10, trust_domain="b")

    assert first["pid"] != second["pid"]
    assert gone(first["pid"])


@pytest.mark.skipif(landlock_version() == 0, reason="this kernel has no Landlock")
async def test_a_fenced_job_reaches_its_own_folder_and_nothing_else(
    pool: WorkerPool, tmp_path: Path
) -> None:
    own, other = tmp_path / "own", tmp_path / "other"
    own.mkdir()
    other.write_text("secret")
    (own / "link").symlink_to(other)
    others = {"file": str(other), "link": str(own / "link"), "shadow": "/etc/shadow"}
    answer = await pool.call("fenced", {"folder": str(own), "others": others}, timeout=10)

    assert answer["fenced"] is True
    assert answer["host"] == "127.0.0.1"
    assert (own / "mine").read_text() == "x"
    expected = dict.fromkeys(others, "denied")
    if landlock_version() >= 6:
        expected["signal"] = "denied"
    assert expected.items() <= answer["outcomes"].items()


@pytest.mark.skipif(landlock_version() < 4, reason="this kernel's Landlock knows no TCP ports")
async def test_a_fenced_job_connects_to_named_ports_alone(pool: WorkerPool) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as first,
        socket.create_server(("127.0.0.1", 0)) as second,
    ):
        ports = {"allowed": first.getsockname()[1], "other": second.getsockname()[1]}
        answer = await pool.call("ported", ports, timeout=10)

    assert answer["outcomes"] == {"allowed": "connected", "other": "denied"}


PARENT = """
import asyncio, sys
from fluvial.log import get_logger
from fluvial.workers.pool import WorkerPool

async def main():
    pool = WorkerPool(target="pool_jobs:run", size=1, memory_bytes=0, log=get_logger("t"),
                      env={"PYTHONPATH": sys.argv[1]}, keep_spare=False)
    async with pool:
        await pool.call("hang", {"marker": sys.argv[2]}, timeout=60)

asyncio.run(main())
"""


@pytest.mark.slow
async def test_no_orphan_stays_when_the_parent_is_killed(tmp_path: Path) -> None:
    marker = tmp_path / "m"
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, str(HERE), str(marker), stdout=subprocess.DEVNULL
    )
    (pid,) = await until_written(marker)
    parent.send_signal(signal.SIGKILL)
    await parent.wait()

    await until_gone(pid)
