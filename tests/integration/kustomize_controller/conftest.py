"""A harness for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from harness.kustomize import Harness


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[Harness]:
    """A cluster, a tenant in namespace ``team``, and the controller with default settings."""
    async with Harness.start(tmp_path) as harness:
        await harness.tenant()
        yield harness
