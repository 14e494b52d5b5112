"""The product as processes behind a fault proxy, on either control plane.

The controllers reach the control plane through the proxy alone; the test asks it directly.
"""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from chaos.cases import Cases, GitSide, poll
from chaos.endstate import EndState, differences, objects_of, status_of
from chaos.planes import Plane
from faultproxy import FaultProxy, Match
from fluvial.kube import config, kinds
from fluvial.kube.errors import NotFound
from fluvial.kube.http import HttpKubeClient
from fluvial.objects import ObjectKey
from fluvial_cli import dev
from fluvial_cli.gitserver import GitServer

__all__ = ["BOTH", "KUSTOMIZE", "SOURCE", "Clean", "FaultyWorld"]

BOTH = "^(source|kustomize)-controller/"
SOURCE = "^source-controller/"
KUSTOMIZE = "^kustomize-controller/"
# Made by controllers of the cluster at times of their own.
_QUIET = 0.4
"""Seconds without a request after which a controller is taken to be done; longer than any delay of
an event here."""
_NOT_COMPARED = ("/kube-root-ca.crt", "/default")


@dataclass(frozen=True, slots=True)
class Clean:
    """What a life without faults comes to.

    Attributes:
        ends: the state after each phase.
        deletions: paths that are deleted in it, ``CASE`` for the name of the case.
        requests: how many both controllers make about the case.

    """

    ends: dict[str, EndState]
    deletions: frozenset[str]
    requests: int


@dataclass(kw_only=True)
class FaultyWorld(Cases):
    """Everything that runs."""

    plane: Plane
    proxy: FaultProxy
    environment: dev.Environment
    direct: HttpKubeClient
    _clean: list[Clean] = field(default_factory=list)

    @classmethod
    @asynccontextmanager
    async def start(cls, folder: Path, plane: Plane) -> AsyncIterator[FaultyWorld]:
        """Start proxy, Git server and controllers; leaving the block stops them."""
        async with AsyncExitStack() as stack:
            server = await stack.enter_async_context(GitServer(folder / "git"))
            proxy = await stack.enter_async_context(FaultProxy(plane.kubeconfig()))
            direct, through = folder / "direct", folder / "through"
            for file, content in ((direct, plane.kubeconfig()), (through, proxy.kubeconfig())):
                file.touch(mode=0o600)
                file.write_bytes(orjson.dumps(content))
            environment = await stack.enter_async_context(
                dev.dev_environment(
                    dev.DevOptions(folder=folder / "dev", control_plane=str(through))
                )
            )
            client = await config.load_client(kubeconfig=direct, user_agent="test")
            self = cls(
                client=client,
                direct=client,
                git=GitSide.create(folder / "git", server.url),
                storage=environment.folder / "source-controller",
                plane=plane,
                proxy=proxy,
                environment=environment,
            )
            stack.push_async_callback(self._close)
            await self.let_tenants_do_everything()
            yield self
            self.check_controllers()

    def check_controllers(self) -> None:
        """Fail if a controller has died."""
        for name, pid in self.environment.processes.pids().items():
            assert Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] != "Z", name

    async def _close(self) -> None:
        await self.direct.aclose()  # the one that there is by then

    async def renew_client(self, folder: Path) -> None:
        """Ask the control plane as it is since it was started again."""
        file = folder / f"direct-{next(self._numbers)}"
        file.touch(mode=0o600)
        file.write_bytes(orjson.dumps(self.plane.kubeconfig()))
        await self._close()
        self.client = self.direct = await config.load_client(kubeconfig=file, user_agent="test")
        await self.proxy.retarget(self.plane.kubeconfig())

    # --- histories --------------------------------------------------------------------------------

    async def newest_version(self, case: str) -> int:
        """The newest resource version of what both controllers follow of a case."""
        objects = [
            await self.client.get(resource, ObjectKey(case, "app"))
            for resource in (kinds.KUSTOMIZATION, kinds.GIT_REPOSITORY)
        ]
        return max(int(obj["metadata"]["resourceVersion"]) for obj in objects)

    async def come_past(self, case: str, version: int) -> None:
        """Write until the history of the cluster has come past a version.

        The server's own caches are filled before, so that it takes watches from that version.
        """
        for resource in (kinds.KUSTOMIZATION, kinds.GIT_REPOSITORY):
            await self.client.list_all(resource)
        key = ObjectKey(case, "history")
        for number in itertools.count():
            await self.apply(
                kinds.CONFIG_MAP, case, {"name": key.name}, data={"number": str(number)}
            )
            written = await self.client.get(kinds.CONFIG_MAP, key)
            if int(written["metadata"]["resourceVersion"]) > version:
                break
        await self.client.delete(kinds.CONFIG_MAP, key)

    async def followed(self, resource: str, *, watches: int) -> None:
        """Wait until kustomize-controller watches again what a regular expression names."""

        async def is_followed() -> bool:
            return self.proxy.running(Match(agent=KUSTOMIZE, resource=resource)) >= watches

        await poll(is_followed, f"{resource} is not watched")

    # --- phases of a life -------------------------------------------------------------------------

    async def first_apply(self, case: str) -> None:
        """Source and Kustomization, until v1 is there."""
        await self.git_repository(case)
        await self.kustomization(case)
        await self.settled(kinds.KUSTOMIZATION, case, "v1")

    async def upgrade(self, case: str) -> None:
        """The next commit, and an object that somebody else takes over."""
        await self.hand_over(case)
        self.push(case, "v2")
        await self.request(kinds.GIT_REPOSITORY, case, "new commit")
        await self.settled(kinds.KUSTOMIZATION, case, "v2")

    async def hand_over(self, case: str) -> None:
        """Somebody gives an object of the set to another owner, when nothing is under way.

        Another run of the first commit, for an event that came late, would rightly take it back.
        """
        await self._quiet(case)
        await super().hand_over(case)

    async def _quiet(self, case: str) -> None:
        """Wait until nothing about a case has been asked for a while."""
        position = -1
        while position != (position := self._last_request(case)):
            await asyncio.sleep(_QUIET)

    def _last_request(self, case: str) -> int:
        asked = self.proxy.requests(Match(agent=BOTH, path=case))
        return asked[-1].seq if asked else 0

    async def delete_all(self, case: str) -> None:
        """Both objects, until they are gone."""
        for resource in (kinds.KUSTOMIZATION, kinds.GIT_REPOSITORY):
            await self.delete(resource, case)
            await self.wait_gone(resource, case)

    async def remove(self, case: str) -> None:
        """What a case leaves behind."""
        await self.client.delete(kinds.NAMESPACE, ObjectKey("", case))

    # --- what it comes to -------------------------------------------------------------------------

    async def clean(self) -> Clean:
        """A life without faults, lived once in each world."""
        if not self._clean:
            assert self.proxy.rules() == []
            case = await self.new_case()
            position = self.proxy.position
            ends: dict[str, EndState] = {}
            await self.first_apply(case)
            ends["first apply"] = await self.look(case)
            await self.upgrade(case)
            ends["upgrade"] = await self.look(case)
            await self.delete_all(case)
            ends["deletion"] = await self.at_rest(case)
            requests = self.requests_of(case, after=position)
            await self.remove(case)
            self._clean.append(Clean(ends, self.deletions(case, after=position), requests))
        return self._clean[0]

    async def look(self, case: str) -> EndState:
        """What is there."""
        objects, uids = await objects_of(self.client, case)
        kept = {k: v for k, v in objects.items() if not k.endswith(_NOT_COMPARED)}
        try:
            owner = await self.client.get(kinds.KUSTOMIZATION, ObjectKey(case, "app"))
        except NotFound:
            return EndState(kept, uids, None, {})
        return EndState(kept, uids, status_of(owner, case), {})

    async def at_rest(self, case: str) -> EndState:
        """What is there once the server has finished deletions."""
        state = EndState()

        async def is_at_rest() -> bool:
            nonlocal state
            state = await self.look(case)
            return not any("deletionTimestamp" in obj["metadata"] for obj in state.objects.values())

        await poll(is_at_rest, f"something of {case} stays in deletion")
        return state

    async def comes_to(self, case: str, expected: EndState) -> list[str]:
        """Wait until a case is as expected; what is not, a line each."""
        lines: list[str] = []

        async def is_there() -> bool:
            lines[:] = differences(expected, await self.look(case))
            return not lines

        try:
            await poll(is_there, "")
        except AssertionError:
            return lines
        return []

    def requests_of(self, case: str, *, after: int) -> int:
        """How many the controllers made about a case."""
        return len(self.proxy.requests(Match(agent=BOTH, path=case), after=after))

    def deletions(self, case: str, *, after: int) -> frozenset[str]:
        """What the controllers asked to delete."""
        asked = self.proxy.requests(Match(verb="delete", agent=BOTH, path=case), after=after)
        return frozenset(_named(case, (each.path for each in asked)))


def _named(case: str, paths: Iterable[str]) -> Iterable[str]:
    return (re.sub(case, "CASE", path) for path in paths)
