"""The life of a HelmRelease from its install to its end, with a kill in every phase or without."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from chaos.cases import poll
from chaos.control import When
from chaos.released import CONTROLLER, Ended, ReleaseCase
from chaos.world import Kill, World
from fluvial.kube import kinds
from fluvial.objects import ObjectKey

__all__ = ["PHASES", "Lived", "Lives", "Phase"]


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of the life."""

    name: str
    act: Callable[[ReleaseCase], Awaitable[None]]
    reached: Callable[[ReleaseCase], Awaitable[bool]]


PHASES: Final = (
    Phase("install", ReleaseCase.install, ReleaseCase.is_installed),
    Phase("upgrade", ReleaseCase.upgrade, ReleaseCase.is_upgraded),
    Phase("bad upgrade", ReleaseCase.upgrade_badly, ReleaseCase.is_rolled_back),
    Phase("uninstall", ReleaseCase.uninstall, ReleaseCase.is_gone),
)


@dataclass(frozen=True, slots=True)
class Lived:
    """A phase of the life without kills.

    Attributes:
        ended: what there was in the end.
        writes: ``METHOD path``, in order.
        hooks: that were run.

    """

    ended: Ended
    writes: tuple[str, ...]
    hooks: int

    def may_run_again(self, nth: int, when: When) -> int:
        """How many hooks a new process may run again: none of a revision that was finished."""
        written = [index for index, one in enumerate(self.writes, start=1) if "/secrets/" in one]
        last = max(written, default=0)
        finished = nth > last or (nth == last and when == "after")
        return 0 if finished or nth > len(self.writes) else self.hooks


@dataclass(slots=True)
class Lives:
    """Lives in one world, and the one without kills that measures all others."""

    world: World
    _clean: dict[str, Lived] = field(default_factory=dict)

    async def clean(self) -> dict[str, Lived]:
        """The phases of the life without kills, which is lived once."""
        if self._clean:
            return self._clean
        case = await ReleaseCase.make(self.world)
        found = {}
        for phase in PHASES:
            position, before = await self.world.control.position(), await case.hooks_run()
            await phase.act(case)
            await poll(partial(phase.reached, case), f"{phase.name} does not end")
            writes = await self.world.writes(CONTROLLER, after=position)
            hooks = await case.hooks_run() - before
            assert await case.problems() == []
            found[phase.name] = Lived(await case.look(), tuple(writes), hooks)
        await self._remove(case)
        self._clean.update(found)
        return found

    async def killed(self, nth: int, when: When) -> list[str]:
        """One life with a kill at the n-th write of each phase that has so many; what was wrong."""
        lived = await self.clean()
        case = await ReleaseCase.make(self.world)
        found: list[str] = []
        for phase in PHASES:
            expected, before = lived[phase.name], await case.hooks_run()
            where = await self._play(case, phase, expected, nth, when)
            try:
                await poll(partial(phase.reached, case), f"{phase.name} does not end")
            except AssertionError as error:
                state = f"{await case.team.statuses()}, {sorted((await case.look()).conditions)}"
                return [*found, f"{where}: {error}: {state}"]
            lines = await case.problems()
            ended, hooks = await case.look(), await case.hooks_run() - before
            if ended != expected.ended:
                lines.append(f"{ended} instead of {expected.ended}")
            most = expected.hooks + expected.may_run_again(nth, when)
            if hooks > most:
                lines.append(f"{hooks} hooks were run, {most} are right")
            found += [f"{where}: {line}" for line in lines]
        await self._remove(case)
        return found

    async def _play(
        self, case: ReleaseCase, phase: Phase, expected: Lived, nth: int, when: When
    ) -> str:
        """Begin a phase and kill where it is to be; where that was."""
        if nth > len(expected.writes):
            await phase.act(case)
            return f"{phase.name}, not killed"
        reached = partial(poll, partial(phase.reached, case), f"{phase.name} does not end")
        kill = Kill(CONTROLLER, nth, when)
        killed = await self.world.run_killed(
            kill, partial(phase.act, case), until=reached, meanwhile=None
        )
        said = self.world.kills[-1] if killed else "did not come"
        return f"{phase.name}, write {nth} ({said})"

    async def _remove(self, case: ReleaseCase) -> None:
        await self.world.client.delete(kinds.NAMESPACE, ObjectKey("", case.name))
