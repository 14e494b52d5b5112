"""What every test needs."""

from __future__ import annotations

import asyncio

pytest_plugins = ("controlplane.fixtures", "devcluster_fixtures")


def pytest_configure() -> None:
    """Tell asyncio that the main thread has no loop.

    Up to Python 3.13 asking for the current loop makes one where none was ever set. pytest-asyncio
    asks, to restore it later, and nobody closes it: a ResourceWarning in whichever test runs when
    it is collected.
    """
    asyncio.set_event_loop(None)
