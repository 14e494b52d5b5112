"""How one reconcile ends.

A reconciler returns ``Result`` or raises one of the others; anything else that is raised is a bug
or an unexpected fault and is treated as ``Failed`` under the kind's backoff.

    Result    done; run again after ``requeue_after`` seconds, or only when woken
    Ignored   done for now without an outcome worth a status; treated like ``Result()``
    Waiting   not a failure: something else must happen first; look again ``after`` seconds
    Stalled   will not get better by itself: no timer, every trigger still wakes it
    Failed    try again: after ``retry_after`` seconds if the kind has a fixed retry, else backoff
"""

from __future__ import annotations

from dataclasses import dataclass

from fluvial.errors import FluvialError

__all__ = ["Failed", "Ignored", "Result", "Stalled", "Waiting"]


@dataclass(frozen=True, slots=True)
class Result:
    """Success. ``requeue_after`` is in seconds; ``None`` sets no timer."""

    requeue_after: float | None = None


class Ignored(FluvialError):
    """Nothing to do and nothing to report."""


class Stalled(FluvialError):
    """Needs a change by somebody; ``reason`` becomes the condition's reason."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Waiting(FluvialError):
    """Waits for something else; ``after`` is the longest time without a look, in seconds."""

    def __init__(self, reason: str, message: str, *, after: float) -> None:
        super().__init__(message)
        self.reason = reason
        self.after = after


class Failed(FluvialError):
    """Failed in a way that a retry may mend; ``reason`` becomes the condition's reason."""

    def __init__(self, reason: str, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.retry_after = retry_after
