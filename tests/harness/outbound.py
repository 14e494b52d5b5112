"""A dialer for tests: their Git servers, registries and so on listen on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fluvial.log import get_logger
from fluvial.net.dialer import Dialer
from fluvial.net.gateway import Gateway
from fluvial.net.policy import AddressPolicy, parse_networks

__all__ = ["loopback4_dialer", "loopback_dialer", "loopback_gateway"]


def loopback_dialer() -> Dialer:
    """Loopback is allowed; the rest is as strict as in production."""
    return Dialer(AddressPolicy.build(allowed=parse_networks("127.0.0.0/8,::1/128")))


def loopback4_dialer() -> Dialer:
    """The same for IPv4 alone: ``::1`` stays what it is in production."""
    return Dialer(AddressPolicy.build(allowed=parse_networks("127.0.0.0/8")))


@asynccontextmanager
async def loopback_gateway() -> AsyncIterator[Gateway]:
    """A gateway with that dialer."""
    async with Gateway(loopback_dialer(), log=get_logger("test")) as gateway:
        yield gateway
