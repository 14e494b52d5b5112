"""A hold: what it catches and what becomes of it."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Any, Literal

from devcluster.control.journal import Entry
from devcluster.control.match import Match

__all__ = ["ConnectionCut", "Hold", "When"]

When = Literal["before", "after"]
State = Literal["armed", "held", "released", "dropped", "gone"]


class ConnectionCut(Exception):
    """Close the client's connection without an answer."""


class Hold:
    """Stops one write until it is released, dropped, or its client goes away."""

    def __init__(self, hold_id: int, match: Match, *, nth: int, when: When) -> None:
        self.id = hold_id
        self.match = match
        self.nth = nth
        self.when: When = when
        self.state: State = "armed"
        self.seen = 0
        self.entry: Entry | None = None
        self._held = asyncio.Event()
        self._go = asyncio.Event()

    async def reached(self, timeout: float = 30.0) -> Entry:
        """Wait until the request is held; TimeoutError after ``timeout`` seconds."""
        async with asyncio.timeout(timeout):
            await self._held.wait()
        if self.entry is None:
            raise RuntimeError("the hold was disarmed before a request came")
        return self.entry

    def release(self) -> None:
        """Let the request go on; a hold that has caught none is disarmed."""
        if self.state in {"armed", "held"}:
            self.state = "released"
        self._go.set()
        self._held.set()

    def drop(self) -> None:
        """Cut the connection of the held request."""
        if self.state in {"armed", "held"}:
            self.state = "dropped"
        self._go.set()
        self._held.set()

    def counts(self, entry: Entry) -> bool:
        """Count a write; True when this is the one to stop."""
        if self.state != "armed" or not self.match.matches(entry):
            return False
        self.seen += 1
        if self.seen != self.nth:
            return False
        self.state, self.entry = "held", entry
        return True

    async def stop_here(self) -> None:
        """Hold the caller; raises ConnectionCut when dropped, is cancelled with its client."""
        self._held.set()
        try:
            await self._go.wait()
        except asyncio.CancelledError:
            self.state = "gone"
            raise
        if self.state == "dropped":
            raise ConnectionCut

    def shown(self) -> dict[str, Any]:
        """For the endpoint."""
        return {
            "id": self.id,
            "match": asdict(self.match),
            "nth": self.nth,
            "when": self.when,
            "state": self.state,
            "seen": self.seen,
            "request": asdict(self.entry) if self.entry else None,
        }
