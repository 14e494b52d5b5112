"""Which events have been told: each once in a window that begins with its first."""

from __future__ import annotations

from collections import OrderedDict

from fluvial.clock import Clock

__all__ = ["EventLimiter", "Seen"]

_MAX_KNOWN = 200_000


class Seen:
    """What the limiter says of an event.

    Attributes:
        known: it was told in this window.
        resets_in: seconds until it would be told again.

    """

    __slots__ = ("known", "resets_in")

    def __init__(self, *, known: bool, resets_in: float) -> None:
        self.known = known
        self.resets_in = resets_in


class EventLimiter:
    """Remembers identities of events for an interval.

    Args:
        clock: ends windows.
        interval: their length in seconds (``--rate-limit-interval``); 0 lets everything through.

    """

    def __init__(self, clock: Clock, interval: float) -> None:
        self._clock = clock
        self.interval = interval
        self._since: OrderedDict[str, float] = OrderedDict()

    def see(self, identity: str) -> Seen:
        """Look an event up, and remember it if it is new."""
        now = self._clock.monotonic()
        self._forget(now)
        since = self._since.get(identity)
        if since is not None:
            return Seen(known=True, resets_in=self.interval - (now - since))
        if self.interval > 0:
            self._since[identity] = now
        return Seen(known=False, resets_in=self.interval)

    def _forget(self, now: float) -> None:
        """Windows begin in the order of the dictionary, so the first ones end first."""
        while self._since:
            identity, since = next(iter(self._since.items()))
            if now - since < self.interval and len(self._since) <= _MAX_KNOWN:
                return
            del self._since[identity]
