"""The switchboard: what is armed, which watches run, what was asked."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from devcluster.control.journal import Entry, Journal
from devcluster.control.match import Match
from devcluster.control.rules import Armed, ConnectionCut, Fault, Hold, When
from devcluster.store import Store
from devcluster.watching import Watch

__all__ = ["Control"]

_ANY = Match()


class Control:
    """Everything that a test can do to a cluster beyond its API. See the package."""

    def __init__(self, store: Store, journal: Journal) -> None:
        self._store = store
        self._journal = journal
        self._next = 1
        self.holds: dict[int, Hold] = {}
        self.faults: dict[int, Armed] = {}
        self._watches: dict[Watch, Entry] = {}

    # --- for tests ----------------------------------------------------------------------------

    def hold(self, match: Match = _ANY, *, nth: int = 1, when: When = "before") -> Hold:
        """Stop the n-th write that matches, counted from now."""
        hold = Hold(self._id(), match, nth=nth, when=when)
        self.holds[hold.id] = hold
        return hold

    def fault(self, match: Match, fault: Fault, *, times: int = 0, skip: int = 0) -> Armed:
        """Strike matching requests; ``times`` 0 goes on until ``remove_fault``."""
        armed = Armed(self._id(), match, fault, times=times, skip=skip)
        self.faults[armed.id] = armed
        return armed

    def remove_fault(self, fault_id: int) -> None:
        """Take a fault away."""
        self.faults.pop(fault_id, None)

    def forget_hold(self, hold_id: int) -> None:
        """Release and forget a hold."""
        hold = self.holds.pop(hold_id, None)
        if hold is not None:
            hold.release()

    def cut_watches(self, match: Match = _ANY) -> int:
        """End matching watches as if their time were up; how many."""
        return self._end_watches(match, expired=False)

    def expire_watches(self, match: Match = _ANY) -> int:
        """End matching watches with a 410 event; how many."""
        return self._end_watches(match, expired=True)

    def compact(self) -> None:
        """Forget history: watches and lists from before now get 410."""
        self._store.compact()

    def requests(self, match: Match = _ANY, *, after: int = 0) -> list[Entry]:
        """The log, oldest first, from the entry after sequence number ``after``."""
        return [e for e in self._journal if e.seq > after and match.matches(e)]

    def clear_requests(self) -> None:
        """Empty the log."""
        self._journal.clear()

    def _id(self) -> int:
        self._next += 1
        return self._next - 1

    def _end_watches(self, match: Match, *, expired: bool) -> int:
        chosen = [watch for watch, entry in self._watches.items() if match.matches(entry)]
        for watch in chosen:
            watch.end(expired=expired)
        return len(chosen)

    # --- for the server -----------------------------------------------------------------------

    async def before(self, entry: Entry) -> Hold | None:
        """Called before a request takes effect; the hold to honour after it, if any.

        Raises ApiFailure or ConnectionCut where a fault says so.
        """
        if self.faults:
            await self._strike(entry, "before")
        if not self.holds or not entry.write:
            return None
        for hold in list(self.holds.values()):
            if hold.counts(entry):
                if hold.when == "after":
                    return hold
                await hold.stop_here()
        return None

    async def after(self, entry: Entry, hold: Hold | None) -> None:
        """Called when the change is committed and the answer is not sent."""
        if hold is not None:
            await hold.stop_here()
        if self.faults:
            await self._strike(entry, "after")

    async def _strike(self, entry: Entry, when: When) -> None:
        for armed in list(self.faults.values()):
            fault = armed.fault
            if (fault.drop == "after") is (when == "before") or fault.expired:
                continue
            if not armed.strikes(entry):
                continue
            if fault.delay:
                await asyncio.sleep(fault.delay)
            if fault.drop:
                raise ConnectionCut
            if fault.status:
                raise fault.failure()

    @contextmanager
    def watching(self, watch: Watch, entry: Entry) -> Iterator[None]:
        """Keep a watch in the books while it runs."""
        self._watches[watch] = entry
        for armed in self.faults.values():
            if armed.fault.expired and armed.strikes(entry):
                watch.end(expired=True)
        try:
            yield
        finally:
            self._watches.pop(watch, None)
