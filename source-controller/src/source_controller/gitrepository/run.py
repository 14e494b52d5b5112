"""One reconcile of one GitRepository: the snapshot, what changed since, and how a step fails."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from fluvial.api.codec import encode
from fluvial.api.meta import Artifact, Condition
from fluvial.api.source import GitRepository
from fluvial.clock import Clock
from fluvial.errors import FluvialError
from fluvial.objects import JsonObject, ObjectKey, key_of
from fluvial.runtime import conditions
from fluvial.runtime.patcher import StatusPatcher
from source_controller.git.model import Checkout
from source_controller.gitrepository import reasons

__all__ = ["Run", "StatusWriter", "StepFailed"]

FailureClass = Literal["retry", "stalled", "waiting"]


class StepFailed(FluvialError):
    """A step could not do its part.

    Attributes:
        condition: type that becomes True with the reason and message; ``""`` for none.
        reason: also that of the event.
        kind: ``retry`` under backoff; ``stalled`` until somebody changes something; ``waiting``
            for another object.

    """

    def __init__(
        self, condition: str, reason: str, message: str, *, kind: FailureClass = "retry"
    ) -> None:
        super().__init__(message)
        self.condition = condition
        self.reason = reason
        self.kind: FailureClass = kind


@dataclass(slots=True)
class Run:
    """The state of one reconcile.

    Attributes:
        live: the object as the server has it, after our last write.
        repository: the same, typed; its spec is what this run works on.
        status: what the status is to become; written by ``StatusWriter``.
        conditions: what ``status.conditions`` is to become.
        before: the conditions at the start.
        artifact: the current artifact, or ``None``.
        old_artifact: the artifact at the start.
        work: folder for this run.
        included: artifacts of the includes, in their order.
        checkout: what was fetched.
        quiet: nothing asked for this run but a timer: no new generation, no request. Then only
            what differs from before is reported, so that a retry that fails again writes nothing.

    """

    live: JsonObject
    repository: GitRepository
    clock: Clock
    status: dict[str, Any]
    conditions: list[Condition]
    before: tuple[Condition, ...]
    artifact: Artifact | None
    old_artifact: Artifact | None
    quiet: bool
    work: Path | None = None
    included: list[Artifact] = field(default_factory=list)
    checkout: Checkout | None = None

    @classmethod
    def start(cls, live: JsonObject, repository: GitRepository, clock: Clock) -> Run:
        """A run on an object that was just read."""
        old = repository.status
        requested = repository.metadata.reconcile_request
        ready = conditions.get_condition(old.conditions, conditions.READY)
        tried = ready.observed_generation if ready and ready.status != "Unknown" else -1
        quiet = tried == repository.metadata.generation and (
            not requested or requested == old.last_handled_reconcile_at
        )
        return cls(
            live=live,
            repository=repository,
            clock=clock,
            status=dict(live.get("status") or {}),
            conditions=list(old.conditions),
            before=tuple(old.conditions),
            artifact=old.artifact,
            old_artifact=old.artifact,
            quiet=quiet,
        )

    @property
    def key(self) -> ObjectKey:
        """Namespace and name."""
        return key_of(self.live)

    @property
    def generation(self) -> int:
        """The generation that this run works on."""
        return self.repository.metadata.generation

    def set_true(self, type_: str, reason: str, message: str) -> None:
        """Set a condition to True."""
        self.conditions = conditions.set_condition(
            self.conditions,
            type_,
            "True",
            reason,
            message,
            generation=self.generation,
            now=self.clock.now(),
        )

    def clear(self, *types: str) -> None:
        """Remove conditions."""
        for type_ in types:
            self.conditions = conditions.delete_condition(self.conditions, type_)

    def progress(self, message: str, *, drift: bool) -> None:
        """Say that work is going on; Ready becomes Unknown on drift or if it says nothing yet."""
        now = self.clock.now()
        self.conditions = conditions.mark_reconciling(
            self.conditions, reasons.PROGRESSING, message, generation=self.generation, now=now
        )
        ready = conditions.get_condition(self.conditions, conditions.READY)
        if drift or ready is None or ready.status == "Unknown":
            self.conditions = conditions.mark_ready(
                self.conditions,
                "Unknown",
                reasons.PROGRESSING,
                message,
                generation=self.generation,
                now=now,
            )

    def set_artifact(self, artifact: Artifact | None) -> None:
        """Change the artifact in the status."""
        self.artifact = artifact
        if artifact is None:
            self.status.pop("artifact", None)
        else:
            self.status["artifact"] = encode(artifact)

    def observe(self) -> None:
        """Note the parts of the spec that the artifact was made with."""
        spec = self.repository.spec
        observed: dict[str, Any] = {
            "includedArtifacts": [encode(artifact) for artifact in self.included],
            "observedIgnore": spec.ignore,
            "observedInclude": [encode(include) for include in spec.include],
            "observedRecurseSubmodules": spec.recurse_submodules,
            "observedSparseCheckout": list(spec.sparse_checkout),
        }
        for name, value in observed.items():
            if value in ([], None, False):
                self.status.pop(name, None)
            else:
                self.status[name] = value

    def content_config_changed(self) -> bool:
        """Whether the artifact was made with other ignore rules, includes and so on than these."""
        spec = self.repository.spec
        status = self.repository.status
        wanted = [(artifact.revision, artifact.digest) for artifact in self.included]
        had = [(artifact.revision, artifact.digest) for artifact in status.included_artifacts]
        return (
            spec.ignore != status.observed_ignore
            or spec.recurse_submodules != status.observed_recurse_submodules
            or list(spec.sparse_checkout) != status.observed_sparse_checkout
            or list(spec.include) != status.observed_include
            or wanted != had
        )


class StatusWriter:
    """Writes a run's status; sends nothing where nothing differs.

    Args:
        patcher: for GitRepository.

    """

    def __init__(self, patcher: StatusPatcher) -> None:
        self._patcher = patcher

    async def write(self, run: Run) -> None:
        """Bring the server's status to the run's.

        Raises:
            NotFound: the object is gone.
            Conflict: somebody wrote meanwhile at every try.

        """
        live = {
            item["type"]: item for item in (run.live.get("status") or {}).get("conditions") or []
        }
        run.status["conditions"] = [_settled(encode(item), live) for item in run.conditions]
        after = {**run.live, "status": run.status}
        run.live = await self._patcher.patch(run.live, after)
        run.status = dict(run.live.get("status") or {})


def _settled(item: JsonObject, live: dict[str, JsonObject]) -> JsonObject:
    """A condition that went back to what the server has keeps the server's transition time."""
    old = live.get(item["type"], {})
    if any(item.get(field) != old.get(field) for field in ("status", "reason", "message")):
        return item
    return {**item, "lastTransitionTime": old["lastTransitionTime"]}
