"""The one place that turns the end of a run into conditions, event, log and requeue.

What a success is, and which failures are worth an event, is a kind's own; that every end is told,
once and without a secret, and how a failure reaches the queue, is the same for all.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Generic, Protocol, TypeVar

from fluvial.apply import asked_to_wait
from fluvial.delivery.confirming import Outdated
from fluvial.delivery.run import DeliveryRun
from fluvial.errors import FluvialError
from fluvial.kube.errors import ApiError
from fluvial.log import Logger
from fluvial.runtime import conditions
from fluvial.runtime.events import EventRecorder
from fluvial.runtime.outcome import Failed, Result, Stalled, Waiting

__all__ = ["DeliveryFinish", "Failure"]

Failure = Failed | Waiting | Stalled

_PROGRESSING_WITH_RETRY: Final = "ProgressingWithRetry"

RunT = TypeVar("RunT", bound=DeliveryRun[Any, Any])
RunT_contra = TypeVar("RunT_contra", bound=DeliveryRun[Any, Any], contravariant=True)


class Writer(Protocol[RunT_contra]):
    """Writes the status of runs."""

    async def save(self, run: RunT_contra) -> None: ...


@dataclass(frozen=True)
class DeliveryFinish(ABC, Generic[RunT]):
    """Ends the runs of one kind, which has a subclass.

    Attributes:
        jitter: spreads an interval in seconds.
        default_reason: of what fails without a reason of its own.
        reason_of: the same for errors whose message says by itself what is wrong.
        missing_source: reasons of a source that is not there. That is usual while both are made.

    """

    writer: Writer[RunT]
    events: EventRecorder
    log: Logger
    jitter: Callable[[float], float]

    default_reason: ClassVar[str]
    reason_of: ClassVar[Mapping[type[FluvialError], str]]
    missing_source: ClassVar[frozenset[str]]

    def quiet(self, run: RunT) -> Result:
        """Nothing is new: nothing is written."""
        return Result(self.jitter(run.spec_of.spec.interval_seconds))

    async def suspended(self, run: RunT) -> Result:
        """Only the markers of requests move."""
        self.mark_handled(run)
        await self.writer.save(run)
        return Result()

    @asynccontextmanager
    async def failures(self, run: RunT) -> AsyncIterator[None]:
        """Around the steps of a run: what they raise is told.

        Raises:
            Failed, Waiting, Stalled: what the queue takes, instead of any ``FluvialError``.
            Outdated: as it is, and untold: the run starts over.

        """
        try:
            yield
        except Outdated:
            raise
        except FluvialError as error:
            end = await self.failed(run, error)
            try:
                if end is error:
                    raise
                raise end from error
            finally:
                del end  # which knows this frame, and that the run
        except Exception as error:
            await self.failed(run, self._unforeseen(error))
            raise

    async def failed(self, run: RunT, error: FluvialError) -> FluvialError:
        """Tell what went wrong; returns what the queue takes."""
        end = self._as_failure(run, error)
        message = run.masker.text(str(end))
        self.mark_failed(run, end, message)
        self.mark_handled(run)
        await self.writer.save(run)
        self._announce(run, end, message)
        return end

    def mark_failed(self, run: RunT, end: Failure, message: str) -> None:
        """Put a failure into the conditions."""
        self.mark_unready(run, end, message)
        if isinstance(end, Stalled):
            run.set_condition(conditions.STALLED, "True", end.reason, message)
            run.spec_of.status.observed_generation = run.generation
        else:
            reason = _PROGRESSING_WITH_RETRY
            run.set_condition(conditions.RECONCILING, "True", reason, message)

    def mark_unready(self, run: RunT, end: Failure, message: str) -> None:
        """Say why the object is not ready."""
        run.set_condition(conditions.READY, "False", end.reason, message)

    def mark_handled(self, run: RunT) -> None:
        """Note which request the run has answered."""
        token = run.spec_of.metadata.reconcile_request
        if token:
            run.spec_of.status.last_handled_reconcile_at = token

    def shortest_retry(self, _run: RunT) -> float:
        """Seconds until what failed is tried again at the earliest; 0 leaves it to the backoff."""
        return 0.0

    @abstractmethod
    def has_event(self, end: Failure, *, waits: bool) -> bool:
        """Whether a failure is worth an event; ``waits``: it is none, something is awaited."""

    def _as_failure(self, run: RunT, error: FluvialError) -> Failure:
        """The error as the queue takes it, without any string that came from a Secret.

        A value may have been put into a name, which every message about the object has. A server
        that wants to be left alone is, for an interval at most.
        """
        if isinstance(error, Waiting | Stalled):
            return error
        asked = min(asked_to_wait(error), run.spec_of.spec.interval_seconds)
        retry = max(self.shortest_retry(run), asked)
        message = run.masker.text(str(error))
        if isinstance(error, Failed):
            retry = max(error.retry_after or 0.0, retry)
            return Failed(error.reason, message, retry_after=retry or None)
        for known, reason in self.reason_of.items():
            if isinstance(error, known):
                return Failed(reason, message, retry_after=retry or None)
        what = "the API server refused" if isinstance(error, ApiError) else "reconciliation failed"
        return Failed(self.default_reason, f"{what}: {message}", retry_after=retry or None)

    def _unforeseen(self, error: Exception) -> Failed:
        """What a status says about a fault that no step foresaw; its stack goes to the log."""
        system = isinstance(error, OSError) and error.strerror
        what = system or type(error).__name__
        return Failed(
            self.default_reason,
            f"unexpected fault in the controller ({what}); its log has the details",
        )

    def _announce(self, run: RunT, end: Failure, message: str) -> None:
        misses_source = run.source is None and end.reason in self.missing_source
        waits = isinstance(end, Waiting) or misses_source
        if waits:
            self.log.info("reconciliation waits", reason=end.reason, detail=message)
        else:
            self.log.error("reconciliation failed", reason=end.reason, error=message)
        if self.has_event(end, waits=waits):
            self.events.event(
                run.obj,
                type="Normal" if waits else "Warning",
                reason=end.reason,
                message=message,
                metadata=run.event_metadata(),
            )
