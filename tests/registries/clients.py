"""Clients for registries on this machine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from fluvial.clock import RealClock
from fluvial.net.dialer import Dialer
from fluvial.net.policy import AddressPolicy, parse_networks
from source_controller.oci.access import DIRECT, Access
from source_controller.oci.limits import Limits
from source_controller.oci.reference import Repository
from source_controller.oci.registries import Registries
from source_controller.oci.registry import RepositoryClient

__all__ = ["LOOPBACK", "Connect", "HastyClock", "limited"]

Connect = Callable[..., AbstractAsyncContextManager[RepositoryClient]]
LOOPBACK = AddressPolicy.build(allowed=parse_networks("127.0.0.0/8,::1/128"))


class HastyClock(RealClock):
    """Waits between attempts take no time."""

    async def sleep(self, seconds: float) -> None:
        await super().sleep(0)


@asynccontextmanager
async def limited(
    limits: Limits, url: str, access: Access = DIRECT
) -> AsyncIterator[RepositoryClient]:
    """A client with other limits than usual."""
    async with (
        Registries(Dialer(LOOPBACK), clock=HastyClock(), limits=limits) as registries,
        registries.client(Repository.parse_url(url), access, namespace="apps") as client,
    ):
        yield client
