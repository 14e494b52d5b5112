"""Health waits against a cluster: ended by a watch, read as the tenant."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from fluvial.apply import HealthWaiter, WaiterTiming, WaitRequest, WaitResult
from fluvial.clock import RealClock
from fluvial.kube import kinds
from fluvial.kube.informer import InformerFactory
from fluvial.kube.resource import Resource
from fluvial.log import get_logger
from fluvial.objects import JsonObject, ObjectKey, ObjectRef
from integration.apply.apply_world import Spy, World


def _definition(group: str) -> JsonObject:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "subresources": {"status": {}}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"widgets.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget"},
            "versions": [version | {"schema": {"openAPIV3Schema": schema}}],
        },
    }


async def _widget(world: World) -> tuple[ObjectRef, ...]:
    """Apply a Widget: a kind that no controller touches, so that a test writes its status."""
    group = f"{world.namespace}.example.org"
    widget = {
        "apiVersion": f"{group}/v1",
        "kind": "Widget",
        "metadata": {"name": "w", "namespace": world.namespace},
    }
    target = replace(world.target, client=Spy(world.admin))
    result = await world.apply(widget, _definition(group), world.config_map("a"), target=target)
    await _set_condition(world, "Ready", "Unknown")
    return tuple(ref for ref in result.health_refs() if ref.namespace)


async def _set_condition(world: World, condition: str, status: str) -> None:
    widgets = Resource(f"{world.namespace}.example.org", "v1", "widgets", "Widget", namespaced=True)
    await world.admin.patch(
        widgets,
        world.key("w"),
        {"status": {"conditions": [{"type": condition, "status": status}]}},
        patch_type="merge",
        field_manager="widget-controller",
        subresource="status",
    )


WATCH_ONLY = WaiterTiming(first_poll=1000, longest_poll=1000, tick=1000, debounce=0.01)


@asynccontextmanager
async def _waiter(
    world: World, *, timing: WaiterTiming = WATCH_ONLY
) -> AsyncIterator[tuple[HealthWaiter, asyncio.Queue[str]]]:
    """A waiter that looks again only when a watch says so."""
    ended: asyncio.Queue[str] = asyncio.Queue()
    clock = RealClock()
    async with InformerFactory(world.admin, clock, get_logger("test")) as informers:
        waiter = HealthWaiter(
            done=ended.put_nowait, clock=clock, informers=informers, timing=timing
        )
        task = asyncio.create_task(waiter.run(), name="waiter")
        try:
            yield waiter, ended
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    # An aborted watch says farewell in TLS, which takes some turns of the loop.
    await asyncio.sleep(0.05)


def _request(world: World, refs: tuple[ObjectRef, ...], *, seconds: float) -> WaitRequest:
    now = asyncio.get_running_loop().time()
    return WaitRequest(
        key="k", attempt="1", refs=refs, target=world.target, deadline=now + seconds, started=now
    )


async def _result(waiter: HealthWaiter, ended: asyncio.Queue[str]) -> WaitResult:
    assert await asyncio.wait_for(ended.get(), 20) == "k"
    result = waiter.result("k", "1")
    assert result is not None
    return result


async def test_what_is_healthy_ends_at_once(world: World) -> None:
    result = await world.apply(world.config_map("a"), world.config_map("b"))

    async with _waiter(world) as (waiter, ended):
        waiter.start(_request(world, result.health_refs(), seconds=20))
        outcome = await _result(waiter, ended)

    assert outcome.healthy
    assert outcome.message == ""
    assert len(waiter) == 0


async def test_watch_ends_the_wait(world: World) -> None:
    refs = await _widget(world)

    async with _waiter(world) as (waiter, ended):
        waiter.start(_request(world, refs, seconds=20))
        while len(world.spy.calls) < 2:
            await asyncio.sleep(0.01)
        await _set_condition(world, "Ready", "True")
        outcome = await _result(waiter, ended)

    assert outcome.healthy
    assert set(world.spy.take()) == {"get a", "get w"}


async def test_failure_ends_the_wait_early_with_the_message_of_flux(world: World) -> None:
    refs = await _widget(world)
    await _set_condition(world, "Stalled", "True")

    async with _waiter(world) as (waiter, ended):
        waiter.start(_request(world, refs, seconds=20))
        outcome = await _result(waiter, ended)

    assert not outcome.healthy
    assert outcome.message == (
        f"failed early due to stalled resources: [Widget/{world.namespace}/w status: 'Failed']"
    )


async def test_deadline_ends_the_wait_with_the_message_of_flux(world: World) -> None:
    missing = ObjectRef("", "ConfigMap", world.namespace, "never")

    async with _waiter(world) as (waiter, ended):
        waiter.start(_request(world, (missing,), seconds=0.3))
        outcome = await _result(waiter, ended)

    assert outcome.message == (
        f"timeout waiting for: [ConfigMap/{world.namespace}/never status: 'NotFound']"
    )


async def test_read_that_is_forbidden_is_unknown_and_says_why(world: World) -> None:
    result = await world.apply(world.config_map("a"))
    await world.revoke()

    async with _waiter(world) as (waiter, ended):
        waiter.start(_request(world, result.health_refs(), seconds=0.3))
        outcome = await _result(waiter, ended)

    assert f"ConfigMap/{world.namespace}/a status: 'Unknown': " in outcome.message
    assert "cannot get resource" in outcome.message


async def test_no_watch_is_left_of_a_definition_that_went(world: World) -> None:
    """Even if nobody waits for anything any more."""
    refs = await _widget(world)

    async with _waiter(world, timing=replace(WATCH_ONLY, tick=0.05)) as (waiter, ended):
        waiter.start(_request(world, refs, seconds=20))
        while len(world.spy.calls) < 2:
            await asyncio.sleep(0.01)
        await _set_condition(world, "Ready", "True")
        await _result(waiter, ended)
        watches = waiter._wakeups._watches
        assert "Widget" in {resource.kind for resource in watches}
        await world.admin.delete(kinds.CRD, ObjectKey("", f"widgets.{world.namespace}.example.org"))
        async with asyncio.timeout(20):
            while "Widget" in {resource.kind for resource in watches}:
                await asyncio.sleep(0.01)
