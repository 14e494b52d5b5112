"""Holds and faults: what each one is and what becomes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from devcluster.control.journal import Entry
from devcluster.control.match import Match
from devcluster.errors import ApiFailure

__all__ = ["Armed", "ConnectionCut", "Fault", "Hold", "When"]

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


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to a matching request; see the package for the forms."""

    status: int = 0
    retry_after: int | None = None
    message: str = ""
    drop: str = ""
    delay: float = 0.0
    expired: bool = False

    @classmethod
    def parse(cls, data: Mapping[str, Any] | None) -> Fault:
        """From JSON; ValueError on an unknown or missing form."""
        data = dict(data or {})
        unknown = sorted(set(data) - {field.name for field in fields(cls)})
        if unknown:
            raise ValueError(f"unknown terms: {', '.join(unknown)}")
        fault = cls(**data)
        if fault.drop not in {"", "before", "after"}:
            raise ValueError("drop is before or after")
        if not (fault.status or fault.drop or fault.delay or fault.expired):
            raise ValueError("a fault needs one of status, drop, delay, expired")
        return fault

    def failure(self) -> ApiFailure:
        """The Status of a ``status`` fault."""
        reasons = {
            409: "Conflict",
            410: "Expired",
            429: "TooManyRequests",
            500: "InternalError",
            503: "ServiceUnavailable",
            504: "Timeout",
        }
        seconds = self.retry_after
        if seconds is None and self.status == 429:
            seconds = 1
        return ApiFailure(
            self.status,
            reasons.get(self.status, ""),
            self.message or "fault injected",
            details={"retryAfterSeconds": seconds} if seconds is not None else {},
            headers={"Retry-After": str(seconds)} if seconds is not None else None,
        )


@dataclass(slots=True)
class Armed:
    """A fault in place."""

    id: int
    match: Match
    fault: Fault
    times: int = 0
    skip: int = 0
    seen: int = 0
    struck: int = 0

    def strikes(self, entry: Entry) -> bool:
        """Count a matching request; True when the fault is for it."""
        if (self.times and self.struck >= self.times) or not self.match.matches(entry):
            return False
        self.seen += 1
        if self.seen <= self.skip:
            return False
        self.struck += 1
        return True

    def shown(self) -> dict[str, Any]:
        """For the endpoint."""
        return asdict(self)
