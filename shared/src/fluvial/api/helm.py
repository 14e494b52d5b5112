"""The kind of ``helm.toolkit.fluxcd.io/v2``: which chart is released with which values, and how.

``helm_actions`` has the options of each action, ``helm_status`` what is known of the releases.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta, field

from fluvial.api.helm_actions import Install, Rollback, Test, Uninstall, Upgrade
from fluvial.api.helm_status import HelmReleaseStatus
from fluvial.api.kustomize import CommonMetadata, CustomHealthCheck, DriftIgnoreRule, Image, Patch
from fluvial.api.meta import (
    SHORTEST_INTERVAL,
    CelRule,
    Duration,
    KubeConfigReference,
    LocalObjectReference,
    Model,
    ObjectMeta,
    doc,
    seconds,
    server_default,
)

__all__ = [
    "GROUP",
    "ChartReference",
    "ChartSourceReference",
    "ChartTemplate",
    "ChartTemplateMetadata",
    "ChartTemplateSpec",
    "ChartVerification",
    "DriftDetection",
    "HelmRelease",
    "HelmReleaseSpec",
    "Kustomize",
    "PostRenderStrategy",
    "PostRenderer",
    "ReleaseDependency",
    "ValuesReference",
    "WaitStrategy",
    "short_release_name",
]

GROUP = "helm.toolkit.fluxcd.io"

DriftDetectionMode = Literal["enabled", "warn", "disabled"]
PostRenderStrategy = Literal["nohooks", "combined", "separate"]
_NamespaceName = Annotated[str, Meta(min_length=1, max_length=63)]
_ObjectName = Annotated[str, Meta(min_length=1, max_length=253)]

_DEFAULT_TIMEOUT_SECONDS = 300.0
_DEFAULT_MAX_HISTORY = 5
_LONGEST_RELEASE_NAME = 53
_HASH_LENGTH = 12


class ChartSourceReference(Model, kw_only=True, frozen=True):
    """The source that a chart is in."""

    api_version: Annotated[str, doc("API version of the source.")] = ""
    kind: Annotated[
        Literal["HelmRepository", "GitRepository", "Bucket"], doc("Kind of the source.")
    ]
    name: Annotated[_ObjectName, doc("Name of the source.")]
    namespace: Annotated[
        _NamespaceName | None, doc("Its namespace; that of this object by default.")
    ] = None


class ChartReference(Model, kw_only=True, frozen=True):
    """An object whose artifact is the chart."""

    api_version: Annotated[str, doc("API version of the object.")] = ""
    kind: Annotated[
        Literal["OCIRepository", "HelmChart", "ExternalArtifact"], doc("Kind of the object.")
    ]
    name: Annotated[_ObjectName, doc("Name of the object.")]
    namespace: Annotated[
        _NamespaceName | None, doc("Its namespace; that of this object by default.")
    ] = None


class ChartVerification(Model, kw_only=True, frozen=True):
    """Which signature the chart must have."""

    provider: Annotated[
        Literal["cosign", "notation"], doc("What made the signature."), server_default("cosign")
    ] = "cosign"
    secret_ref: Annotated[LocalObjectReference | None, doc("Secret with the public keys.")] = None


class ChartTemplateSpec(Model, kw_only=True, frozen=True):
    """What the HelmChart asks for."""

    chart: Annotated[
        str, Meta(min_length=1, max_length=2048), doc("Name or path of the chart in the source.")
    ]
    ignore_missing_values_files: Annotated[
        bool, doc("Leaves out values files that do not exist.")
    ] = False
    interval: Annotated[
        Duration | None, doc("How often the source is looked at; spec.interval by default.")
    ] = None
    reconcile_strategy: Annotated[
        Literal["ChartVersion", "Revision"],
        doc("Whether a new version of the chart or any new revision of the source counts."),
        server_default("ChartVersion"),
    ] = "ChartVersion"
    source_ref: Annotated[ChartSourceReference, doc("The source that the chart is in.")]
    values_files: Annotated[
        tuple[str, ...],
        doc("Files in the source that take the place of the chart's values.yaml, in order."),
    ] = ()
    verify: Annotated[ChartVerification | None, doc("Which signature the chart must have.")] = None
    version: Annotated[
        str, doc("Version of the chart, or a range of versions."), server_default("*")
    ] = "*"


class ChartTemplateMetadata(Model, kw_only=True, frozen=True):
    """Labels and annotations of the HelmChart."""

    annotations: Annotated[dict[str, str], doc("Annotations.")] = field(default_factory=dict)
    labels: Annotated[dict[str, str], doc("Labels.")] = field(default_factory=dict)


class ChartTemplate(Model, kw_only=True, frozen=True):
    """The HelmChart that is made for this object."""

    metadata: Annotated[ChartTemplateMetadata | None, doc("Its labels and annotations.")] = None
    spec: Annotated[ChartTemplateSpec, doc("Its spec.")]


class DriftDetection(Model, kw_only=True, frozen=True):
    """What is done when objects differ from the release."""

    ignore: Annotated[
        tuple[DriftIgnoreRule, ...], doc("Fields whose differences do not count.")
    ] = ()
    mode: Annotated[
        DriftDetectionMode | None,
        doc("Correct differences (enabled), tell of them (warn), or neither (disabled)."),
    ] = None


class ReleaseDependency(Model, kw_only=True, frozen=True):
    """Another HelmRelease that must be ready first."""

    name: Annotated[str, doc("Name of the HelmRelease.")]
    namespace: Annotated[str, doc("Its namespace; that of this object by default.")] = ""
    ready_expr: Annotated[
        str, doc("CEL expression that decides whether it is ready, in place of the usual check.")
    ] = ""


class Kustomize(Model, kw_only=True, frozen=True):
    """Changes that kustomize makes."""

    images: Annotated[tuple[Image, ...], doc("Images to replace in the objects' containers.")] = ()
    patches: Annotated[tuple[Patch, ...], doc("Patches, in order.")] = ()


class PostRenderer(Model, kw_only=True, frozen=True):
    """One change of what the chart's templates give."""

    kustomize: Annotated[Kustomize | None, doc("Changes that kustomize makes.")] = None


class ValuesReference(Model, kw_only=True, frozen=True):
    """A ConfigMap or Secret with values."""

    kind: Annotated[Literal["Secret", "ConfigMap"], doc("The kind of object.")]
    literal: Annotated[
        bool, doc("Takes the text as it is where targetPath is set, without Helm's syntax.")
    ] = False
    name: Annotated[_ObjectName, doc("Its name, in the same namespace.")]
    optional: Annotated[bool, doc("If true it need not exist.")] = False
    target_path: (
        Annotated[
            str,
            Meta(max_length=250, pattern=r"^([a-zA-Z0-9_\-.\\\/]|\[[0-9]{1,5}\])+$"),
            doc(
                "Path at which the text becomes one value; by default the text is a map of values."
            ),
        ]
        | None
    ) = None
    values_key: (
        Annotated[
            str,
            Meta(max_length=253, pattern=r"^[\-._a-zA-Z0-9]+$"),
            doc("Key of the text; values.yaml by default."),
        ]
        | None
    ) = None

    @property
    def key(self) -> str:
        """The key that is read."""
        return self.values_key or "values.yaml"


class WaitStrategy(Model, kw_only=True, frozen=True):
    """How objects are waited for."""

    name: Annotated[
        Literal["poller", "legacy"], doc("By their status (poller), or as Helm 3 did (legacy).")
    ]


class HelmReleaseSpec(Model, kw_only=True, frozen=True):
    """Which chart is released with which values, where and how."""

    __cel__ = (
        CelRule(
            "has(self.chart) != has(self.chartRef)",
            "either chart or chartRef must be set",
        ),
    )

    chart: Annotated[ChartTemplate | None, doc("The HelmChart to make for this object.")] = None
    chart_ref: Annotated[ChartReference | None, doc("An object whose artifact is the chart.")] = (
        None
    )
    common_metadata: Annotated[
        CommonMetadata | None, doc("Labels and annotations for every object.")
    ] = None
    depends_on: Annotated[
        tuple[ReleaseDependency, ...], doc("HelmReleases that must be ready first.")
    ] = ()
    drift_detection: Annotated[
        DriftDetection | None, doc("What is done when objects differ from the release.")
    ] = None
    health_check_exprs: Annotated[
        tuple[CustomHealthCheck, ...], doc("How the health of custom resources is read.")
    ] = ()
    install: Annotated[Install | None, doc("How the release is installed.")] = None
    interval: Annotated[Duration, doc("How often the release is compared.")]
    kube_config: Annotated[
        KubeConfigReference | None, doc("The remote cluster to release to; this one by default.")
    ] = None
    max_history: Annotated[
        int | None, doc("How many revisions are kept; all where 0, 5 by default.")
    ] = None
    persistent_client: Annotated[
        bool | None, doc("Uses one client for the whole reconciliation; true by default.")
    ] = None
    post_render_strategy: Annotated[
        PostRenderStrategy | None,
        doc(
            "Whether post-renderers get no hooks (nohooks), hooks and templates together"
            " (combined, the default), or one after the other (separate)."
        ),
    ] = None
    post_renderers: Annotated[
        tuple[PostRenderer, ...], doc("Changes of what the templates give, in order.")
    ] = ()
    release_name: Annotated[
        Annotated[str, Meta(min_length=1, max_length=53)] | None,
        doc("Name of the release; [<targetNamespace>-]<name> by default."),
    ] = None
    rollback: Annotated[Rollback | None, doc("How the release is rolled back.")] = None
    service_account_name: Annotated[
        _ObjectName | None, doc("ServiceAccount of this namespace that everything is done as.")
    ] = None
    storage_namespace: Annotated[
        _NamespaceName | None,
        doc("Namespace of the release's records; that of this object by default."),
    ] = None
    suspend: Annotated[bool, doc("Stops the reconciliation of this object.")] = False
    target_namespace: Annotated[
        _NamespaceName | None, doc("Namespace to release to; that of this object by default.")
    ] = None
    test: Annotated[Test | None, doc("Whether and how the chart's tests are run.")] = None
    timeout: Annotated[
        Duration | None, doc("How long one operation of an action may take; 5m by default.")
    ] = None
    uninstall: Annotated[Uninstall | None, doc("How the release is uninstalled.")] = None
    upgrade: Annotated[Upgrade | None, doc("How the release is upgraded.")] = None
    values: Annotated[Any, doc("Values for the chart; they win over valuesFrom.")] = None
    values_from: Annotated[
        tuple[ValuesReference, ...],
        doc("Objects that values are read from; a later one wins over an earlier one."),
    ] = ()
    wait_strategy: Annotated[WaitStrategy | None, doc("How objects are waited for.")] = None

    @property
    def interval_seconds(self) -> float:
        """Seconds until the next look after a success."""
        return max(seconds(self.interval, 0.0), SHORTEST_INTERVAL)

    @property
    def timeout_seconds(self) -> float:
        """Seconds for one operation of an action that sets no timeout of its own."""
        return seconds(self.timeout, _DEFAULT_TIMEOUT_SECONDS)

    @property
    def history_limit(self) -> int:
        """How many revisions Helm's storage keeps; 0 keeps all."""
        return _DEFAULT_MAX_HISTORY if self.max_history is None else self.max_history

    @property
    def detects_drift(self) -> bool:
        """Whether the objects are compared with the release."""
        return self.drift_detection is not None and self.drift_detection.mode in {"enabled", "warn"}

    @property
    def corrects_drift(self) -> bool:
        """Whether differences of the objects are undone."""
        return self.drift_detection is not None and self.drift_detection.mode == "enabled"


class HelmRelease(Model, kw_only=True, frozen=True):
    """A Helm chart, released to a cluster."""

    API_VERSION: ClassVar[str] = f"{GROUP}/v2"
    KIND: ClassVar[str] = "HelmRelease"

    api_version: str = API_VERSION
    kind: str = KIND
    metadata: ObjectMeta
    spec: HelmReleaseSpec
    status: HelmReleaseStatus = field(default_factory=HelmReleaseStatus)

    @property
    def release_name(self) -> str:
        """Name of the release, at most 53 characters long."""
        spec = self.spec
        if spec.release_name:
            return short_release_name(spec.release_name)
        prefix = f"{spec.target_namespace}-" if spec.target_namespace else ""
        return short_release_name(f"{prefix}{self.metadata.name}")

    @property
    def release_namespace(self) -> str:
        """Namespace that the release's objects go to."""
        return self.spec.target_namespace or self.metadata.namespace

    @property
    def storage_namespace(self) -> str:
        """Namespace of the release's records."""
        return self.spec.storage_namespace or self.metadata.namespace


def short_release_name(name: str) -> str:
    """A name as Helm takes it: one over 53 characters is cut and gets a part of its SHA-256."""
    if len(name.encode()) <= _LONGEST_RELEASE_NAME:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:_HASH_LENGTH]
    return f"{name[: _LONGEST_RELEASE_NAME - _HASH_LENGTH - 1]}-{digest}"
