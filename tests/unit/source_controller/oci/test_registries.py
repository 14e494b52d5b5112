"""Sessions: shared, found again, closed."""

from __future__ import annotations

import asyncio
import gc

import pytest
from aiohttp import web

from fluvial.net.dialer import Dialer
from registries.clients import LOOPBACK, HastyClock
from registries.fake import FakeRegistry
from registries.images import image_of
from source_controller.oci.access import DIRECT, Access
from source_controller.oci.dockerconfig import Credentials
from source_controller.oci.errors import RegistryUnreachable
from source_controller.oci.reference import Repository
from source_controller.oci.registries import Registries


class FakeClock(HastyClock):
    """Its monotonic time is set by the test."""

    time = 100.0

    def monotonic(self) -> float:
        return self.time


async def use(registries: Registries, fake: FakeRegistry, access: Access = DIRECT) -> None:
    repository = Repository.parse_url(f"{fake.oci}/app")
    async with registries.client(repository, access, namespace="apps") as client:
        await client.tags()


def pings(fake: FakeRegistry) -> int:
    return fake.paths("/v2/").count("GET /v2/")


async def test_a_session_is_kept_for_a_minute(fake: FakeRegistry) -> None:
    fake.put("app", "v1", image_of({}))
    clock = FakeClock()
    async with Registries(Dialer(LOOPBACK), clock=clock) as registries:
        await use(registries, fake)
        await use(registries, fake)
        assert pings(fake) == 1
        clock.time += 61
        await use(registries, fake, Access(Credentials("other")))  # tidies up
        await use(registries, fake)
        assert pings(fake) == 3


async def test_many_trust_domains_at_once(fake: FakeRegistry) -> None:
    """More than are kept idle, ending in any order: none is closed under its user."""
    fake.put("app", "v1", image_of({}))
    clock = FakeClock()
    async with Registries(Dialer(LOOPBACK), clock=clock) as registries:
        accesses = [Access(Credentials(f"user-{number % 40}")) for number in range(120)]
        await asyncio.gather(*(use(registries, fake, access) for access in accesses))
        assert len(registries._open) <= 16


async def test_a_registry_that_comes_back_is_looked_at_anew(fake: FakeRegistry) -> None:
    fake.put("app", "v1", image_of({}))
    async with Registries(Dialer(LOOPBACK), clock=FakeClock()) as registries:
        await use(registries, fake)

        async def cut(request: web.Request) -> web.Response | None:
            assert request.transport is not None
            request.transport.close()
            return web.Response()

        fake.hook = cut
        with pytest.raises(RegistryUnreachable):
            await use(registries, fake)
        fake.hook = None
        await use(registries, fake)

    assert pings(fake) >= 2


async def test_who_gives_up_while_a_session_is_opened_leaves_none(fake: FakeRegistry) -> None:
    """At whatever point: a session that nobody closes would be reported as unraisable."""
    fake.put("app", "v1", image_of({}))
    for steps in range(20):
        async with Registries(Dialer(LOOPBACK), clock=FakeClock()) as registries:
            task = asyncio.create_task(use(registries, fake))
            for _ in range(steps):
                await asyncio.sleep(0.0005)
            task.cancel()
            await asyncio.wait((task,))
    gc.collect()
