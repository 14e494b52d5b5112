"""A thread is never left behind by its caller."""

from __future__ import annotations

import asyncio
import threading

import pytest

from fluvial.artifact.threads import Cancelled, StopFlag, in_thread


async def test_result_and_errors_come_back() -> None:
    def fail(_: StopFlag) -> int:
        raise KeyError("x")

    assert await in_thread(lambda _: 42) == 42
    with pytest.raises(KeyError):
        await in_thread(fail)


async def test_a_cancelled_caller_waits_for_its_thread() -> None:
    started, ended = threading.Event(), []

    def work(stop: StopFlag) -> None:
        started.set()
        try:
            while True:
                stop.check()
        except Cancelled:
            ended.append("stopped")
            raise

    task = asyncio.create_task(in_thread(work))
    await asyncio.to_thread(started.wait, 10)
    task.cancel()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert ended == ["stopped"]
