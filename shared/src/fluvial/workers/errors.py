"""What can go wrong with a job that runs in a child process.

WorkerError                .code .message .details   the job itself refused (raised in the child)
├── WorkerDied             the process ended in the middle of the job
│   └── WorkerOutOfMemory  it reached its memory limit
├── WorkerTimeout          the job ran out of time; the process has been killed
├── WorkerStartFailed      the process did not become ready
└── WorkerBusy             too many callers wait already; try again later
"""

from __future__ import annotations

from fluvial.errors import FluvialError
from fluvial.objects import JsonObject

__all__ = [
    "WorkerBusy",
    "WorkerDied",
    "WorkerError",
    "WorkerOutOfMemory",
    "WorkerStartFailed",
    "WorkerTimeout",
]


class WorkerError(FluvialError):
    """A job failed.

    Jobs raise it in the child; ``WorkerPool.call`` raises it again in the parent.

    Attributes:
        code: a word that callers branch on.
        message: for people; the job vouches that it holds no secret.
        details: more facts, JSON.

    """

    def __init__(self, code: str, message: str, *, details: JsonObject | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details: JsonObject = details or {}


class WorkerDied(WorkerError):
    """The process ended without an answer; the call may be repeated."""

    def __init__(self, message: str) -> None:
        super().__init__("WorkerDied", message)


class WorkerOutOfMemory(WorkerDied):
    """The job needed more memory than its process may have."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.code = "WorkerOutOfMemory"


class WorkerTimeout(WorkerError):
    """The job took too long; its process was killed and has ended."""

    def __init__(self, message: str) -> None:
        super().__init__("WorkerTimeout", message)


class WorkerStartFailed(WorkerError):
    """The process could not be started or its target could not be imported."""

    def __init__(self, message: str) -> None:
        super().__init__("WorkerStartFailed", message)


class WorkerBusy(WorkerError):
    """The bounded queue of the pool is full."""

    def __init__(self, message: str) -> None:
        super().__init__("WorkerBusy", message)
