"""The life of one case from its first write to its deletion, with a kill in every phase.

What each phase must come to is measured in a life without kills.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from chaos.cases import poll
from chaos.control import When
from chaos.endstate import EndState, differences
from chaos.world import Kill, World
from fluvial.kube.resource import Resource

__all__ = ["Life", "Lived", "Phase", "live_cleanly", "live_dying", "live_killed"]

Step = Callable[[World, str], Awaitable[None]]
_tokens = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of a life.

    Attributes:
        name: for the report.
        start: what begins it.
        version: what it comes to; ``""`` for the deletion of the object ``app``.
        overtaken: what happens while the controller is dead, and the version that it has to come
            to then. What was begun is never finished, so only what was noted down of it in time
            can be found again.
        killed: whether this phase is one of those that are killed.
        recreates: whether it is right that objects are deleted and made again.

    """

    name: str
    start: Step
    version: str
    overtaken: tuple[Step, str] | None = None
    killed: bool = True
    recreates: bool = False

    @property
    def final(self) -> str:
        """The version at its end."""
        return self.overtaken[1] if self.overtaken else self.version


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
    begin: Step
    phases: tuple[Phase, ...]
    look: Callable[[World, str], Awaitable[EndState]]
    end: Step


@dataclass(frozen=True, slots=True)
class Lived:
    """What a life without kills came to, by phase.

    Attributes:
        writes: in order, of what the phase itself does.
        deletions: that are right in it, or in what overtakes it.
        ends: the state at its end.

    """

    writes: Mapping[str, tuple[str, ...]]
    deletions: Mapping[str, frozenset[str]]
    ends: Mapping[str, EndState]

    def points(self, life: Life) -> dict[str, int]:
        """Writes at which each phase is killed."""
        return {phase.name: len(self.writes[phase.name]) for phase in life.phases if phase.killed}


async def live_cleanly(world: World, life: Life) -> Lived:
    """One life without kills."""
    case = await world.new_case()
    await life.begin(world, case)
    lived = Lived(writes := {}, deletions := {}, ends := {})
    for phase in life.phases:
        position = await world.control.position()
        await phase.start(world, case)
        await _settle(world, life, phase.version, case)
        # The last write of a phase is that of the status, or the finalizer's: it has been seen.
        writes[phase.name] = await _writes(world, life, case, position)
        if phase.overtaken:
            await phase.overtaken[0](world, case)
            await _settle(world, life, phase.final, case)
        deletions[phase.name] = _deletions(await _writes(world, life, case, position))
        if phase.final:
            await _ask_again(world, life, case)
            ends[phase.name] = await life.look(world, case)
        else:
            ends[phase.name] = await _at_rest(world, life, case)
    await life.end(world, case)
    return lived


async def live_killed(world: World, life: Life, lived: Lived, *, nth: int, when: When) -> list[str]:
    """One life with a kill at the n-th write of each phase that has so many.

    Returns:
        What was not as in ``lived``, a line each.

    """
    case = await world.new_case()
    await life.begin(world, case)
    found: list[str] = []
    for phase in life.phases:
        before = await life.look(world, case)
        position = await world.control.position()
        expected = lived.ends[phase.name]
        if phase.killed and nth <= len(lived.writes[phase.name]):
            kill = Kill(life.controller, nth, when)
            where = await _run_killed(world, life, phase, case, kill)
            await _settle(world, life, phase.final, case)
            lines = await _compare(world, life, expected, case)
            if phase.final:
                await _ask_again(world, life, case)
        else:
            where, lines = f"{phase.name}, not killed", []
            await _run(world, life, phase, case)
        lines += await _compare(world, life, expected, case)
        if phase.final and not (phase.overtaken or phase.recreates):
            lines += _replaced(before, await life.look(world, case))
        asked = _deletions(await _writes(world, life, case, position))
        wrong = asked - lived.deletions[phase.name]
        lines += [f"should not have been asked for: {one}" for one in sorted(wrong)]
        found += [f"{where}: {line}" for line in lines]
    await life.end(world, case)
    return found


async def live_dying(world: World, life: Life, lived: Lived) -> tuple[list[str], dict[str, int]]:
    """One life in which the controller is killed after every few writes.

    Returns:
        What was not as in ``lived``, a line each, and the kills in each phase.

    """
    case = await world.new_case()
    await life.begin(world, case)
    found: list[str] = []
    deaths: dict[str, int] = {}
    for phase in life.phases:
        deaths[phase.name] = await world.run_dying(
            life.controller,
            partial(phase.start, world, case),
            partial(_settle, world, life, phase.version, case),
        )
        if phase.version:  # the request that began the phase may still be on its way
            await _ask_again(world, life, case)
        lines = await _compare(world, life, lived.ends[phase.name], case)
        found += [f"{phase.name}: {line}" for line in lines]
    await life.end(world, case)
    return found, deaths


async def _run(world: World, life: Life, phase: Phase, case: str) -> None:
    await phase.start(world, case)
    await _settle(world, life, phase.version, case)
    if phase.overtaken:
        await phase.overtaken[0](world, case)
        await _settle(world, life, phase.final, case)


async def _run_killed(world: World, life: Life, phase: Phase, case: str, kill: Kill) -> str:
    """Returns where it was killed.

    A refusal on the way, such as that of a version that is a moment old, makes one write more; so
    one of the last writes of a clean run may not come.
    """
    was_killed = await world.run_killed(
        kill,
        partial(phase.start, world, case),
        until=partial(_settle, world, life, phase.version, case),
        meanwhile=partial(phase.overtaken[0], world, case) if phase.overtaken else None,
    )
    where = world.kills[-1] if was_killed else "did not come"
    return f"{phase.name}, write {kill.nth} ({where})"


async def _settle(world: World, life: Life, version: str, case: str) -> None:
    if version:
        await world.settled(life.resource, case, version)
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


def _deletions(writes: Iterable[str]) -> frozenset[str]:
    return frozenset(one for one in writes if one.startswith("DELETE "))


async def _writes(world: World, life: Life, case: str, after: int) -> tuple[str, ...]:
    found = await world.writes(life.controller, after=after)
    return tuple(re.sub(case, "CASE", one) for one in found)
