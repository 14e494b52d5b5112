"""The product as processes, to be killed: a devcluster, both controllers, a Git server."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from chaos.cases import SETTLED, Cases, GitSide
from chaos.control import NO_BOOKKEEPING, ControlClient, Holds, When
from fluvial_cli import dev
from fluvial_cli.gitserver import GitServer

__all__ = ["Kill", "World", "control_url"]

_WRITES_OF_A_LIFE = {"source-controller": 2}  # it says nothing of what is done at once
_USUAL_WRITES = 4
_MOST_DEATHS = 12


@dataclass(frozen=True, slots=True)
class Kill:
    """SIGKILL ``controller`` at its ``nth`` write, ``before`` or ``after`` it takes effect."""

    controller: str
    nth: int
    when: When


@dataclass(kw_only=True)
class World(Cases):
    """Everything that runs.

    Attributes:
        control: of what stands between the controllers and the cluster.
        kills: where controllers were killed, in order.

    """

    environment: dev.Environment
    control: Holds
    kills: list[str] = field(default_factory=list)

    @classmethod
    @asynccontextmanager
    async def start(cls, folder: Path) -> AsyncIterator[World]:
        """Start all of it; leaving the block stops it."""
        async with AsyncExitStack() as stack:
            server = await stack.enter_async_context(GitServer(folder / "git"))
            environment = await stack.enter_async_context(
                dev.dev_environment(dev.DevOptions(folder=folder / "dev", control=True))
            )
            session = await stack.enter_async_context(aiohttp.ClientSession())
            self = cls(
                client=environment.client,
                git=GitSide.create(folder / "git", server.url),
                storage=environment.folder / "source-controller",
                environment=environment,
                control=ControlClient(session, control_url(environment)),
            )
            await self.let_tenants_do_everything()
            yield self

    # --- controllers --------------------------------------------------------------------------

    async def run_killed(
        self,
        kill: Kill,
        act: Callable[[], Awaitable[None]],
        *,
        until: Callable[[], Awaitable[object]],
        meanwhile: Callable[[], Awaitable[None]] | None,
    ) -> bool:
        """Do ``act`` and kill a controller at one of the writes that follow; start it again.

        Args:
            kill: where.
            act: what makes it write.
            until: returns when the work is done, should there be fewer writes this time.
            meanwhile: happens while it is dead, or afterwards if it was not killed.

        Returns:
            Whether it was killed.

        """
        hold = await self.control.hold(kill.controller, nth=kill.nth, when=kill.when)
        try:
            await act()
            if not await self._held_first(hold, until):
                if meanwhile is not None:
                    await meanwhile()
                return False
            request = await self.control.caught(hold)
            self.kills.append(f"{kill.when} {request['method']} {request['path']}")
            os.kill(self.environment.processes.pids()[kill.controller], signal.SIGKILL)
            await self.control.gone(hold)
        finally:
            await self.control.forget(hold)
        if meanwhile is not None:
            await meanwhile()
        await self._restart(kill.controller)
        return True

    async def run_dying(
        self,
        controller: str,
        act: Callable[[], Awaitable[None]],
        until: Callable[[], Awaitable[object]],
    ) -> int:
        """Do ``act`` and kill a controller after every few writes until ``until`` returns.

        Fewer are no life: the first ones say what it is about to do, the last that it is done.

        Returns:
            How often it was killed.

        """
        writes = _WRITES_OF_A_LIFE.get(controller, _USUAL_WRITES)
        hold = await self.control.hold(controller, nth=writes, when="after")
        await act()
        for killed in range(_MOST_DEATHS):
            if not await self._held_first(hold, until):
                await self.control.forget(hold)
                return killed
            os.kill(self.environment.processes.pids()[controller], signal.SIGKILL)
            await self.control.gone(hold)
            await self.control.forget(hold)
            hold = await self.control.hold(controller, nth=writes, when="after")
            await self._restart(controller)
        raise AssertionError(f"{controller} makes no progress in short lives")

    async def _restart(self, controller: str) -> None:
        await self.environment.processes.restart(controller, is_ready=dev.says_ready)

    async def _held_first(self, hold: int, until: Callable[[], Awaitable[object]]) -> bool:
        """Wait for a write or for the end; whether there is a write that is held."""
        waits = [
            asyncio.create_task(self.control.state(hold, wait=SETTLED), name="write"),
            asyncio.ensure_future(until()),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
        return await self.control.state(hold) == "held"

    async def writes(self, controller: str, *, after: int) -> list[str]:
        """``METHOD path`` of a controller's writes but Events, Leases and dry runs."""
        return [
            f"{one['method']} {one['path']}"
            for one in await self.control.requests(after=after, agent=f"^{controller}/")
            if one["write"] and re.search(NO_BOOKKEEPING, one["path"])
        ]


def control_url(environment: dev.Environment) -> str:
    log = (environment.folder / "logs" / "devcluster.log").read_text()
    return next(line.split()[1] for line in log.splitlines() if line.startswith("control "))
