"""Helm's engine in a worker that the tests of a module share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from fluvial.build.helm.lookup import Lookup
from fluvial.build.helm.model import RenderedRelease, RenderSpec
from fluvial.build.helm.renderer import HelmRenderer, engine_pool
from fluvial.kube.capabilities import Capabilities
from fluvial.log import get_logger
from fluvial.workers.pool import WorkerPool
from harness.helm import need_helm

Render = Callable[..., Awaitable[RenderedRelease]]

SPEC = RenderSpec("demo", "space", Capabilities.of_version("v1.33.4", ("v1", "apps/v1")))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pool() -> AsyncIterator[WorkerPool]:
    need_helm()
    async with engine_pool(log=get_logger("test"), size=1, keep_spare=False) as pool:
        yield pool


@pytest.fixture
def render(pool: WorkerPool) -> Render:
    """Render for the release ``demo``; changes of the spec are keyword arguments."""
    renderer = HelmRenderer(pool)

    async def run(
        chart: bytes,
        values: dict[str, Any] | None = None,
        *,
        lookup: Lookup | None = None,
        secrets: Collection[str] = (),
        timeout: float = 20.0,
        **changes: Any,
    ) -> RenderedRelease:
        return await renderer.render(
            chart,
            values or {},
            replace(SPEC, **changes),
            timeout=timeout,
            trust_domain="test",
            lookup=lookup,
            secrets=secrets,
        )

    return run
