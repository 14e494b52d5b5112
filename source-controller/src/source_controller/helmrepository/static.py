"""Repositories in registries: HelmCharts read them, and nothing is reconciled.

An object that has just become one may have an artifact, a status and a finalizer from before.
"""

from __future__ import annotations

from fluvial.api.meta import FINALIZER
from fluvial.kube.kinds import HELM_REPOSITORY
from fluvial.objects import JsonObject, key_of
from fluvial.runtime.outcome import Result
from source_controller.source import reasons
from source_controller.source.run import StatusWriter
from source_controller.source.tools import Tools

__all__ = ["StaticRepositories", "is_clean", "is_static"]


def is_static(obj: JsonObject) -> bool:
    """Whether an object is of the type that needs no reconciliation."""
    return (obj.get("spec") or {}).get("type") == "oci"


def is_clean(obj: JsonObject) -> bool:
    """Whether there is neither anything in the status nor our finalizer."""
    finalizers = (obj.get("metadata") or {}).get("finalizers") or []
    status = obj.get("status") or {}
    return FINALIZER not in finalizers and not any(status.values())


class StaticRepositories:
    """Cleans such objects up.

    Args:
        tools: the process's.
        writer: of the kind.

    """

    def __init__(self, tools: Tools, writer: StatusWriter) -> None:
        self._tools = tools
        self._patcher = writer.patcher

    async def divert(self, live: JsonObject) -> Result | None:
        """Remove artifacts, status and finalizer of a static repository.

        Returns:
            ``None`` for a repository that is to be reconciled.

        """
        if not is_static(live):
            return None
        deleting = bool(live["metadata"].get("deletionTimestamp"))
        if is_clean(live) or (live["spec"].get("suspend") and not deleting):
            return Result()
        key = key_of(live)
        had_artifact = bool((live.get("status") or {}).get("artifact"))
        await self._tools.storage.remove_object(HELM_REPOSITORY.kind, key)
        if had_artifact:
            self._tools.events.event(
                live,
                type="Trace",
                reason=reasons.GARBAGE_COLLECTION_SUCCEEDED,
                message="garbage collected artifacts for deleted resource",
            )
        live = await self._patcher.patch(live, {**live, "status": {}})
        await self._patcher.remove_finalizer(live)
        self._tools.forget(HELM_REPOSITORY.kind, key)
        return Result()
