"""What happens to one source, in order, whatever its kind.

    read > deletion > finalizer > suspension > refusals > progress > storage > the kind's steps

Whatever happens, the status is written once at the end, plus progress where something new is being
built and takes its time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from fluvial.api.codec import InvalidObject, decode
from fluvial.artifact.errors import StorageUnusable
from fluvial.kube.errors import NotFound
from fluvial.kube.resource import Resource
from fluvial.objects import JsonObject, ObjectKey
from fluvial.runtime.outcome import Failed, Ignored, Result, Stalled
from source_controller.source import reasons
from source_controller.source.finish import Finish, Success
from source_controller.source.reasons import Summary
from source_controller.source.refusing import refuse_unsupported
from source_controller.source.run import Run, StatusWriter, StepFailed
from source_controller.source.storing import StorageStep
from source_controller.source.tools import Tools

__all__ = ["Divert", "SourceReconciler"]

RunT = TypeVar("RunT", bound=Run[Any])

Divert = Callable[[JsonObject], Awaitable[Result | None]]
"""Asked before anything happens to an object; a result ends the reconcile."""


class SourceReconciler(Generic[RunT]):
    """Reconciles the objects of one kind by key.

    Args:
        tools: the process's.
        writer: ``tools.writer(resource, summary)``, which the steps use too.
        resource: the kind.
        model: its typed form.
        run: ``Run``, or the kind's own subclass.
        steps: fetch and store, on a run whose artifact was checked; may raise ``StepFailed``.
        summary: what Ready is made of.
        refused: fields that are not supported yet.
        link: name of the link to the newest artifact, where the kind has ``status.url``.
        divert: see ``Divert``.

    """

    def __init__(
        self,
        tools: Tools,
        writer: StatusWriter,
        *,
        resource: Resource,
        model: type[msgspec.Struct],
        run: type[RunT],
        steps: Callable[[RunT], Awaitable[Success]],
        summary: Summary,
        refused: Sequence[str] = (),
        link: str = "",
        divert: Divert | None = None,
    ) -> None:
        self._tools = tools
        self._writer = writer
        self._resource = resource
        self._model = model
        self._run = run
        self._steps = steps
        self._refused = refused
        self._divert = divert
        self._storing = StorageStep(tools, writer, resource.kind, link=link)
        self._finish = Finish(tools, writer, summary)

    async def reconcile(self, key: ObjectKey) -> Result:
        """One run.

        Raises:
            Stalled, Waiting, Failed, Ignored: see ``runtime.outcome``.
            ApiError: the API server could not be asked or refused; tried again under backoff.

        """
        try:
            return await self._reconcile(key)
        except NotFound as error:
            self._tools.forget(self._resource.kind, key)
            raise Ignored("the object is gone") from error

    async def _reconcile(self, key: ObjectKey) -> Result:
        live = await self._tools.client.get(self._resource, key)
        if self._divert is not None:
            result = await self._divert(live)
            if result is not None:
                return result
        if live["metadata"].get("deletionTimestamp"):
            return await self._delete(live, key)
        live = await self._writer.patcher.add_finalizer(live)
        if live["metadata"].get("deletionTimestamp"):
            return await self._delete(live, key)
        try:
            obj: Any = decode(live, self._model)
        except InvalidObject as error:
            # The CRD refuses such an object today; it was stored before the CRD did.
            raise Stalled(reasons.INVALID_SPEC, str(error)) from error
        run = self._run.start(live, obj, self._tools.clock)
        if obj.spec.suspend:
            return await self._finish.suspended(run)
        try:
            success = await self._all_steps(run)
        except StepFailed as failure:
            return await self._finish.failed(run, failure)
        return await self._finish.succeeded(run, success)

    async def _all_steps(self, run: RunT) -> Success:
        refuse_unsupported(run.live, self._refused)
        async with self._writer.reporting(run):
            await self._begin(run)
            await self._storing.run(run)
            return await self._steps(run)

    async def _begin(self, run: RunT) -> None:
        """Say that work begins; written only if somebody asked for this run."""
        old, new = run.obj.status.observed_generation, run.generation
        message = "reconciliation in progress"
        if old != new:
            message = f"processing object: new generation {old} -> {new}"
        run.progress(message, drift=False)
        if not run.quiet:
            await self._writer.progress(run)

    async def _delete(self, live: JsonObject, key: ObjectKey) -> Result:
        try:
            await self._tools.storage.remove_object(self._resource.kind, key)
        except (OSError, StorageUnusable) as error:
            text = getattr(error, "strerror", None) or str(error)
            message = f"garbage collection for deleted resource failed: {text}"
            self._tools.events.event(
                live, type="Warning", reason=reasons.GARBAGE_COLLECTION_FAILED, message=message
            )
            raise Failed(reasons.GARBAGE_COLLECTION_FAILED, message) from error
        self._tools.events.event(
            live,
            type="Trace",
            reason=reasons.GARBAGE_COLLECTION_SUCCEEDED,
            message="garbage collected artifacts for deleted resource",
        )
        await self._writer.patcher.remove_finalizer(live)
        self._tools.forget(self._resource.kind, key)
        return Result()
