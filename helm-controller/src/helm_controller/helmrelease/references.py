"""What a HelmRelease names: its source, what it depends on, what it reads."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from fluvial.api.helm import HelmRelease
from fluvial.artifact.sources import SourceName, source_id
from fluvial.objects import JsonObject, ObjectKey, key_of
from fluvial.runtime.dependencies import dependencies_of
from fluvial.runtime.remotes import configs_of_cluster
from fluvial.runtime.wiring import BY_CONFIG, BY_DEPENDENCY, BY_SOURCE, config_id

__all__ = ["INDEXES", "chart_key", "has_tried", "kind_of_source", "source_name"]

_HELM_CHART: Final = "HelmChart"


def chart_key(release: HelmRelease) -> ObjectKey | None:
    """The HelmChart that is made for an object; ``None`` where it names an artifact itself."""
    if release.spec.chart is None:
        return None
    own = release.metadata
    source = release.spec.chart.spec.source_ref
    return ObjectKey(source.namespace or own.namespace, f"{own.namespace}-{own.name}")


def source_name(release: HelmRelease) -> SourceName:
    """The object whose artifact is the chart."""
    own = ObjectKey(release.metadata.namespace, release.metadata.name)
    patience = release.spec.interval_seconds
    chart = chart_key(release)
    if chart is not None:
        return SourceName(own, _HELM_CHART, chart, patience)
    ref = release.spec.chart_ref
    assert ref is not None  # noqa: S101  # the schema has one of the two
    return SourceName(own, ref.kind, ObjectKey(ref.namespace or own.namespace, ref.name), patience)


def has_tried(obj: JsonObject, revision: str) -> bool:
    """Whether a HelmRelease has dealt with an artifact's revision."""
    status = obj.get("status") or {}
    if digest := status.get("lastAttemptedRevisionDigest"):
        return bool(revision.rpartition("@")[2] == digest)
    return bool(status.get("lastAttemptedRevision") == revision)


def kind_of_source(obj: JsonObject) -> str:
    """The kind of object whose artifact is the chart, ``""`` where none is named."""
    spec = obj.get("spec") or {}
    if spec.get("chart"):
        return _HELM_CHART
    return str((spec.get("chartRef") or {}).get("kind") or "")


def _sources_of(obj: JsonObject) -> Iterable[str]:
    """Index function: the one source of a HelmRelease."""
    own, spec = key_of(obj), obj.get("spec") or {}
    template = (spec.get("chart") or {}).get("spec")
    if template:
        namespace = (template.get("sourceRef") or {}).get("namespace") or own.namespace
        return (source_id(_HELM_CHART, ObjectKey(namespace, f"{own.namespace}-{own.name}")),)
    ref = spec.get("chartRef") or {}
    key = ObjectKey(ref.get("namespace") or own.namespace, str(ref.get("name", "")))
    return (source_id(str(ref.get("kind", "")), key),)


def _configs_of(obj: JsonObject) -> Iterable[str]:
    """Index function: every ConfigMap and Secret that a HelmRelease names."""
    namespace, spec = key_of(obj).namespace, obj.get("spec") or {}
    for reference in spec.get("valuesFrom") or ():
        key = ObjectKey(namespace, str(reference.get("name", "")))
        yield config_id(str(reference.get("kind", "")), key)
    yield from configs_of_cluster(namespace, spec.get("kubeConfig"))


INDEXES: Final = {BY_SOURCE: _sources_of, BY_DEPENDENCY: dependencies_of, BY_CONFIG: _configs_of}
