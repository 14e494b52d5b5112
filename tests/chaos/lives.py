"""The life of one case from its first write to its deletion, with a kill in every phase.

What each phase must come to is measured in a life without kills.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

from chaos.endstate import EndState, differences
from chaos.world import Kill, World, poll
from fluvial.kube.resource import Resource

__all__ = ["Life", "Lived", "Phase", "live_cleanly", "live_killed"]

When = Literal["before", "after"]
_tokens = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of a life: what starts it, and the version it must come to (``""``: deletion)."""

    name: str
    start: Callable[[World, str], Awaitable[None]]
    version: str


@dataclass(frozen=True, slots=True)
class Life:
    """What one controller does for one kind.

    Attributes:
        controller: the one that is killed.
        resource: of the object ``app`` that it works on.
        begin: makes what the first phase needs.
        phases: in order, the last one deletes.
        look: what is there at the end of a phase.
        end: removes what the phases do not.

    """

    controller: str
    resource: Resource
    begin: Callable[[World, str], Awaitable[None]]
    phases: tuple[Phase, ...]
    look: Callable[[World, str], Awaitable[EndState]]
    end: Callable[[World, str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Lived:
    """What a life without kills came to, by phase: its writes in order, and its end state."""

    writes: Mapping[str, tuple[str, ...]]
    ends: Mapping[str, EndState]

    @property
    def longest(self) -> int:
        """Writes in the phase that has most."""
        return max(len(writes) for writes in self.writes.values())


async def live_cleanly(world: World, life: Life) -> Lived:
    """One life without kills."""
    case = await world.new_case()
    await life.begin(world, case)
    writes: dict[str, tuple[str, ...]] = {}
    ends: dict[str, EndState] = {}
    for phase in life.phases:
        position = await world.control.position()
        await phase.start(world, case)
        await _settle(world, life, phase, case)
        if phase.version:
            # The last write of a phase is that of the status, which has been seen.
            writes[phase.name] = await _writes(world, life, case, position)
            await _ask_again(world, life, case)
            ends[phase.name] = await life.look(world, case)
        else:
            writes[phase.name] = await _writes(world, life, case, position)
            ends[phase.name] = await _at_rest(world, life, case)
    await life.end(world, case)
    return Lived(writes, ends)


async def live_killed(world: World, life: Life, lived: Lived, *, nth: int, when: When) -> list[str]:
    """One life with a kill at the n-th write of each phase that has so many.

    Returns:
        What was not as in ``lived``, a line each.

    """
    case = await world.new_case()
    await life.begin(world, case)
    found: list[str] = []
    for phase in life.phases:
        kill = Kill(life.controller, nth, when) if nth <= len(lived.writes[phase.name]) else None
        where = f"{phase.name}, {when} write {nth}" if kill else f"{phase.name}, not killed"
        position = await world.control.position()
        before = await life.look(world, case)
        await world.run_killed(kill, partial(phase.start, world, case))
        await _settle(world, life, phase, case)
        lines = await _compare(world, life, lived.ends[phase.name], case)
        if phase.version and kill:
            await _ask_again(world, life, case)
            lines += await _compare(world, life, lived.ends[phase.name], case)
        after = await life.look(world, case)
        lines += _replaced(before, after) if phase.version else []
        writes = await _writes(world, life, case, position)
        lines += _wrong_deletions(lived.writes[phase.name], writes)
        found += [f"{where} ({world.kills[-1] if kill else ''}): {line}" for line in lines]
    await life.end(world, case)
    return found


async def _settle(world: World, life: Life, phase: Phase, case: str) -> None:
    if phase.version:
        await world.settled(life.resource, case, phase.version)
    else:
        await world.wait_gone(life.resource, case)


async def _compare(world: World, life: Life, expected: EndState, case: str) -> list[str]:
    """Differences at the end of a phase.

    After a deletion the server itself goes on removing things; it is waited for.
    """
    if expected.status is not None:
        return differences(expected, await life.look(world, case))
    return differences(expected, await _at_rest(world, life, case))


async def _at_rest(world: World, life: Life, case: str) -> EndState:
    """What is there once the server has emptied namespaces and definitions that were deleted."""
    state = EndState()

    async def is_at_rest() -> bool:
        nonlocal state
        state = await life.look(world, case)
        return not any("deletionTimestamp" in obj["metadata"] for obj in state.objects.values())

    await poll(is_at_rest, f"something of {case} stays in deletion")
    return state


async def _ask_again(world: World, life: Life, case: str) -> None:
    """Have everything compared once more: nothing may come of it."""
    token = f"again-{next(_tokens)}"
    await world.request(life.resource, case, token)
    await world.answered(life.resource, case, token)


def _replaced(before: EndState, after: EndState) -> list[str]:
    """Objects that are others of the same name now."""
    return [
        f"{name} was deleted and made again"
        for name, uid in before.uids.items()
        if after.uids.get(name, uid) != uid
    ]


def _wrong_deletions(expected: Iterable[str], asked: Iterable[str]) -> list[str]:
    wrong = {one for one in asked if one.startswith("DELETE ")} - set(expected)
    return [f"should not have been asked for: {one}" for one in sorted(wrong)]


async def _writes(world: World, life: Life, case: str, after: int) -> tuple[str, ...]:
    found = await world.writes(life.controller, after=after)
    return tuple(re.sub(case, "CASE", one) for one in found)
