"""A hostile registry and a client for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

import pytest

from fluvial.net.dialer import Dialer
from registries.clients import LOOPBACK, Connect, HastyClock
from registries.fake import FakeRegistry
from source_controller.oci.access import DIRECT, Access
from source_controller.oci.limits import Limits
from source_controller.oci.reference import Repository
from source_controller.oci.registries import Registries
from source_controller.oci.registry import RepositoryClient


@pytest.fixture
async def fake() -> AsyncIterator[FakeRegistry]:
    async with FakeRegistry() as registry:
        yield registry


@pytest.fixture
async def registries() -> AsyncIterator[Registries]:
    limits = replace(Limits(), answer_seconds=5.0)
    async with Registries(Dialer(LOOPBACK), clock=HastyClock(), limits=limits) as registries:
        yield registries


@pytest.fixture
def connect(registries: Registries) -> Connect:
    def connect(
        url: str, access: Access = DIRECT, namespace: str = "apps"
    ) -> AbstractAsyncContextManager[RepositoryClient]:
        return registries.client(Repository.parse_url(url), access, namespace=namespace)

    return connect
