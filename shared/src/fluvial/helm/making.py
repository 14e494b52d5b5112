"""A new revision, out of what was rendered and what was there before."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
import orjson
from msgspec import Raw

from fluvial.api.helm_actions import ServerSideApplyMode
from fluvial.build.helm.model import RenderedRelease
from fluvial.helm import gotime
from fluvial.helm.digests import config_digest
from fluvial.helm.errors import ActionRefused
from fluvial.helm.manifest import manifest_text, sort_file_set, split
from fluvial.helm.release import ApplyMethod, ChartMetadata, Hook, Info, Release, Status

__all__ = ["changes_nothing", "new_release", "require_server_side", "rolled_back"]


async def new_release(
    rendered: RenderedRelease,
    *,
    name: str,
    namespace: str,
    version: int,
    now: datetime,
    before: Release | None = None,
) -> Release:
    """The revision that an install or upgrade begins with.

    Args:
        rendered: by the engine, with this very revision.
        name: of the release.
        namespace: of the release.
        version: the revision.
        now: when it is deployed.
        before: the revision that is upgraded; ``None`` for an install.

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
        apply_method=ApplyMethod.SERVER_SIDE.value,
        labels=dict(before.labels) if before is not None else {},
    )


def rolled_back(target: Release, *, last: Release, now: datetime) -> Release:
    """The revision that a rollback begins with: what ``target`` had, numbered after ``last``."""
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
        apply_method=ApplyMethod.SERVER_SIDE.value,
    )


def require_server_side(mode: ServerSideApplyMode | None, previous: Release) -> None:
    """Refuse what would have to be applied by the client.

    Args:
        mode: ``upgrade.serverSideApply`` or ``rollback.serverSideApply``.
        previous: whose way of being applied counts where the mode is ``auto``.

    Raises:
        ActionRefused: it would.

    """
    if mode == "enabled" or (mode in {None, "auto"} and previous.server_side):
        return
    raise ActionRefused(
        f"release {previous} would have to be applied by the client, which is not supported:"
        " set serverSideApply to enabled, then the server takes over what was applied so"
    )


def changes_nothing(before: Release, after: Release) -> bool:
    """Whether an upgrade from one revision to the other would change nothing but its number.

    Then a release that somebody else has made is taken over as it is.
    """
    return (
        (before.metadata.name, before.metadata.version)
        == (after.metadata.name, after.metadata.version)
        and config_digest(before.config) == config_digest(after.config)
        and _documents(before.manifest) == _documents(after.manifest)
        and _without_runs(before.hooks) == _without_runs(after.hooks)
    )


def _documents(manifest: str) -> list[str]:
    """Its documents without white space at their ends, which versions of Helm keep or cut off."""
    return [one.rstrip() for one in split(manifest)]


def _without_runs(hooks: tuple[Hook, ...]) -> list[tuple[Any, ...]]:
    return [
        (
            hook.name,
            hook.kind,
            hook.path,
            hook.manifest.rstrip(),
            hook.events,
            hook.weight,
            hook.delete_policies,
            hook.output_log_policies,
        )
        for hook in hooks
    ]
