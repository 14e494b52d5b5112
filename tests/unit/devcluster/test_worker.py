"""The cluster's own controllers share the event loop with requests."""

from __future__ import annotations

import asyncio

import pytest

from devcluster.controllers import worker as module
from devcluster.controllers.worker import Worker
from fluvial.log import get_logger


async def _turns_of_others(worker: Worker[int]) -> int:
    """How often anybody else runs until the worker is idle."""
    task = asyncio.create_task(worker.run(), name="worker")
    turns = 0
    while not worker.idle.is_set():
        await asyncio.sleep(0)
        turns += 1
    task.cancel()
    await asyncio.wait([task])
    return turns


async def test_long_cascade_lets_requests_run_in_between() -> None:
    handled: list[int] = []
    worker: Worker[int] = Worker("test", handled.append, log=get_logger("test"))
    for key in range(1000):
        worker.add(key)
    turns = await _turns_of_others(worker)

    assert handled == list(range(1000))
    assert turns >= 1000 // module._MOST


async def test_slow_handlers_let_requests_run_after_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TURN", 0.0)
    handled: list[int] = []
    worker: Worker[int] = Worker("test", handled.append, log=get_logger("test"))
    for key in range(50):
        worker.add(key)

    assert await _turns_of_others(worker) >= 50
    assert len(handled) == 50


@pytest.mark.looptime
async def test_handler_that_fails_is_called_again_and_stops_nothing() -> None:
    seen: list[int] = []

    def handle(key: int) -> float | None:
        seen.append(key)
        if seen == [1]:
            raise ValueError("once")
        return None

    worker: Worker[int] = Worker("test", handle, log=get_logger("test"))
    worker.add(1)
    worker.add(2)
    task = asyncio.create_task(worker.run(), name="worker")
    await asyncio.sleep(2)
    task.cancel()
    await asyncio.wait([task])

    assert seen == [1, 2, 1]
