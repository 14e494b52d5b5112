"""Status of any object from its own content (kstatus; FKH §3), and of a set."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from fluvial.objects import JsonObject

__all__ = ["Health", "HealthStatus", "aggregate", "compute_status"]


class HealthStatus(StrEnum):
    """The words of kstatus."""

    IN_PROGRESS = "InProgress"
    FAILED = "Failed"
    CURRENT = "Current"
    TERMINATING = "Terminating"
    NOT_FOUND = "NotFound"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class Health:
    """Status and why; ``recheck_after`` (seconds) if time alone may change it."""

    status: HealthStatus
    message: str = ""
    recheck_after: float | None = None


def compute_status(obj: JsonObject, *, now: datetime) -> Health:
    """Status of one object; pure."""
    raise NotImplementedError


def aggregate(statuses: Iterable[HealthStatus]) -> HealthStatus:
    """Any Failed is Failed, any Unknown is Unknown, all Current is Current, else InProgress."""
    raise NotImplementedError
