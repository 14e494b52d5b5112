"""A cluster with the controller."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from harness.receivers import ReceiverWorld


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[ReceiverWorld]:
    async with ReceiverWorld.start(tmp_path) as world:
        yield world
