"""Failures that Alerts have told of and that still last, in bounded memory.

Kept for Alerts that ask for it (``wishes``), and in memory alone: after a restart a failure that
lasts is told once more, and the end of one that was told before is not told. So it is with a
failure that nobody reported for a day, or that had to make room.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass

from fluvial.clock import Clock
from notification_controller.event.model import Event

__all__ = ["Failure", "Failures", "failure_key", "is_recovery"]

_ROOM = 10_000
_FORGET_SECONDS = 86_400.0
_SHOWN = 100
_RECOVERED = frozenset({"NewArtifact", "DriftCorrected"})
# Something succeeded, and the object is no better for it.
_NO_RECOVERY = frozenset({"RollbackSucceeded", "UninstallSucceeded", "GarbageCollectionSucceeded"})


def is_recovery(event: Event) -> bool:
    """Whether an event says that its object is well, as controllers of Flux's API name that."""
    reason = event.reason
    well = reason.endswith("Succeeded") or reason in _RECOVERED
    return event.severity == "info" and well and reason not in _NO_RECOVERY


def failure_key(alert_uid: str, event: Event) -> bytes:
    """What failures are remembered by: Alert, controller and object.

    A digest, because whoever posts chooses the length of names.
    """
    obj = event.involved_object
    parts = (alert_uid, event.reporting_controller, obj.kind, obj.namespace, obj.name)
    return hashlib.sha256("\n".join(parts).encode(errors="surrogatepass")).digest()


@dataclass(slots=True)
class Failure:
    """A failure that was told.

    Attributes:
        reason: the beginning of it.
        began: seconds of the monotonic clock.
        seen: when it was reported last.
        uid: of the object, so that one that was made again is another.

    """

    reason: str
    began: float
    seen: float
    uid: str
    digest: bytes

    def is_of(self, event: Event) -> bool:
        """Whether it is of this object, not of one that had its name."""
        return self.uid == _uid(event)


class Failures:
    """Remembers failures; each namespace of Alerts has its share of the room.

    Args:
        clock: measures how long they last.
        room: failures in all.

    """

    def __init__(self, clock: Clock, *, room: int = _ROOM) -> None:
        self._clock = clock
        self._room = room
        self._known: dict[str, OrderedDict[bytes, Failure]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def is_known(self, namespace: str, key: bytes, event: Event) -> bool:
        """Whether this very failure was told; that it was seen again is remembered.

        Args:
            namespace: of the Alert.
            key: see ``failure_key``.
            event: of a failure.

        """
        known = self._get(namespace, key)
        if known is None or not known.is_of(event) or known.digest != _digest(event.reason):
            return False
        known.seen = self._clock.monotonic()
        self._known[namespace].move_to_end(key)
        return True

    def remember(self, namespace: str, key: bytes, event: Event) -> None:
        """A failure is told. It began when the object's last one did, if that did not end."""
        now, known = self._clock.monotonic(), self._get(namespace, key)
        began = known.began if known is not None and known.is_of(event) else now
        self.forget(namespace, key)
        while self._count >= self._room:
            self._make_room()
        reason = event.reason[:_SHOWN]
        failure = Failure(reason, began, now, _uid(event), _digest(event.reason))
        self._known.setdefault(namespace, OrderedDict())[key] = failure
        self._count += 1

    def cleared(self, namespace: str, key: bytes, event: Event) -> Failure | None:
        """The failure that ends with an event, if one was told; it is forgotten."""
        known = self._get(namespace, key)
        self.forget(namespace, key)
        return known if known is not None and known.is_of(event) else None

    def forget(self, namespace: str, key: bytes) -> None:
        """What was told of a failure did not arrive, or does not count any more."""
        shelf = self._known.get(namespace)
        if shelf is None or shelf.pop(key, None) is None:
            return
        self._count -= 1
        if not shelf:
            del self._known[namespace]

    def _get(self, namespace: str, key: bytes) -> Failure | None:
        oldest = self._clock.monotonic() - _FORGET_SECONDS
        while shelf := self._known.get(namespace):
            first = next(iter(shelf))
            if shelf[first].seen >= oldest:
                return shelf.get(key)
            self.forget(namespace, first)
        return None

    def _make_room(self) -> None:
        """Forget the one of whoever has most that was not seen for longest."""
        namespace = max(self._known, key=lambda name: len(self._known[name]))
        self.forget(namespace, next(iter(self._known[namespace])))


def _uid(event: Event) -> str:
    return event.involved_object.uid[:_SHOWN]


def _digest(reason: str) -> bytes:
    return hashlib.sha256(reason.encode(errors="surrogatepass")).digest()
