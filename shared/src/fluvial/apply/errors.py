"""What keeps objects from becoming cluster state.

ApplyError                what a person reads in Ready; caller: Failed(ReconciliationFailed)
├── InvalidEntry          an inventory id that cannot be read or written
├── InvalidDesired        .failures: the set is refused before any request
├── StageRejected         .failures: the check of a stage failed, nothing of it was written
├── StageFailed           .failures: a write failed; what was written is in .applied
├── StageNotReady         definitions or classes did not become usable in time
└── PruneFailed           .failures; caller: Failed(PruneFailed), keeps the entries it names

``applied`` holds the changes that were made before the error, in order, so that the caller can
put the change log into its message and its event. Messages are masked and bounded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from fluvial.errors import FluvialError
from fluvial.objects import ObjectRef

if TYPE_CHECKING:
    from fluvial.apply.model import Change

__all__ = [
    "ApplyError",
    "Failure",
    "FailureReason",
    "InvalidDesired",
    "InvalidEntry",
    "PruneFailed",
    "StageFailed",
    "StageNotReady",
    "StageRejected",
    "summarise_failures",
]

_MAX_FAILURES = 20
_MAX_FAILURE_LENGTH = 1000


class FailureReason(StrEnum):
    """Why one object failed, for callers that decide; people read the message."""

    FORBIDDEN = "Forbidden"
    UNAUTHORIZED = "Unauthorized"
    NAMESPACE_NOT_FOUND = "NamespaceNotFound"
    NAMESPACE_NOT_SPECIFIED = "NamespaceNotSpecified"
    KIND_NOT_FOUND = "KindNotFound"
    IMMUTABLE = "Immutable"
    INVALID = "Invalid"
    CONFLICT = "Conflict"
    WEBHOOK = "Webhook"
    DUPLICATE = "Duplicate"
    OWNER_LABEL = "OwnerLabel"
    ENCRYPTED = "Encrypted"
    UNAVAILABLE = "Unavailable"
    UNREACHABLE = "Unreachable"
    TIMEOUT = "Timeout"
    OTHER = "Other"


@dataclass(frozen=True, slots=True)
class Failure:
    """One object and what is wrong with it; ``message`` is masked and starts with the object.

    ``retry_after``: seconds for which the server wants to be left alone, 0 if it said nothing.
    """

    ref: ObjectRef
    reason: FailureReason
    message: str
    retry_after: float = 0.0


def summarise_failures(failures: Sequence[Failure]) -> str:
    """One line an object, at most 20 objects and 1,000 characters each."""
    lines = [
        failure.message
        if len(failure.message) <= _MAX_FAILURE_LENGTH
        else failure.message[: _MAX_FAILURE_LENGTH - 3] + "..."
        for failure in failures[:_MAX_FAILURES]
    ]
    if len(failures) > _MAX_FAILURES:
        lines.append(f"and {len(failures) - _MAX_FAILURES} more objects")
    return "\n".join(lines)


class ApplyError(FluvialError):
    """Root of the room's errors.

    Attributes:
        failures: one entry for each object that failed, in apply order.
        applied: the changes made before the error, in apply order.

    """

    def __init__(
        self,
        message: str = "",
        *,
        failures: Sequence[Failure] = (),
        applied: Sequence[Change] = (),
    ) -> None:
        super().__init__(message or summarise_failures(failures))
        self.failures = tuple(failures)
        self.applied = tuple(applied)


class InvalidEntry(ApplyError):
    """An inventory id has no reading, or an object has no id that reads back as the object."""


class InvalidDesired(ApplyError):
    """The desired set is refused: owner labels, duplicates, nameless or encrypted objects."""


class StageRejected(ApplyError):
    """The check of a stage failed; nothing of the stage was written."""


class StageFailed(ApplyError):
    """A write failed after its check had passed; ``applied`` says what was written before.

    ``outdated`` says that nothing was refused, but a live object was not the planned one.
    """

    def __init__(
        self,
        message: str = "",
        *,
        failures: Sequence[Failure] = (),
        applied: Sequence[Change] = (),
        outdated: bool = False,
    ) -> None:
        text = "live objects changed after they were compared" if outdated else ""
        super().__init__(
            message or summarise_failures(failures) or text, failures=failures, applied=applied
        )
        self.outdated = outdated


class StageNotReady(ApplyError):
    """CRDs, namespaces or classes that later stages need were not usable in time."""


class PruneFailed(ApplyError):
    """Some stale objects could not be deleted; their entries must stay in the inventory."""
