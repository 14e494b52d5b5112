"""Posts events at a steady rate, whatever the answers take."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field

import aiohttp
import orjson

from bench.events.workload import event, matches

__all__ = ["Posted", "post"]

_EVERY_REPEATED = 20  # one in so many is posted twice


@dataclass(slots=True)
class Posted:
    """What was posted, and what came back.

    Attributes:
        answers: posts by status; 0 for none.
        seconds: that each took.
        late: seconds by which the last was behind its time.
        expected: messages by Provider, of the events that were taken.

    """

    answers: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    late: float = 0.0
    expected: Counter[str] = field(default_factory=Counter)

    @property
    def count(self) -> int:
        """Of all posts."""
        return sum(self.answers.values())


async def post(url: str, *, per_minute: int, seconds: float, run: str, first: int = 0) -> Posted:
    """Post for some time.

    Args:
        url: of the event server.
        per_minute: posts.
        seconds: for which they go on.
        run: a text that makes the events different from those of another run.
        first: number of the first event.

    """
    posted = Posted()
    connector = aiohttp.TCPConnector(limit=100)
    async with aiohttp.ClientSession(connector=connector) as http, asyncio.TaskGroup() as group:
        began = time.perf_counter()
        number = first
        for at in range(round(per_minute * seconds / 60)):
            due = began + at * 60 / per_minute
            await asyncio.sleep(max(due - time.perf_counter(), 0))
            posted.late = max(posted.late, time.perf_counter() - due)
            is_repeated = at % _EVERY_REPEATED == _EVERY_REPEATED - 1
            number += not is_repeated
            group.create_task(_one(http, url, number, run, posted), name=f"post {at}")
    return posted


async def _one(
    http: aiohttp.ClientSession, url: str, number: int, run: str, posted: Posted
) -> None:
    body = event(number, run)
    began = time.perf_counter()
    try:
        async with http.post(url, data=orjson.dumps(body)) as answer:
            await answer.read()
            status = answer.status
    except aiohttp.ClientError:
        status = 0
    posted.seconds.append(time.perf_counter() - began)
    posted.answers[status] += 1
    if status == 202:
        posted.expected.update(matches(body))
