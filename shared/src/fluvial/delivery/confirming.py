"""Whether an object and its source are still what the caches say, before anything is written.

A cluster that was restored from a backup goes back in time. A cache whose watch has not noticed it
yet has objects of a future that no longer exists, and caches of two kinds may be of two times: a
later source over an earlier inventory would delete what the restored cluster has. So a run that
is about to write reads live what it took from a cache, once; a run that finds nothing to do asks
for nothing. Whoever reads an object in an earlier state than its cache starts over with what is
live.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from fluvial.artifact.sources import SourceLookup
from fluvial.delivery.run import DeliveryRun
from fluvial.kube.client import KubeClient
from fluvial.kube.errors import NotFound
from fluvial.kube.resource import Resource
from fluvial.log import Logger
from fluvial.objects import JsonObject

__all__ = ["Confirmation", "Outdated", "start_over"]

T = TypeVar("T")


class Outdated(Exception):
    """What the run took from a cache is not what the API server has: start over, it is no fault."""


@dataclass(frozen=True, slots=True)
class Confirmation:
    """Asks the API server, under the controller's own identity.

    Attributes:
        resource: the kind of the objects.

    """

    client: KubeClient
    resource: Resource
    sources: SourceLookup

    async def confirm(self, run: DeliveryRun[Any, Any]) -> None:
        """Confirm the object and its source, unless the run has read both live.

        Raises:
            Outdated: one of them is another, or the object is gone.
            Failed, Waiting, Stalled: as ``SourceLookup.find``: there is no such source any more.
            ApiError: the object could not be read.

        """
        if run.live:
            return
        await self.own(run)
        source = await self.sources.find(run.source_name, fresh=True)
        if run.source is None or source.artifact != run.source.artifact:
            raise Outdated
        run.live = True

    async def own(self, run: DeliveryRun[Any, Any]) -> None:
        """Confirm the object alone, unless the server took a status of this run for it.

        Raises:
            Outdated, ApiError: as ``confirm``.

        """
        if run.live or run.taken:
            return
        try:
            live = await self.client.get(self.resource, run.key)
        except NotFound:
            raise Outdated from None
        if _identity(live) != _identity(run.obj):
            raise Outdated
        run.taken = True


async def start_over(attempt: Callable[[bool], Awaitable[T]], log: Logger) -> T:
    """Make an attempt and, if a cache proves outdated, another with what is live.

    Args:
        attempt: called with whether to read everything live.
        log: is told that there is a second one.

    Raises:
        Outdated: an object changes as fast as it is read.

    """
    try:
        return await attempt(False)
    except Outdated:
        log.info("a cache is not of the API server's time: starting over with what is live")
        return await attempt(True)


def _identity(obj: JsonObject) -> tuple[str, str]:
    metadata = obj["metadata"]
    return str(metadata.get("uid", "")), str(metadata.get("resourceVersion", ""))
