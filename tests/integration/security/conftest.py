"""A cluster with a hostile tenant in namespace ``team`` and a victim in ``other``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from harness.kustomize import Harness


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[Harness]:
    """The controller with default settings; both namespaces have a service account."""
    async with Harness.start(tmp_path) as harness:
        await harness.tenant()
        await harness.tenant("other")
        yield harness
