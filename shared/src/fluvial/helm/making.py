"""A new revision, out of what was rendered and what was there before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import msgspec
import orjson
from msgspec import Raw

from fluvial.build.helm.model import RenderedRelease
from fluvial.helm import gotime
from fluvial.helm.digests import config_digest
from fluvial.helm.manifest import manifest_text, objects_of, sort_file_set, split
from fluvial.helm.release import ApplyMethod, ChartMetadata, Hook, Info, Release, Status
from fluvial.objects import JsonObject

__all__ = ["changes_nothing", "new_release", "rolled_back"]


async def new_release(
    rendered: RenderedRelease,
    *,
    name: str,
    namespace: str,
    version: int,
    now: datetime,
    before: Release | None = None,
    server_side: bool = True,
) -> Release:
    """The revision that an install or upgrade begins with.

    Args:
        rendered: by the engine, with this very revision.
        name: of the release.
        namespace: of the release.
        version: the revision.
        now: when it is deployed.
        before: the revision that is upgraded; ``None`` for an install.
        server_side: whether the server applies its objects (``ApplyOptions.by_server``).

    Raises:
        ManifestError: what was rendered is no stream of objects.

    """
    found = await sort_file_set(rendered.files)
    time = gotime.format_nano(now)
    status = Status.PENDING_INSTALL if before is None else Status.PENDING_UPGRADE
    metadata: Mapping[str, Any] = rendered.chart.get("metadata") or {}
    known = {key: value for key, value in metadata.items() if value is not None}
    return Release(
        name=name,
        namespace=namespace,
        version=version,
        info=Info(
            first_deployed=time if before is None else before.info.first_deployed,
            last_deployed=time,
            status=status.value,
            description="Initial install underway" if before is None else "Preparing upgrade",
            notes=rendered.notes,
        ),
        chart=Raw(orjson.dumps(rendered.chart)),
        metadata=msgspec.convert(known, ChartMetadata),
        config=dict(rendered.config),
        manifest=manifest_text(found.documents),
        hooks=found.hooks,
        apply_method=_method(server_side=server_side),
        labels=dict(before.labels) if before is not None else {},
    )


def _method(*, server_side: bool) -> str:
    return (ApplyMethod.SERVER_SIDE if server_side else ApplyMethod.CLIENT_SIDE).value


def rolled_back(
    target: Release, *, last: Release, now: datetime, server_side: bool = True
) -> Release:
    """The revision that a rollback begins with: what ``target`` had, numbered after ``last``.

    Args:
        target: the revision to go back to.
        last: the newest revision.
        now: when it is deployed.
        server_side: whether the server applies its objects (``ApplyOptions.by_server``).

    """
    info = Info(
        first_deployed=last.info.first_deployed,
        last_deployed=gotime.format_nano(now),
        status=Status.PENDING_ROLLBACK.value,
        description=f"Rollback to {target.version}",
        notes=target.info.notes,
    )
    return msgspec.structs.replace(
        target,
        namespace=last.namespace,
        version=last.version + 1,
        info=info,
        apply_method=_method(server_side=server_side),
    )


async def changes_nothing(
    before: Release, after: Release, *, origin: Mapping[str, str] | None = None
) -> bool:
    """Whether an upgrade from one revision to the other would change nothing but its number.

    Then a release that somebody else has made is taken over as it is.

    Args:
        before: as it is stored.
        after: as it would be stored.
        origin: labels that tell who releases, which make no difference.

    Raises:
        ManifestError: one of the manifests is no stream of objects.

    """
    charts = [(one.metadata.name, one.metadata.version) for one in (before, after)]
    if charts[0] != charts[1] or config_digest(before.config) != config_digest(after.config):
        return False
    if [_traits(hook) for hook in before.hooks] != [_traits(hook) for hook in after.hooks]:
        return False
    pairs = [(before.manifest, after.manifest)]
    pairs += [(old.manifest, new.manifest) for old, new in _pairs(before, after)]
    for old, new in pairs:
        if not await _same_objects(old, new, origin or {}):
            return False
    return True


def _pairs(before: Release, after: Release) -> Iterator[tuple[Hook, Hook]]:
    return zip(before.hooks, after.hooks, strict=True)


def _traits(hook: Hook) -> tuple[Any, ...]:
    """What makes a hook besides its objects; Helm 4 writes down a policy that none has set."""
    policies = hook.delete_policies or ("before-hook-creation",)
    return (hook.name, hook.kind, hook.path, hook.events, hook.weight, policies)


async def _same_objects(old: str, new: str, origin: Mapping[str, str]) -> bool:
    if [one.rstrip() for one in split(old)] == [one.rstrip() for one in split(new)]:
        return True
    pair = [await objects_of(text) for text in (old, new)]
    return [_without(obj, origin) for obj in pair[0]] == [_without(obj, origin) for obj in pair[1]]


def _without(obj: JsonObject, origin: Mapping[str, str]) -> JsonObject:
    """The object without labels that tell who releases it."""
    metadata = {**(obj.get("metadata") or {})}
    labels = {
        key: text
        for key, text in (metadata.pop("labels", None) or {}).items()
        if origin.get(key) != text
    }
    return {**obj, "metadata": {**metadata, "labels": labels}}
