"""Kinds are mapped as the server says now, and never called gone without proof."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from fluvial.kube.discovery import DiscoveryIncomplete, NoMatch, RestMapper
from fluvial.kube.errors import ServerError
from fluvial.kube.resource import Resource
from fluvial.kube.retry import RetryPolicy
from fluvial.objects import GroupVersionKind

from .conftest import Scripted, answer, make_client, refusal

DEPLOYMENT = GroupVersionKind("apps", "v1", "Deployment")
WIDGET = GroupVersionKind("example.test", "v1", "Widget")


class Api:
    """Discovery documents, aggregated or not; groups may fail or go."""

    def __init__(self, server: Scripted, *, aggregated: bool = True) -> None:
        self.aggregated = aggregated
        self.broken: set[str] = set()
        self.widgets = False
        self.asked: list[str] = []
        server.will(self.handle)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        self.asked.append(path)
        await asyncio.sleep(0.002)
        if path in self.broken:
            return refusal(503)
        if self.aggregated and path in {"/api", "/apis"}:
            return answer({"kind": "APIGroupDiscoveryList", "items": self.items(path)})
        return answer(self.legacy(path))

    def groups(self) -> dict[str, list[tuple[str, str, str, bool]]]:
        found = {"apps": [("v1", "deployments", "Deployment", True)]}
        if self.widgets:
            found["example.test"] = [
                ("v2", "widgets", "Widget", False),
                ("v1", "widgets", "Widget", False),
                ("v1", "gadgets", "Gadget", True),
            ]
        return found

    def items(self, path: str) -> list[dict[str, Any]]:
        if path == "/api":
            return [
                {
                    "metadata": {},
                    "versions": [self.version("", "v1", [("configmaps", "ConfigMap", True)])],
                }
            ]
        items = []
        for group, rows in self.groups().items():
            versions = list(dict.fromkeys(row[0] for row in rows))
            found = [
                self.version(group, v, [row[1:] for row in rows if row[0] == v]) for v in versions
            ]
            items.append({"metadata": {"name": group}, "versions": found})
        return items

    def version(
        self, group: str, version: str, rows: list[tuple[str, str, bool]]
    ) -> dict[str, Any]:
        if f"/apis/{group}/{version}" in self.broken:
            return {"version": version, "freshness": "Stale", "resources": []}
        entries = [
            {
                "resource": plural,
                "responseKind": {"group": group, "version": version, "kind": kind},
                "scope": "Namespaced" if namespaced else "Cluster",
                "subresources": [{"subresource": "status"}],
            }
            for plural, kind, namespaced in rows
        ]
        return {"version": version, "freshness": "Current", "resources": entries}

    def legacy(self, path: str) -> dict[str, Any]:
        if path == "/api":
            return {"kind": "APIVersions", "versions": ["v1"]}
        if path == "/apis":
            groups = []
            for group, rows in self.groups().items():
                versions = [{"version": v} for v in sorted({row[0] for row in rows})]
                groups.append(
                    {
                        "name": group,
                        "versions": versions,
                        "preferredVersion": {"version": rows[0][0]},
                    }
                )
            return {"kind": "APIGroupList", "groups": groups}
        if path == "/api/v1":
            return {"resources": [{"name": "configmaps", "kind": "ConfigMap", "namespaced": True}]}
        _, _, group, version = path.split("/")
        entries = [
            {"name": plural, "kind": kind, "namespaced": namespaced}
            for v, plural, kind, namespaced in self.groups()[group]
            if v == version
        ]
        status = {"name": "widgets/status", "kind": "Widget", "namespaced": False}
        return {"resources": [*entries, status]}


class Quick:
    """Real time, but sleeping takes none: the clock jumps."""

    def __init__(self) -> None:
        self.ahead = 0.0
        self.slept: list[float] = []

    def now(self) -> Any:
        raise NotImplementedError

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time() + self.ahead

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.ahead += seconds
        await asyncio.sleep(0)


@pytest.fixture(params=[True, False], ids=["aggregated", "legacy"])
def api(request: pytest.FixtureRequest, server: Scripted) -> Api:
    return Api(server, aggregated=request.param)


@pytest.fixture
def clock() -> Quick:
    return Quick()


@pytest.fixture
async def mapper(server: Scripted, clock: Quick) -> AsyncIterator[RestMapper]:
    async with make_client(server, retry=RetryPolicy(budget=0)) as client:
        yield RestMapper(client, clock)


async def test_kinds_are_mapped_with_their_scope(api: Api, mapper: RestMapper) -> None:
    api.widgets = True

    assert await mapper.resource_for(DEPLOYMENT) == Resource(
        "apps", "v1", "deployments", "Deployment", namespaced=True
    )
    assert await mapper.resource_for(GroupVersionKind("", "v1", "ConfigMap")) == Resource(
        "", "v1", "configmaps", "ConfigMap", namespaced=True
    )
    assert not (await mapper.resource_for(WIDGET)).namespaced


async def test_the_hinted_version_is_taken_if_served_else_the_preferred(
    api: Api, mapper: RestMapper
) -> None:
    api.widgets = True

    async def version(kind: str, hint: str) -> str:
        return (await mapper.resource_for_kind("example.test", kind, version_hint=hint)).version

    assert await version("Widget", "v1") == "v1"
    assert await version("Widget", "") == "v2"
    assert await version("Widget", "v0") == "v2"
    assert await version("Gadget", "v2") == "v1"


async def test_many_questions_are_one_reading(api: Api, mapper: RestMapper) -> None:
    await asyncio.gather(*(mapper.resource_for(DEPLOYMENT) for _ in range(20)))

    assert api.asked.count("/apis") == 1


async def test_a_missing_kind_is_read_again_but_not_at_every_question(
    api: Api, mapper: RestMapper, clock: Quick
) -> None:
    for _ in range(5):
        with pytest.raises(NoMatch, match='no matches for kind "Widget"'):
            await mapper.resource_for(WIDGET)
    assert api.asked.count("/apis") == 2

    api.widgets = True
    clock.ahead += 11
    assert (await mapper.resource_for(WIDGET)).plural == "widgets"


async def test_different_missing_kinds_are_read_at_most_once_a_second(
    api: Api, mapper: RestMapper, clock: Quick
) -> None:
    await mapper.refresh()
    started = clock.monotonic()
    for number in range(5):
        with pytest.raises(NoMatch):
            await mapper.resource_for(GroupVersionKind("g", "v1", f"K{number}"))

    assert api.asked.count("/apis") == 6
    assert clock.monotonic() - started >= 4.9


async def test_a_kind_is_found_at_once_after_its_crd_appeared(
    api: Api, mapper: RestMapper, clock: Quick
) -> None:
    with pytest.raises(NoMatch):
        await mapper.resource_for(WIDGET)
    with pytest.raises(NoMatch):
        await mapper.resource_for(WIDGET)
    mapper.crd_appeared("example.test")
    before = clock.monotonic()
    with pytest.raises(NoMatch):
        await mapper.resource_for(WIDGET)  # the server has not published it yet
    api.widgets = True

    assert (await mapper.resource_for(WIDGET)).plural == "widgets"
    assert clock.monotonic() - before < 1.0


async def test_invalidate_reads_at_the_next_question(api: Api, mapper: RestMapper) -> None:
    with pytest.raises(NoMatch):
        await mapper.resource_for_kind("example.test", "Widget")
    api.widgets = True
    mapper.invalidate()

    assert (await mapper.resource_for_kind("example.test", "Widget")).version == "v2"


async def test_gone_is_said_only_after_a_complete_reading(api: Api, mapper: RestMapper) -> None:
    api.widgets = True
    assert await mapper.has_kind_fresh("example.test", "Widget")
    api.broken = {"/apis/example.test/v1", "/apis/example.test/v2"}
    with pytest.raises(DiscoveryIncomplete, match=r"example\.test/v1, example\.test/v2"):
        await mapper.has_kind_fresh("example.test", "Widget")
    with pytest.raises(DiscoveryIncomplete):
        await mapper.has_kind_fresh("other.test", "Other")
    assert await mapper.has_kind_fresh("apps", "Deployment")

    api.broken = set()
    api.widgets = False
    assert not await mapper.has_kind_fresh("example.test", "Widget")


async def test_a_group_that_does_not_answer_is_used_as_it_was(api: Api, mapper: RestMapper) -> None:
    api.widgets = True
    await mapper.refresh()
    api.broken = {"/apis/example.test/v1"}
    await mapper.refresh()

    assert (await mapper.resource_for(WIDGET)).plural == "widgets"
    with pytest.raises(NoMatch, match="does not answer"):
        await mapper.resource_for(GroupVersionKind("example.test", "v1", "Unheard"))


async def test_a_server_that_does_not_answer_is_an_error_and_no_miss(
    api: Api, server: Scripted
) -> None:
    api.broken = {"/apis"}
    async with make_client(server, retry=RetryPolicy(budget=0)) as client:
        mapper = RestMapper(client, Quick())
        with pytest.raises(ServerError):
            await mapper.resource_for(WIDGET)
        with pytest.raises(ServerError):
            await mapper.has_kind_fresh("example.test", "Widget")


async def test_a_reading_that_began_before_does_not_prove_that_a_kind_is_gone(
    api: Api, mapper: RestMapper
) -> None:
    early = asyncio.ensure_future(mapper.refresh())
    await asyncio.sleep(0)
    both = await asyncio.gather(
        mapper.has_kind_fresh("apps", "Deployment"), mapper.has_kind_fresh("a", "B")
    )
    await early

    assert list(both) == [True, False]
    assert api.asked.count("/apis") == 2


async def test_a_cancelled_reader_leaves_the_others_alone(api: Api, mapper: RestMapper) -> None:
    first = asyncio.ensure_future(mapper.resource_for(DEPLOYMENT))
    second = asyncio.ensure_future(mapper.resource_for(DEPLOYMENT))
    await asyncio.sleep(0.001)
    first.cancel()

    assert (await second).plural == "deployments"
    with pytest.raises(asyncio.CancelledError):
        await first
