"""What the server remembers of calls, in bounded memory."""

from __future__ import annotations

import hashlib
from collections import OrderedDict

from fluvial.clock import Clock

__all__ = ["Deliveries", "Refusals"]

_MAX_DELIVERIES = 10_000
_DELIVERY_SECONDS = 3600.0
_MAX_CALLERS = 10_000
_BURST = 50.0
_PER_SECOND = 1.0


class Deliveries:
    """Which deliveries have been dealt with, so that one that is sent again wakes nothing twice.

    Args:
        clock: forgets them after an hour.

    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # By a digest: the caller chooses the length of an id.
        self._seen: OrderedDict[bytes, float] = OrderedDict()

    def seen(self, receiver: str, delivery: str) -> bool:
        """Whether a delivery was dealt with; one without an id never was.

        Args:
            receiver: uid of the Receiver.
            delivery: the sender's id.

        """
        self._forget()
        return bool(delivery) and _digest(receiver, delivery) in self._seen

    def add(self, receiver: str, delivery: str) -> None:
        """A delivery has been dealt with."""
        if delivery:
            self._seen[_digest(receiver, delivery)] = self._clock.monotonic()
            self._forget()

    def _forget(self) -> None:
        oldest = self._clock.monotonic() - _DELIVERY_SECONDS
        while self._seen and (
            len(self._seen) > _MAX_DELIVERIES or next(iter(self._seen.values())) < oldest
        ):
            self._seen.popitem(last=False)


class Refusals:
    """Limits callers by what was refused to them: 50 at once, then one a second.

    Only refused calls count, so whoever proves himself is never limited, even where all callers
    come from the address of one proxy.

    Args:
        clock: gives back.

    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._left: OrderedDict[tuple[str, str], tuple[float, float]] = OrderedDict()

    def too_many(self, caller: str, address: str) -> bool:
        """Whether a caller has to wait.

        Args:
            caller: its network address.
            address: the Receiver's path, or ``""`` for paths that are none.

        """
        return self._now(caller, address) < 1.0

    def add(self, caller: str, address: str) -> None:
        """A call was refused."""
        left = self._now(caller, address)
        self._left[caller, address] = (max(left - 1.0, 0.0), self._clock.monotonic())
        self._left.move_to_end((caller, address))
        while len(self._left) > _MAX_CALLERS:
            self._left.popitem(last=False)

    def _now(self, caller: str, address: str) -> float:
        left, since = self._left.get((caller, address), (_BURST, self._clock.monotonic()))
        return min(left + (self._clock.monotonic() - since) * _PER_SECOND, _BURST)


def _digest(receiver: str, delivery: str) -> bytes:
    return hashlib.sha256(f"{receiver}\n{delivery}".encode(errors="surrogatepass")).digest()
