"""Words of progress are sent if there is time to read them, and never after the end."""

from __future__ import annotations

import asyncio

import pytest

from fluvial.errors import FluvialError
from source_controller.source.progress import Progress

pytestmark = pytest.mark.looptime


class Sent:
    """Counts, takes as long as it is told to, and fails if it is told to."""

    def __init__(self) -> None:
        self.count = 0
        self.done = 0
        self.seconds = 0.0
        self.error: Exception | None = None

    async def __call__(self) -> None:
        self.count += 1
        await asyncio.sleep(self.seconds)
        if self.error is not None:
            raise self.error
        self.done += 1


@pytest.fixture
def sent() -> Sent:
    return Sent()


async def test_a_quick_run_says_nothing(sent: Sent) -> None:
    progress = Progress(0.25, sent)
    async with progress:
        for _ in range(3):
            progress.say()
            await asyncio.sleep(0.05)
    await asyncio.sleep(5)

    assert sent.count == 0


async def test_a_slow_one_says_the_newest_once_in_a_while(sent: Sent) -> None:
    progress = Progress(0.25, sent)
    async with progress:
        for _ in range(4):
            progress.say()
            await asyncio.sleep(0.1)
        assert sent.count == 1
        await asyncio.sleep(10)
        assert sent.count == 2, "a word that was said is not said again"


async def test_the_end_waits_for_what_is_on_its_way(sent: Sent) -> None:
    sent.seconds = 2.0
    progress = Progress(0.25, sent)
    async with progress:
        progress.say()
        await asyncio.sleep(0.5)
        progress.say()

    assert (sent.count, sent.done) == (1, 1)


async def test_a_word_during_another_is_sent_afterwards(sent: Sent) -> None:
    sent.seconds = 1.0
    progress = Progress(0.25, sent)
    async with progress:
        progress.say()
        await asyncio.sleep(0.5)
        progress.say()
        await asyncio.sleep(5)

    assert sent.done == 2


async def test_a_failure_to_say_it_ends_nothing(sent: Sent) -> None:
    sent.error = FluvialError("the object is gone")
    progress = Progress(0.25, sent)
    async with progress:
        progress.say()
        await asyncio.sleep(1)
        progress.say()
        await asyncio.sleep(1)

    assert sent.count == 2


async def test_who_is_cancelled_does_not_wait(sent: Sent) -> None:
    sent.seconds = 3600.0

    async def run() -> None:
        progress = Progress(0.25, sent)
        async with progress:
            progress.say()
            await asyncio.sleep(1000)

    task = asyncio.create_task(run())
    await asyncio.sleep(1)
    task.cancel()
    async with asyncio.timeout(1):
        await asyncio.wait((task,))

    assert task.cancelled()
    assert (sent.count, sent.done) == (1, 0)
