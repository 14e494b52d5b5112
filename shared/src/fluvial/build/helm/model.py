"""What goes into a render and what comes out of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from fluvial.api.helm import HelmReleaseSpec, Kustomize
from fluvial.api.kustomize import CommonMetadata
from fluvial.kube.capabilities import Capabilities
from fluvial.objects import JsonObject, ObjectKey

__all__ = [
    "ChartDescription",
    "CustomResource",
    "LastValues",
    "PostRendering",
    "RenderSpec",
    "RenderedRelease",
    "Strategy",
]

_GROUP: Final = "helm.toolkit.fluxcd.io"

Strategy = Literal["combined", "separate", "nohooks"]
"""Whether hooks are changed together with the other objects, on their own, or not at all."""


@dataclass(frozen=True, slots=True)
class PostRendering:
    """Changes to what templates give, before it becomes a release.

    Attributes:
        kustomize: each renderer's patches and images, in order.
        annotations: set on every object after those.
        labels: likewise.
        strategy: what happens to hooks.

    """

    kustomize: tuple[Kustomize, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    strategy: Strategy = "combined"

    @classmethod
    def of(cls, spec: HelmReleaseSpec, *, owner: ObjectKey) -> PostRendering:
        """The changes that a HelmRelease asks for, and the labels that say whose objects they are.

        Args:
            spec: of the HelmRelease.
            owner: the HelmRelease; its labels win over those of ``commonMetadata``.

        """
        common = spec.common_metadata or CommonMetadata()
        return cls(
            kustomize=tuple(each.kustomize for each in spec.post_renderers if each.kustomize),
            labels={
                **common.labels,
                f"{_GROUP}/name": owner.name,
                f"{_GROUP}/namespace": owner.namespace,
            },
            annotations=common.annotations,
            strategy=spec.post_render_strategy or "combined",
        )


@dataclass(frozen=True, slots=True)
class LastValues:
    """The values of the last release, which take the place of the chart's own.

    Helm calls this reusing values (``upgrade.preserveValues``): what a newer chart sets by default
    does not count.

    Attributes:
        chart: the stored chart's ``values``.
        config: the stored release's ``config``.

    """

    chart: JsonObject = field(repr=False)
    config: JsonObject = field(repr=False)


@dataclass(frozen=True, slots=True)
class RenderSpec:
    """Everything that a render depends on besides the chart, the values and the cluster's objects.

    Attributes:
        name: of the release.
        namespace: of the release; objects without one are not changed.
        revision: number of the release that this becomes.
        is_upgrade: ``.Release.IsUpgrade``; ``.Release.IsInstall`` is its opposite.
        capabilities: ``.Capabilities``, but for Helm's own version.
        validate_values: whether values must fit the charts' schemas.
        chart_version: which the chart is to have; ``""`` leaves its own.
        last: instead of the chart's own values; the values given are to be laid over the last
            release's already.
        post: changes afterwards.

    """

    name: str
    namespace: str
    capabilities: Capabilities
    revision: int = 1
    is_upgrade: bool = False
    validate_values: bool = True
    chart_version: str = ""
    last: LastValues | None = None
    post: PostRendering = field(default_factory=PostRendering)


@dataclass(frozen=True, slots=True)
class ChartDescription:
    """What a chart says of itself.

    Attributes:
        name: of the chart.
        version: of the chart.
        app_version: of what is in it.
        has_crds: whether it or a chart in it may bring definitions of kinds.

    """

    name: str
    version: str
    app_version: str = ""
    has_crds: bool = False


@dataclass(frozen=True, slots=True)
class CustomResource:
    """A file below ``crds/`` of a chart or one of its enabled subcharts.

    Attributes:
        name: in its chart, ``crds/a.yaml``.
        path: with the chart's own path, ``app/charts/db/crds/a.yaml``.
        text: YAML, not rendered.

    """

    name: str
    path: str
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class RenderedRelease:
    """What Helm would make a release of.

    Attributes:
        files: path to text, each of any number of documents, hooks among them; not sorted by
            kind. ``fluvial.helm.manifest.sort_files`` makes hooks and the manifest of it.
        notes: of the chart itself.
        crds: of the chart and its subcharts.
        chart: as the storage of a release has it: metadata, lock, templates, values, schema,
            files. Dependencies are processed; contents are base64.
        config: the values given, as the storage has them.
        warnings: what users should know, for people.

    """

    files: Mapping[str, str] = field(repr=False)
    notes: str = field(repr=False)
    crds: tuple[CustomResource, ...]
    chart: JsonObject = field(repr=False)
    config: JsonObject = field(repr=False)
    warnings: tuple[str, ...] = ()
