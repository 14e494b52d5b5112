"""One reconcile of one source: the snapshot, what changed since, and how a step fails."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Generic, Literal, Protocol, Self, TypeVar

from fluvial.api.codec import encode
from fluvial.api.meta import Artifact, Condition, ConditionStatus, ObjectMeta
from fluvial.clock import Clock
from fluvial.errors import FluvialError
from fluvial.objects import JsonObject, ObjectKey, key_of
from fluvial.runtime import conditions
from fluvial.runtime.conditions import Conditioned
from fluvial.runtime.patcher import StatusPatcher
from source_controller.source import reasons
from source_controller.source.progress import Progress

__all__ = ["FailureClass", "Run", "SourceObject", "StatusWriter", "StepFailed"]

_RETRY_AGE = 0.1  # less than the first wait of a retry, and enough for those that retry at once

FailureClass = Literal["retry", "stalled", "waiting"]


class StepFailed(FluvialError):
    """A step could not do its part.

    Attributes:
        condition: type that becomes True with the reason and message; ``""`` for none.
        reason: also that of the event.
        kind: ``retry`` under backoff; ``stalled`` until somebody changes something; ``waiting``
            for another object.
        status: what the condition becomes; ``False`` for one that is good news when true, such
            as ``SourceVerified``.

    """

    def __init__(
        self,
        condition: str,
        reason: str,
        message: str,
        *,
        kind: FailureClass = "retry",
        status: ConditionStatus = "True",
    ) -> None:
        super().__init__(message)
        self.condition = condition
        self.reason = reason
        self.kind: FailureClass = kind
        self.status: ConditionStatus = status


class SourceSpec(Protocol):
    """What the spec of every source has."""

    @property
    def suspend(self) -> bool: ...
    @property
    def interval_seconds(self) -> float: ...


class SourceStatus(Protocol):
    """What the status of every source has."""

    @property
    def artifact(self) -> Artifact | None: ...
    @property
    def conditions(self) -> list[Condition]: ...
    @property
    def observed_generation(self) -> int: ...
    @property
    def last_handled_reconcile_at(self) -> str: ...


class SourceObject(Protocol):
    """A model of ``fluvial.api.source``."""

    @property
    def metadata(self) -> ObjectMeta: ...
    @property
    def spec(self) -> SourceSpec: ...
    @property
    def status(self) -> SourceStatus: ...


ObjectT = TypeVar("ObjectT", bound=SourceObject)


@dataclass(slots=True)
class Run(Conditioned, Generic[ObjectT]):
    """The state of one reconcile. A kind whose steps hand on more has a subclass of its own.

    Attributes:
        live: the object as the server has it, after our last write.
        obj: the same, typed; its spec is what this run works on.
        status: what the status is to become; written by ``StatusWriter``.
        conditions: what ``status.conditions`` is to become.
        before: the conditions at the start.
        artifact: the current artifact, or ``None``.
        old_artifact: the artifact at the start.
        quiet: nothing asked for this run but a timer: no new generation, no request. Then only
            what differs from before is reported, so that a retry that fails again writes nothing.
        requested: somebody asked for this run by annotation; no cache may answer it.
        work: folder for this run, while ``source.work.work_folder`` is open.
        reporting: holds words of progress back, while ``StatusWriter.reporting`` is open.
        word: the newest of them.

    """

    live: JsonObject
    obj: ObjectT
    clock: Clock
    status: dict[str, Any]
    conditions: list[Condition]
    before: tuple[Condition, ...]
    artifact: Artifact | None
    old_artifact: Artifact | None
    quiet: bool
    requested: bool
    work: Path | None = None
    reporting: Progress | None = None
    word: JsonObject = field(default_factory=dict)

    @classmethod
    def start(cls, live: JsonObject, obj: ObjectT, clock: Clock) -> Self:
        """A run on an object that was just read."""
        old = obj.status
        asked = obj.metadata.reconcile_request
        requested = bool(asked) and asked != old.last_handled_reconcile_at
        ready = conditions.get_condition(old.conditions, conditions.READY)
        tried = ready.observed_generation if ready and ready.status != "Unknown" else -1
        return cls(
            live=live,
            obj=obj,
            clock=clock,
            status=dict(live.get("status") or {}),
            conditions=list(old.conditions),
            before=tuple(old.conditions),
            artifact=old.artifact,
            old_artifact=old.artifact,
            quiet=tried == obj.metadata.generation and not requested,
            requested=requested,
        )

    @property
    def key(self) -> ObjectKey:
        """Namespace and name."""
        return key_of(self.live)

    @property
    def generation(self) -> int:
        """The generation that this run works on."""
        return self.obj.metadata.generation

    @property
    def asked(self) -> bool:
        """Whether somebody waits for what is there now: by annotation, or by a changed spec."""
        observed = self.obj.status.observed_generation
        return self.requested or bool(observed > 0 and observed != self.generation)

    @property
    def folder(self) -> Path:
        """The folder for this run; only while it is open."""
        assert self.work is not None  # noqa: S101  # the steps open it first
        return self.work

    @property
    def answer_age(self) -> float:
        """How old an answer may be that another object asked for: in seconds.

        None will do for who asked for this run. Nor will one from before a run that failed: it
        may have been asked for, and an old answer would let the retry succeed with old content.
        """
        if self.requested:
            return 0.0
        ready = conditions.get_condition(self.before, conditions.READY)
        if ready is not None and ready.status == "False":
            return _RETRY_AGE
        return self.obj.spec.interval_seconds / 2

    def now(self) -> datetime:
        """Wall time."""
        return self.clock.now()

    def set_true(self, type_: str, reason: str, message: str) -> None:
        """Set a condition to True."""
        self.set_condition(type_, "True", reason, message)

    def progress(self, message: str, *, drift: bool) -> None:
        """Say that work is going on; Ready becomes Unknown on drift or if it says nothing yet."""
        self.set_true(conditions.RECONCILING, reasons.PROGRESSING, message)
        ready = conditions.get_condition(self.conditions, conditions.READY)
        if drift or ready is None or ready.status == "Unknown":
            self.set_condition(conditions.READY, "Unknown", reasons.PROGRESSING, message)

    def set_artifact(self, artifact: Artifact | None) -> None:
        """Change the artifact in the status; without one there is no address either."""
        self.artifact = artifact
        if artifact is None:
            self.status.pop("artifact", None)
            self.status.pop("url", None)
        else:
            self.status["artifact"] = encode(artifact)

    def stored(self, message: str, *, reason: str = reasons.SUCCEEDED) -> None:
        """Say that the artifact of this spec is in storage: the last step's last word."""
        self.clear(reasons.ARTIFACT_OUTDATED, reasons.STORAGE_OPERATION_FAILED)
        self.set_true(reasons.ARTIFACT_IN_STORAGE, reason, message)

    def observe(self, **fields: Any) -> None:
        """Note in the status what the artifact was made with; empty values are left out.

        Args:
            fields: names as on the wire, with JSON values.

        """
        for name, value in fields.items():
            if value in ([], None, False):
                self.status.pop(name, None)
            else:
                self.status[name] = value


class StatusWriter:
    """Writes a run's status; sends nothing where nothing differs.

    Args:
        patcher: of the kind.
        progress_after: seconds that a run takes until its progress is written; 0 for at once.

    """

    def __init__(self, patcher: StatusPatcher, *, progress_after: float = 0.0) -> None:
        self.patcher = patcher
        self._after = progress_after

    async def write(self, run: Run[Any]) -> None:
        """Bring the server's status to the run's.

        Raises:
            NotFound: the object is gone.
            Conflict: somebody wrote meanwhile at every try.

        """
        run.live = await self.patcher.patch(run.live, {**run.live, "status": _status_of(run)})
        run.status = dict(run.live.get("status") or {})

    async def progress(self, run: Run[Any]) -> None:
        """Write what is going on, or see to it that it is written if it goes on.

        Raises:
            NotFound, Conflict: as ``write``, where it is written at once.

        """
        if run.reporting is None:
            await self.write(run)
        else:
            run.word = _status_of(run)
            run.reporting.say()

    @asynccontextmanager
    async def reporting(self, run: Run[Any]) -> AsyncIterator[None]:
        """Around the steps of a run: from here on its progress waits for a moment."""
        if not self._after:
            yield
            return
        run.reporting = Progress(self._after, lambda: self._write_word(run))
        try:
            async with run.reporting:
                yield
        finally:
            run.reporting = None

    async def _write_word(self, run: Run[Any]) -> None:
        """Write the status as it was when progress was told; the steps have gone on since."""
        word = run.word
        live = await self.patcher.patch(run.live, {**run.live, "status": word})
        for name, value in (live.get("status") or {}).items():
            if name not in word:  # somebody else's
                run.status.setdefault(name, value)
        run.live = live


def _status_of(run: Run[Any]) -> dict[str, Any]:
    live = {item["type"]: item for item in (run.live.get("status") or {}).get("conditions") or []}
    found = [_settled(encode(item), live) for item in run.conditions]
    return {**run.status, "conditions": found}


def _settled(item: JsonObject, live: dict[str, JsonObject]) -> JsonObject:
    """A condition that went back to what the server has keeps the server's transition time."""
    old = live.get(item["type"], {})
    if any(item.get(field) != old.get(field) for field in ("status", "reason", "message")):
        return item
    return {**item, "lastTransitionTime": old["lastTransitionTime"]}
