"""The record of one revision of a release, as Helm 3 and Helm 4 keep it.

The chart is kept as the JSON text that it was read as: nothing here looks into templates, and what
is written back is what was there. Times are text, ``""`` where there is none.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec
import orjson
from msgspec import Raw, field

from fluvial.helm import gojson, gotime

__all__ = [
    "ApplyMethod",
    "ChartDependency",
    "ChartMaintainer",
    "ChartMetadata",
    "Hook",
    "HookPhase",
    "HookRun",
    "Info",
    "Release",
    "Status",
    "fields_of_hook",
    "fields_of_info",
    "fields_of_metadata",
    "fields_of_release",
]


class Status(StrEnum):
    """What a revision is; the words are Helm's."""

    UNKNOWN = "unknown"
    DEPLOYED = "deployed"
    UNINSTALLED = "uninstalled"
    SUPERSEDED = "superseded"
    FAILED = "failed"
    UNINSTALLING = "uninstalling"
    PENDING_INSTALL = "pending-install"
    PENDING_UPGRADE = "pending-upgrade"
    PENDING_ROLLBACK = "pending-rollback"

    @property
    def is_pending(self) -> bool:
        """Whether an action is, or was when it was killed, under way."""
        return self.value.startswith("pending-")

    @classmethod
    def of(cls, text: str) -> Status:
        """The status of this name; ``UNKNOWN`` for any other."""
        try:
            return cls(text)
        except ValueError:
            return cls.UNKNOWN


class ApplyMethod(StrEnum):
    """How a revision's objects were written; a record that does not say is client-side."""

    CLIENT_SIDE = "csa"
    SERVER_SIDE = "ssa"


class HookPhase(StrEnum):
    """How the last run of a hook went."""

    UNKNOWN = "Unknown"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


class _Part(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """Base of the parts of a record."""


class HookRun(_Part, kw_only=True, frozen=True):
    """When a hook was last run, and how that went."""

    started_at: str = ""
    completed_at: str = ""
    phase: str = ""


class Hook(_Part, kw_only=True, frozen=True):
    """An object that is made at certain moments of the release's life.

    Attributes:
        path: the template that it came from.
        events: such as ``pre-install``; those of tests are ``test``.
        weight: hooks of an event run in the order of their weights.
        delete_policies: ``before-hook-creation``, ``hook-succeeded``, ``hook-failed``.
        output_log_policies: ``hook-succeeded``, ``hook-failed``.

    """

    name: str = ""
    kind: str = ""
    path: str = ""
    manifest: str = ""
    events: tuple[str, ...] = ()
    last_run: HookRun = field(default_factory=HookRun)
    weight: int = 0
    delete_policies: tuple[str, ...] = ()
    output_log_policies: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Without the manifest, which may have secrets."""
        return f"<Hook {self.kind} {self.name} {','.join(self.events)}>"

    @property
    def is_test(self) -> bool:
        """Whether it is a test."""
        return "test" in self.events


class Info(_Part, kw_only=True, frozen=True):
    """When a revision was deployed, and what it is now."""

    first_deployed: str = ""
    last_deployed: str = ""
    deleted: str = ""
    description: str = ""
    status: str = ""
    notes: str = ""


class ChartMaintainer(_Part, kw_only=True, frozen=True):
    """Who looks after a chart."""

    name: str = ""
    email: str = ""
    url: str = ""


class ChartDependency(_Part, kw_only=True, frozen=True):
    """Another chart that a chart needs."""

    name: str = ""
    version: str = ""
    repository: str = ""
    condition: str = ""
    tags: tuple[str, ...] = ()
    enabled: bool = False
    import_values: tuple[Any, ...] = field(default=(), name="import-values")
    alias: str = ""


class ChartMetadata(_Part, kw_only=True, frozen=True, rename="camel"):
    """What a chart says about itself (``Chart.yaml``)."""

    name: str = ""
    home: str = ""
    sources: tuple[str, ...] = ()
    version: str = ""
    description: str = ""
    keywords: tuple[str, ...] = ()
    maintainers: tuple[ChartMaintainer | None, ...] = ()
    icon: str = ""
    api_version: str = ""
    condition: str = ""
    tags: str = ""
    app_version: str = ""
    deprecated: bool = False
    annotations: dict[str, str] = field(default_factory=dict)
    kube_version: str = ""
    dependencies: tuple[ChartDependency | None, ...] = ()
    type: str = ""


class Release(_Part, kw_only=True, frozen=True):
    """One revision.

    Attributes:
        chart: the chart's JSON: metadata, lock, templates, values, schema, files; empty if none.
        metadata: what is said of the chart in ``chart``.
        config: the values that the user gave, without the chart's own.
        manifest: what the templates gave, without hooks.
        version: the revision, from 1.
        apply_method: ``ssa`` or ``csa``; ``""`` is ``csa``.
        labels: the Secret's labels without Helm's own.

    """

    name: str
    version: int = 0
    namespace: str = ""
    info: Info = field(default_factory=Info)
    chart: Raw = field(default_factory=Raw)
    metadata: ChartMetadata = field(default_factory=ChartMetadata)
    config: dict[str, Any] = field(default_factory=dict)
    manifest: str = ""
    hooks: tuple[Hook, ...] = ()
    apply_method: str = ""
    labels: dict[str, str] = field(default_factory=dict)

    @property
    def status(self) -> Status:
        """What the revision is."""
        return Status.of(self.info.status)

    @property
    def server_side(self) -> bool:
        """Whether its objects were written by server-side apply."""
        return self.apply_method == ApplyMethod.SERVER_SIDE

    def with_status(self, status: Status, description: str) -> Release:
        """The same revision in another state."""
        info = msgspec.structs.replace(self.info, status=status.value, description=description)
        return msgspec.structs.replace(self, info=info)

    def __str__(self) -> str:
        """``namespace/name.v3``, as Flux names releases in messages."""
        return f"{self.namespace}/{self.name}.v{self.version}"

    def __repr__(self) -> str:
        """Without values and manifests, which have secrets."""
        return f"<Release {self} {self.info.status}>"


_Fields = dict[str, Any]


def fields_of_release(release: Release) -> _Fields:
    """A record as it is stored: fields in Go's order, without empty ones."""
    fields: _Fields = {
        "name": release.name,
        "info": fields_of_info(release.info),
        "chart": orjson.Fragment(bytes(release.chart)) if release.chart else None,
        "config": gojson.as_read(release.config),
        "manifest": release.manifest,
        "hooks": [fields_of_hook(hook) for hook in release.hooks],
        "version": release.version,
        "namespace": release.namespace,
        "apply_method": release.apply_method,
    }
    return {key: value for key, value in fields.items() if value or key == "info"}


def fields_of_info(info: Info) -> _Fields:
    """Raises ValueError where a time is none."""
    return _filled(
        {
            "first_deployed": gotime.normal(info.first_deployed),
            "last_deployed": gotime.normal(info.last_deployed),
            "deleted": gotime.normal(info.deleted),
            "description": info.description,
            "status": info.status,
            "notes": info.notes,
        }
    )


def fields_of_hook(hook: Hook) -> _Fields:
    """Raises ValueError where a time is none."""
    run = {
        "started_at": gotime.normal(hook.last_run.started_at),
        "completed_at": gotime.normal(hook.last_run.completed_at),
    }
    before = {
        "name": hook.name,
        "kind": hook.kind,
        "path": hook.path,
        "manifest": hook.manifest,
        "events": hook.events,
    }
    after = {
        "weight": hook.weight,
        "delete_policies": hook.delete_policies,
        "output_log_policies": hook.output_log_policies,
    }
    last_run = _filled(run) | {"phase": hook.last_run.phase}
    return _filled(before) | {"last_run": last_run} | _filled(after)


def fields_of_metadata(metadata: ChartMetadata) -> _Fields:
    """What a chart says about itself, in Go's order."""
    fields: _Fields = msgspec.to_builtins(metadata)
    if metadata.annotations:
        fields["annotations"] = gojson.as_read(metadata.annotations)
    if metadata.dependencies:
        fields["dependencies"] = [_dependency(item) for item in metadata.dependencies]
    return _filled(fields)


def _dependency(item: ChartDependency | None) -> _Fields | None:
    if item is None:
        return None
    fields: _Fields = {
        "name": item.name,
        "version": item.version,
        "repository": item.repository,
        "condition": item.condition,
        "tags": item.tags,
        "enabled": item.enabled,
        "import-values": gojson.as_read(item.import_values),
        "alias": item.alias,
    }
    always = {"name", "repository"}
    return {key: value for key, value in fields.items() if value or key in always}


def _filled(fields: _Fields) -> _Fields:
    return {key: value for key, value in fields.items() if value}
