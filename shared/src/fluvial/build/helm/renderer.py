"""Charts become manifests: what controllers call.

Helm's engine runs in worker processes, never in the controller's own, because the measurements
(docs/performance.md) leave no choice. One line of a template (``until 100000000``) ends the whole
process by Go's ``out of memory``, a nested loop cannot be stopped by anything but a kill, and
50 MB of output take 550 MB. The way to a worker and back costs 0.4 ms, on top of 1.7 ms for a
small chart and 70 ms for one of 115 objects; the price is 80 MiB for each process, and 0.25 s to
start one when the trust domain changes. It does not grow over 1,000 renders. A ``helm`` program
for each render would cost 40 to 50 ms and 50 MB, and cannot be given capabilities, revisions or
the tenant's ``lookup``.

What a chart can do in there: use up the memory, the time and the output that it is given. It has
no files but its own, no environment, no name resolution and no connection but the one by which
``lookup`` asks this process, which answers as the tenant.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any, Final

import orjson

from fluvial.artifact.threads import in_thread
from fluvial.build.errors import BuildError, EngineFailed
from fluvial.build.helm import errors
from fluvial.build.helm.lookup import Lookup, answering
from fluvial.build.helm.masking import masked
from fluvial.build.helm.model import ChartDescription, CustomResource, RenderedRelease, RenderSpec
from fluvial.build.helm.postrender import PostRenderer
from fluvial.log import Logger
from fluvial.objects import JsonObject
from fluvial.workers.errors import (
    WorkerBusy,
    WorkerDied,
    WorkerError,
    WorkerStartFailed,
    WorkerTimeout,
)
from fluvial.workers.pool import WorkerPool

__all__ = ["MAX_CHART", "MEMORY", "HelmRenderer", "engine_pool"]

MAX_CHART: Final = 10 << 20
"""Bytes of a chart's archive (Flux)."""

MEMORY: Final = 640 << 20
"""Bytes of private memory of one worker."""

_TARGET: Final = "fluvial.build.helm.job:run"
_RESERVED: Final = 4 << 30
"""Address space that Go's runtime and the library's file take without using it."""
_JOBS_PER_WORKER: Final = 500
_ERRORS: Final[dict[str, type[BuildError]]] = {
    each.__name__: each
    for each in (
        *(errors.RenderError, errors.ChartInvalid, errors.ValuesRefused),
        *(errors.TemplateFailed, errors.RenderTooLarge),
    )
}


def engine_pool(
    *, log: Logger, size: int = 2, keep_spare: bool = True, memory_bytes: int = MEMORY
) -> WorkerPool:
    """Workers for ``HelmRenderer``; open it before, and close it after.

    Args:
        log: gets process ends at debug level.
        size: renders at the same time.
        keep_spare: keep one fresh process ready.
        memory_bytes: private memory of one process.

    """
    return WorkerPool(
        target=_TARGET,
        size=size,
        memory_bytes=memory_bytes,
        mapping_bytes=_RESERVED,
        max_jobs=_JOBS_PER_WORKER,
        keep_spare=keep_spare,
        env={
            "GOMEMLIMIT": str(memory_bytes * 3 // 5),
            "GOTRACEBACK": "none",
            # A render is one thread's work; more only take address space on large machines.
            "GOMAXPROCS": "2",
            "MALLOC_ARENA_MAX": "2",
        },
        log=log,
    )


class HelmRenderer:
    """Renders charts.

    Args:
        pool: made by ``engine_pool``, open.
        post_renderer: for specs with kustomize's changes.

    """

    def __init__(self, pool: WorkerPool, *, post_renderer: PostRenderer | None = None) -> None:
        self._pool = pool
        self._post_renderer = post_renderer

    async def render(
        self,
        chart: Path | bytes,
        values: JsonObject,
        spec: RenderSpec,
        *,
        timeout: float,
        trust_domain: str,
        lookup: Lookup | None = None,
        secrets: Collection[str] = (),
    ) -> RenderedRelease:
        """Render a chart for a release.

        Args:
            chart: the archive (.tgz), or the file that holds it.
            values: laid over the chart's own.
            spec: everything else.
            timeout: seconds from the start of the render, without waiting for a worker.
            trust_domain: whose values these are; a process serves one, ever.
            lookup: answers templates' ``lookup`` as the tenant. ``None``: it finds nothing, as in
                Helm's client-side dry run; only for plans without a cluster.
            secrets: what must not stand in an error.

        Raises:
            RenderError: the chart or the values must change; by kind, see ``errors``.
            EngineFailed: the engine died or could not start; trying again may help.
            WorkerBusy: too many wait already.
            ApiError: ``lookup`` raised it.

        """
        post = spec.post
        payload: JsonObject = {
            "archive": await _archive(chart),
            "values": _json(values),
            "options": {
                "name": spec.name,
                "namespace": spec.namespace,
                "revision": spec.revision,
                "is_install": not spec.is_upgrade,
                "is_upgrade": spec.is_upgrade,
            },
            "capabilities": {
                "version": spec.capabilities.version,
                "major": spec.capabilities.major,
                "minor": spec.capabilities.minor,
                "api_versions": list(spec.capabilities.api_versions),
            },
            "validate": spec.validate_values,
            "version": spec.chart_version,
            "last": spec.last
            and {"chart": _json(spec.last.chart), "config": _json(spec.last.config)},
            "lookup": lookup is not None,
            "documents": bool(post.kustomize),
            **_changes(spec),
        }
        try:
            result = await self._call("render", payload, timeout, trust_domain, lookup)
            if post.kustomize:
                result["files"] = await self._post_render(
                    result.pop("documents"), spec, timeout, trust_domain
                )
        except (errors.RenderError, EngineFailed) as error:
            raise type(error)(await _masked(error, secrets)) from None
        return _release(result, values)

    async def definitions(
        self,
        chart: Path | bytes,
        values: JsonObject,
        *,
        timeout: float,
        trust_domain: str,
        secrets: Collection[str] = (),
    ) -> tuple[CustomResource, ...]:
        """What a render would give as ``crds``, before anything is rendered.

        Definitions are to be in the cluster when its capabilities are read for the render.
        Arguments and errors are those of ``render``.
        """
        payload: JsonObject = {"archive": await _archive(chart), "values": _json(values)}
        try:
            result = await self._call("definitions", payload, timeout, trust_domain, None)
        except (errors.RenderError, EngineFailed) as error:
            raise type(error)(await _masked(error, secrets)) from None
        return _definitions(result)

    async def describe(
        self, chart: Path | bytes, *, timeout: float, trust_domain: str
    ) -> ChartDescription:
        """What a chart says of itself; it is not loaded into the engine.

        Arguments and errors are those of ``render``.
        """
        payload: JsonObject = {"archive": await _archive(chart)}
        found = await self._call("describe", payload, timeout, trust_domain, None)
        return ChartDescription(
            found["name"], found["version"], found["app_version"], has_crds=found["crds"]
        )

    async def _post_render(
        self, documents: list[Any], spec: RenderSpec, timeout: float, trust_domain: str
    ) -> dict[str, str]:
        if self._post_renderer is None:
            raise EngineFailed("there is no program for kustomize's changes")
        found = await self._post_renderer.run(
            [(path, obj) for path, obj in documents],
            spec.post.kustomize,
            strategy=spec.post.strategy,
            timeout=timeout,
        )
        payload = {"documents": found, **_changes(spec)}
        result = await self._call("finish", payload, timeout, trust_domain, None)
        files: dict[str, str] = result["files"]
        return files

    async def _call(
        self,
        method: str,
        payload: JsonObject,
        timeout: float,
        trust_domain: str,
        lookup: Lookup | None,
    ) -> JsonObject:
        try:
            return await self._pool.call(
                method,
                payload,
                timeout=timeout,
                trust_domain=trust_domain,
                retry_timeout=False,
                answering=None if lookup is None else answering(lookup),
            )
        except WorkerTimeout as error:
            raise errors.RenderTimeout(f"rendering took longer than {timeout:g} seconds") from error
        except WorkerStartFailed as error:
            raise EngineFailed(str(error)) from error
        except WorkerDied as error:
            raise EngineFailed(
                f"Helm's engine died while it rendered, or needed too much memory: {error}"
            ) from error
        except WorkerError as error:
            if isinstance(error, WorkerBusy):
                raise
            known = _ERRORS.get(error.code, EngineFailed)
            raise known(error.message) from error


async def _masked(error: BuildError, secrets: Collection[str]) -> str:
    """What went wrong, without secrets; there may be many."""
    return await in_thread(lambda _: masked(str(error), secrets))


async def _archive(chart: Path | bytes) -> str:
    """The archive as the worker gets it."""

    def read() -> bytes:
        if isinstance(chart, bytes):
            return chart
        try:
            with chart.open("rb") as file:
                return file.read(MAX_CHART + 1)
        except OSError as error:
            raise EngineFailed(f"the chart cannot be read: {error.strerror}") from error

    def encode() -> str:
        data = read()
        if len(data) > MAX_CHART:
            raise errors.ChartInvalid(f"the chart is larger than {MAX_CHART >> 20} MiB")
        return base64.b64encode(data).decode()

    return await in_thread(lambda _: encode())


def _json(values: JsonObject) -> str:
    """Values as the engine takes them; it reads numbers of any size, as Helm does."""
    try:
        return orjson.dumps(values).decode()
    except TypeError:
        try:
            return json.dumps(values, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise errors.ValuesRefused("the values cannot be written as JSON") from error


def _changes(spec: RenderSpec) -> JsonObject:
    return {
        "labels": dict(spec.post.labels),
        "annotations": dict(spec.post.annotations),
        "hooks": spec.post.strategy != "nohooks",
    }


def _definitions(result: JsonObject) -> tuple[CustomResource, ...]:
    return tuple(CustomResource(*each) for each in result["crds"])


def _release(result: JsonObject, values: JsonObject) -> RenderedRelease:
    return RenderedRelease(
        files=result["files"],
        notes=result["notes"],
        crds=_definitions(result),
        chart=result["chart"],
        config=values,
        warnings=tuple(result["warnings"]),
    )
