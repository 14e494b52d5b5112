"""What goes into a render and what comes out of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from fluvial.api.helm import Kustomize
from fluvial.kube.capabilities import Capabilities
from fluvial.objects import JsonObject

__all__ = ["CustomResource", "PostRendering", "RenderSpec", "RenderedRelease", "Strategy"]

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

    @property
    def changes_nothing(self) -> bool:
        """Whether files stay as the templates gave them, byte for byte."""
        return not (self.kustomize or self.labels or self.annotations)


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
        post: changes afterwards.

    """

    name: str
    namespace: str
    capabilities: Capabilities
    revision: int = 1
    is_upgrade: bool = False
    validate_values: bool = True
    post: PostRendering = field(default_factory=PostRendering)


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
            kind. It is what Helm sorts into hooks and the manifest (``SortManifests``).
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
