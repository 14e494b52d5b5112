"""The switchboard: what is armed, which watches run, what was asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from devcluster.control.holds import Hold, When
from devcluster.control.journal import Entry, Journal
from devcluster.control.match import Match
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
        self._watches: dict[Watch, Entry] = {}

    # --- for tests ----------------------------------------------------------------------------

    def hold(self, match: Match = _ANY, *, nth: int = 1, when: When = "before") -> Hold:
        """Stop the n-th write that matches, counted from now."""
        hold = Hold(self._id(), match, nth=nth, when=when)
        self.holds[hold.id] = hold
        return hold

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

        Raises ConnectionCut where a hold is dropped.
        """
        if not entry.write:
            return None
        for hold in list(self.holds.values()):
            if hold.counts(entry):
                if hold.when == "after":
                    return hold
                await hold.stop_here()
        return None

    async def after(self, hold: Hold | None) -> None:
        """Called when the change is committed and the answer is not sent; raises as ``before``."""
        if hold is not None:
            await hold.stop_here()

    @contextmanager
    def watching(self, watch: Watch, entry: Entry) -> Iterator[None]:
        """Keep a watch in the books while it runs."""
        self._watches[watch] = entry
        try:
            yield
        finally:
            self._watches.pop(watch, None)
