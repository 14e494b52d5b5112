"""An informer of a kind whose definition is gone: quiet, slow, counted, and back at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import orjson
import pytest
from aiohttp import web

from fluvial.clock import RealClock
from fluvial.kube.http import HttpKubeClient
from fluvial.kube.informer import Informer, InformerFactory
from fluvial.kube.reflector import ReflectorTiming
from fluvial.kube.resource import Resource
from fluvial.log import get_logger
from fluvial.objects import JsonObject

from .conftest import Scripted, answer, refusal

THINGS = Resource("example.test", "v1", "things", "Thing", namespaced=True)
OTHERS = Resource("example.test", "v1", "others", "Other", namespaced=True)
QUICK = ReflectorTiming(backoff=0.005, backoff_cap=0.01, absence_cap=0.01)
NEVER_AGAIN = ReflectorTiming(backoff=60.0, backoff_cap=60.0, absence_cap=60.0)
SECONDS = 10.0


@dataclass
class ApiServer:
    """Serves definitions, and those kinds that it is told to."""

    served: set[str] = field(default_factory=set)
    definitions: list[JsonObject] = field(default_factory=list)
    may_watch_definitions: bool = True
    lists: dict[str, int] = field(default_factory=dict)
    watchers: dict[str, list[web.StreamResponse]] = field(default_factory=dict)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        plural = request.path.rpartition("/")[2]
        is_definition = plural == "customresourcedefinitions"
        if "watch" in request.query:
            return await self._watch(request, plural)
        self.lists[plural] = self.lists.get(plural, 0) + 1
        if is_definition and not self.may_watch_definitions:
            return refusal(403, "Forbidden", "not for you")
        if not is_definition and plural not in self.served:
            return web.Response(status=404, text="404 page not found")
        items = self.definitions if is_definition else []
        return answer({"metadata": {"resourceVersion": "5"}, "items": items})

    async def _watch(self, request: web.Request, plural: str) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_type = "application/json"
        await response.prepare(request)
        open_ones = self.watchers.setdefault(plural, [])
        open_ones.append(response)
        try:
            transport = request.transport
            while transport and not transport.is_closing() and response in open_ones:
                await asyncio.sleep(0.005)
        finally:
            if response in open_ones:
                open_ones.remove(response)
        return response

    def watched(self, plural: str) -> int:
        return len(self.watchers.get(plural, ()))

    def withdraw(self, plural: str) -> None:
        """Serve the kind no more, as when its definition is deleted."""
        self.served.discard(plural)
        self.watchers[plural].clear()

    async def define(self, plural: str, version: int) -> None:
        """Serve the kind, and tell who watches definitions."""
        self.served.add(plural)
        line = {"type": "MODIFIED", "object": definition(plural, version)}
        for watcher in self.watchers["customresourcedefinitions"]:
            await watcher.write(orjson.dumps(line) + b"\n")


def definition(plural: str, version: int) -> JsonObject:
    name = f"{plural}.example.test"
    return {"metadata": {"name": name, "uid": name, "resourceVersion": str(version)}}


@dataclass
class Running:
    """A factory with one informer."""

    factory: InformerFactory
    informer: Informer
    absent: dict[str, int]


@asynccontextmanager
async def running(client: HttpKubeClient, timing: ReflectorTiming) -> AsyncIterator[Running]:
    absent: dict[str, int] = {}
    factory = InformerFactory(
        client,
        RealClock(),
        get_logger("test"),
        timing=timing,
        on_absence=lambda resource, number: absent.update({resource.group_resource: number}),
    )
    informer = factory.informer(THINGS)
    async with factory:
        yield Running(factory, informer, absent)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS):
        while not condition():
            await asyncio.sleep(0.002)


@pytest.fixture
def api(server: Scripted) -> ApiServer:
    """What the client talks to."""
    found = ApiServer()
    server.will(found.handle)
    return found


def told(capfd: pytest.CaptureFixture[str], text: str) -> int:
    return sum(text in line for line in "".join(capfd.readouterr()).splitlines())


async def test_a_kind_that_is_gone_is_told_once_and_counted(
    api: ApiServer, client: HttpKubeClient, capfd: pytest.CaptureFixture[str]
) -> None:
    async with running(client, QUICK) as world:
        await until(lambda: api.lists.get("things", 0) >= 6)

        assert world.absent == {"things.example.test": 1}
        assert told(capfd, "things.example.test") == 1
        api.served.add("things")
        await world.informer.wait_synced(SECONDS)
        assert world.absent == {"things.example.test": 0}
        assert told(capfd, "things.example.test") == 1
        await until(lambda: api.watched("things") == 1)
        api.withdraw("things")
        await until(lambda: world.absent["things.example.test"] == 1)


async def test_it_is_there_again_as_soon_as_its_definition_is(
    api: ApiServer, client: HttpKubeClient
) -> None:
    async with running(client, NEVER_AGAIN) as world:
        await until(lambda: api.watched("customresourcedefinitions") == 1)
        await api.define("others", 6)
        await api.define("things", 7)
        await world.informer.wait_synced(SECONDS)

        assert api.lists["things"] == 2, "the other definition woke it"


async def test_a_definition_that_was_there_first_is_not_missed(
    api: ApiServer, client: HttpKubeClient
) -> None:
    """It came between the refused list of the objects and the first list of definitions."""
    api.definitions = [definition("things", 3)]
    async with running(client, NEVER_AGAIN) as world:
        await until(lambda: api.lists.get("customresourcedefinitions") == 1)
        await until(lambda: api.lists["things"] == 2)

        assert world.informer.error is not None


async def test_a_kind_that_is_served_a_moment_after_its_definition_is_asked_for_soon(
    api: ApiServer, client: HttpKubeClient
) -> None:
    timing = ReflectorTiming(backoff=0.002, backoff_cap=1000.0, absence_cap=1000.0)
    async with running(client, timing) as world:
        await until(lambda: api.watched("customresourcedefinitions") == 1)
        world.informer._reflector._failures = 16  # it has been absent for long
        await until(lambda: world.informer._reflector._failures == 17)
        before = api.lists["things"]
        await api.define("things", 7)
        api.served.clear()
        await until(lambda: api.lists["things"] >= before + 2)
        api.served.add("things")

        await world.informer.wait_synced(SECONDS)


async def test_nothing_is_left_of_it(api: ApiServer, client: HttpKubeClient) -> None:
    """Definitions are watched while somebody waits for one, and no longer."""
    async with running(client, NEVER_AGAIN) as world:
        other = world.factory.informer(OTHERS)
        await until(lambda: len(world.absent) == 2)
        await until(lambda: api.watched("customresourcedefinitions") == 1)
        await api.define("things", 7)
        await world.informer.wait_synced(SECONDS)
        await until(lambda: api.watched("things") == 1)
        assert api.watched("customresourcedefinitions") == 1
        world.factory.release(other)

        assert world.absent == {"things.example.test": 0, "others.example.test": 0}
        await until(lambda: api.watched("customresourcedefinitions") == 0)
        await until(lambda: len(world.factory._tasks) == 1)


async def test_who_may_not_watch_definitions_asks_once_and_looks_again_in_time(
    api: ApiServer, client: HttpKubeClient
) -> None:
    api.may_watch_definitions = False
    async with running(client, QUICK) as world:
        await until(lambda: api.lists.get("things", 0) >= 6)
        assert api.lists["customresourcedefinitions"] == 1
        api.served.add("things")
        await world.informer.wait_synced(SECONDS)

        assert len(world.factory._tasks) == 1
