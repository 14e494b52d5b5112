"""HelmChart of ``source.toolkit.fluxcd.io/v1``: one version of one chart, packaged."""

from __future__ import annotations

import posixpath
from typing import Annotated, ClassVar, Literal

from msgspec import field

from fluvial.api.meta import (
    SHORTEST_INTERVAL,
    Artifact,
    CelRule,
    Condition,
    Duration,
    LocalObjectReference,
    Model,
    MutableModel,
    ObjectMeta,
    doc,
    schema_only,
    seconds,
    server_default,
)
from fluvial.api.source_oci import OIDCIdentityMatch

__all__ = [
    "HelmChart",
    "HelmChartSourceReference",
    "HelmChartSpec",
    "HelmChartStatus",
    "HelmChartVerification",
]

ChartSourceKind = Literal["HelmRepository", "GitRepository", "Bucket"]
ReconcileStrategy = Literal["ChartVersion", "Revision"]
VerifyProvider = Literal["cosign", "notation"]
_ANY_VERSION = "*"
_DEFAULT_VALUES = "values.yaml"


class HelmChartSourceReference(Model, kw_only=True, frozen=True):
    """The object that has the chart, in the same namespace."""

    api_version: Annotated[str, doc("API version of the source; may be left out.")] = ""
    kind: Annotated[ChartSourceKind, doc("Kind of the source.")]
    name: Annotated[str, doc("Name of the source.")]


class HelmChartVerification(Model, kw_only=True, frozen=True):
    """Which signatures must be there."""

    match_oidc_identity: Annotated[
        tuple[OIDCIdentityMatch, ...],
        doc("Who may have signed, where signatures are made without a key; one must match."),
    ] = field(default=(), name="matchOIDCIdentity")
    provider: Annotated[
        VerifyProvider, doc("What made the signatures."), server_default("cosign")
    ] = "cosign"
    secret_ref: Annotated[
        LocalObjectReference | None,
        doc(
            "Secret with what is trusted: *.pub public keys for cosign; trustpolicy.json and"
            " *.crt or *.pem certificates for notation."
        ),
    ] = None


class HelmChartSpec(Model, kw_only=True, frozen=True):
    """Which chart of which source, and how and how often it is packaged."""

    __cel__ = (
        CelRule(
            "!has(self.verify) || self.sourceRef.kind == 'HelmRepository'",
            "spec.verify is only supported when spec.sourceRef.kind is 'HelmRepository'",
        ),
    )

    chart: Annotated[
        str, doc("Name of the chart in a HelmRepository, or path to it in another source.")
    ]
    ignore_missing_values_files: Annotated[
        bool, doc("Passes over values files that are not there.")
    ] = False
    interval: Annotated[Duration, doc("How often the source is checked for another version.")]
    reconcile_strategy: Annotated[
        ReconcileStrategy,
        doc(
            "What makes a new artifact of a chart in a GitRepository or Bucket: another version"
            " of the chart, or another revision of the source."
        ),
        server_default("ChartVersion"),
    ] = "ChartVersion"
    source_ref: Annotated[
        HelmChartSourceReference, doc("The object of the namespace that has the chart.")
    ]
    suspend: Annotated[bool, doc("Stops the reconciliation of this object.")] = False
    values_files: Annotated[
        tuple[str, ...],
        doc(
            "Files whose merged values replace the chart's own; the later wins. Relative to the"
            " chart in a HelmRepository, to the root of another source."
        ),
    ] = ()
    verify: Annotated[
        HelmChartVerification | None, doc("Signatures to check before content is trusted.")
    ] = None
    version: Annotated[
        str,
        doc("Version or range of versions; ignored for a GitRepository or Bucket."),
        server_default(_ANY_VERSION),
    ] = _ANY_VERSION

    @property
    def interval_seconds(self) -> float:
        """Seconds between checks."""
        return max(seconds(self.interval, 0.0), SHORTEST_INTERVAL)

    @property
    def merged_files(self) -> tuple[str, ...]:
        """The values files; none if they are only what the chart has anyway."""
        if len(self.values_files) == 1:
            name = posixpath.normpath(self.values_files[0])
            return () if name == _DEFAULT_VALUES else self.values_files
        return self.values_files


class HelmChartStatus(MutableModel, kw_only=True):
    """Which chart was packaged last, and how that went."""

    artifact: Annotated[Artifact | None, doc("The last chart that was stored.")] = None
    conditions: Annotated[list[Condition], doc("State of the object, aspect by aspect.")] = field(
        default_factory=list
    )
    last_handled_reconcile_at: Annotated[
        str, doc("Token of the last reconcile request that was acted on.")
    ] = ""
    observed_chart_name: Annotated[str, doc("Name of the chart that was stored last.")] = ""
    observed_generation: Annotated[
        int, doc("The last generation that was reconciled."), schema_only(format="int64")
    ] = 0
    observed_source_artifact_revision: Annotated[
        str, doc("Revision of the source's artifact that was looked at last.")
    ] = ""
    observed_values_files: Annotated[
        list[str],
        doc("The values files that went into the artifact, where missing ones are passed over."),
    ] = field(default_factory=list)
    url: Annotated[str, doc("Address of the newest chart, whichever it is.")] = ""


class HelmChart(Model, kw_only=True, frozen=True):
    """A Helm chart whose package becomes an artifact."""

    API_VERSION: ClassVar[str] = "source.toolkit.fluxcd.io/v1"
    KIND: ClassVar[str] = "HelmChart"

    api_version: str = API_VERSION
    kind: str = KIND
    metadata: ObjectMeta
    spec: HelmChartSpec
    status: HelmChartStatus = field(default_factory=HelmChartStatus)
