"""Which events the cluster gets to see, and how often: one object for repeats, none for floods.

The essence of client-go's correlator, whose limits these are. Pure logic; the recorder sends.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from fluvial.objects import JsonObject

__all__ = ["Correlated", "Correlator"]

_CACHE = 4096
_SIMILAR = 10  # different messages of one kind before they are combined
_SIMILAR_SECONDS = 600.0
_BURST = 25.0
_REFILL = 1 / 300  # events a second, per object
_COMBINED = "(combined from similar events): "

V = TypeVar("V")


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


@dataclass(slots=True)
class _Similar:
    at: float
    messages: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Correlated:
    """An event as the cluster is to see it; ``name`` is ``""`` until it was created."""

    message: str
    name: str = ""
    first: str = ""
    count: int = 0


class _Cache(OrderedDict[tuple[str, ...], V], Generic[V]):
    """The most recently used entries."""

    def recall(self, key: tuple[str, ...], make: V) -> V:
        value = self.setdefault(key, make)
        self.move_to_end(key)
        if len(self) > _CACHE:
            self.popitem(last=False)
        return value


class Correlator:
    """Remembers what was reported about which object."""

    def __init__(self) -> None:
        self._buckets: _Cache[_Bucket] = _Cache()
        self._similar: _Cache[_Similar] = _Cache()
        self._known: _Cache[Correlated] = _Cache()

    def correlate(self, event: JsonObject, now: float) -> Correlated | None:
        """What to send for a core/v1 Event; ``None`` if its object has sent too many.

        Args:
            event: with involvedObject, type, reason and message.
            now: monotonic seconds.

        """
        who = _identity(event["involvedObject"])
        if not self._allowed(who, now):
            return None
        kind = (*who, event["type"], event["reason"])
        message = event["message"]
        similar = self._similar.recall(kind, _Similar(now))
        if now - similar.at > _SIMILAR_SECONDS:
            similar.messages.clear()
        similar.at = now
        similar.messages.add(message)
        if len(similar.messages) >= _SIMILAR:
            similar.messages.pop()
            known = self._known.recall((*kind, ""), Correlated(""))
            known.message = _COMBINED + message
        else:
            known = self._known.recall((*kind, message), Correlated(message))
        known.count += 1
        return known

    def _allowed(self, who: tuple[str, ...], now: float) -> bool:
        bucket = self._buckets.recall(who, _Bucket(_BURST, now))
        bucket.tokens = min(_BURST, bucket.tokens + (now - bucket.at) * _REFILL)
        bucket.at = now
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True


def _identity(involved: dict[str, Any]) -> tuple[str, ...]:
    return tuple(
        str(involved.get(name, "")) for name in ("apiVersion", "kind", "namespace", "name", "uid")
    )
