"""Whether the object and its source are still what the caches say, before anything is written.

A cluster that was restored from a backup goes back in time. A cache whose watch has not noticed it
yet has objects of a future that no longer exists, and caches of two kinds may be of two times: a
later source over an earlier inventory would delete what the restored cluster has. So a run that
is about to write reads live what it took from a cache, once; a run that finds nothing to do asks
for nothing. Whoever reads an object in an earlier state than its cache starts over with what is
live.
"""

from __future__ import annotations

from dataclasses import dataclass

from fluvial.artifact.sources import SourceLookup
from fluvial.kube import kinds
from fluvial.kube.client import KubeClient
from fluvial.kube.errors import NotFound
from fluvial.objects import JsonObject
from kustomize_controller.kustomization.references import source_name
from kustomize_controller.kustomization.run import Run

__all__ = ["Confirmation", "Outdated"]


class Outdated(Exception):
    """What the run took from a cache is not what the API server has: start over, it is no fault."""


@dataclass(frozen=True, slots=True)
class Confirmation:
    """Asks the API server, under the controller's own identity."""

    client: KubeClient
    sources: SourceLookup

    async def everything(self, run: Run) -> None:
        """Confirm the object and its source, unless the run has read both live.

        Raises:
            Outdated: one of them is another, or the object is gone.
            Failed, Waiting, Stalled: as ``SourceLookup.find``: there is no such source any more.
            ApiError: the object could not be read.

        """
        if run.live:
            return
        await self.own(run)
        source = await self.sources.find(source_name(run.spec_of), fresh=True)
        if run.source is None or source.artifact != run.source.artifact:
            raise Outdated
        run.live = True

    async def own(self, run: Run) -> None:
        """Confirm the object alone; the server did when it took a status of this run.

        Raises:
            Outdated, ApiError: as ``everything``.

        """
        if run.live or run.taken:
            return
        try:
            live = await self.client.get(kinds.KUSTOMIZATION, run.key)
        except NotFound:
            raise Outdated from None
        if _identity(live) != _identity(run.obj):
            raise Outdated
        run.taken = True


def _identity(obj: JsonObject) -> tuple[str, str]:
    metadata = obj["metadata"]
    return str(metadata.get("uid", "")), str(metadata.get("resourceVersion", ""))
