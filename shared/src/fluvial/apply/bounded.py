"""Doing the same for many objects with few requests in flight."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

__all__ = ["map_bounded"]

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


async def map_bounded(
    function: Callable[[Item], Awaitable[Outcome]], items: Sequence[Item], *, limit: int, name: str
) -> list[Outcome]:
    """Call for each item, ``limit`` at once; results in the order of the items.

    The first exception cancels the others and is raised as it is.
    """
    outcomes: dict[int, Outcome] = {}
    numbered = iter(enumerate(items))

    async def work() -> None:
        for index, item in numbered:
            outcomes[index] = await function(item)

    try:
        async with asyncio.TaskGroup() as group:
            for number in range(min(limit, len(items))):
                group.create_task(work(), name=f"{name}-{number}")
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [outcomes[index] for index in range(len(items))]
