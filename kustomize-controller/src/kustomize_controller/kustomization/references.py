"""What a Kustomization names: its source, what it depends on, what it reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from fluvial.api.kustomize import Kustomization
from fluvial.artifact.sources import Source, SourceName, source_id
from fluvial.objects import JsonObject, ObjectKey, key_of
from fluvial.runtime.dependencies import dependencies_of
from fluvial.runtime.wiring import BY_CONFIG, BY_DEPENDENCY, BY_SOURCE
from kustomize_controller.kustomization.config import configs_of

__all__ = [
    "INDEXES",
    "has_tried",
    "kind_of_source",
    "lags_behind",
    "source_name",
]


def source_name(kustomization: Kustomization) -> SourceName:
    """Which source it is built from."""
    ref = kustomization.spec.source_ref
    own = ObjectKey(kustomization.metadata.namespace, kustomization.metadata.name)
    return SourceName(
        own,
        ref.kind,
        ObjectKey(ref.namespace or own.namespace, ref.name),
        kustomization.spec.retry_seconds,
    )


def lags_behind(source: Source) -> Callable[[JsonObject], str]:
    """Why a dependency of the same source does not do though it is ready (Flux's built-in check)."""
    revision = source.artifact.revision

    def objection(obj: JsonObject) -> str:
        same_source = source_id(source.kind, source.key) in _sources_of(obj)
        if same_source and (obj.get("status") or {}).get("lastAppliedRevision") != revision:
            return f"has not applied revision {revision} yet"
        return ""

    return objection


def kind_of_source(obj: JsonObject) -> str:
    """The kind of object whose artifact is built, ``""`` where none is named."""
    return str(((obj.get("spec") or {}).get("sourceRef") or {}).get("kind") or "")


def has_tried(obj: JsonObject, revision: str) -> bool:
    """Whether a Kustomization has dealt with a revision."""
    return bool((obj.get("status") or {}).get("lastAttemptedRevision") == revision)


def _sources_of(obj: JsonObject) -> Iterable[str]:
    """Index function: the one source of a Kustomization."""
    ref = (obj.get("spec") or {}).get("sourceRef") or {}
    namespace = ref.get("namespace") or key_of(obj).namespace
    return (source_id(str(ref.get("kind", "")), ObjectKey(namespace, str(ref.get("name", "")))),)


INDEXES: Final = {BY_SOURCE: _sources_of, BY_DEPENDENCY: dependencies_of, BY_CONFIG: configs_of}
