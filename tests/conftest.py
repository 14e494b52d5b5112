"""What every test needs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
import structlog

pytest_plugins = ("controlplane.fixtures", "devcluster_fixtures")


def pytest_configure() -> None:
    """Tell asyncio that the main thread has no loop.

    Up to Python 3.13 asking for the current loop makes one where none was ever set. pytest-asyncio
    asks, to restore it later, and nobody closes it: a ResourceWarning in whichever test runs when
    it is collected.
    """
    asyncio.set_event_loop(None)


@pytest.fixture(autouse=True)
def _usual_logs() -> Iterator[None]:
    """Undo what a test did to the logs: they would go where that test's output went."""
    yield
    structlog.reset_defaults()
