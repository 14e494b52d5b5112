"""The kind of ``kustomize.toolkit.fluxcd.io/v1``: what is applied to a cluster, and as whom."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta, field

from fluvial.api.meta import (
    SHORTEST_INTERVAL,
    Condition,
    Duration,
    KubeConfigReference,
    LocalObjectReference,
    Model,
    MutableModel,
    ObjectMeta,
    Time,
    doc,
    schema_only,
    seconds,
    server_default,
)

__all__ = [
    "GROUP",
    "BuildMetadata",
    "CommonMetadata",
    "CrossNamespaceSourceReference",
    "CustomHealthCheck",
    "Decryption",
    "DeletionPolicy",
    "DependencyReference",
    "DriftIgnoreRule",
    "Image",
    "Kustomization",
    "KustomizationSpec",
    "KustomizationStatus",
    "NamespacedObjectKindReference",
    "Patch",
    "PostBuild",
    "ResourceInventory",
    "ResourceRef",
    "Selector",
    "Snapshot",
    "SubstituteReference",
    "SubstituteStrategy",
]

GROUP = "kustomize.toolkit.fluxcd.io"

BuildMetadata = Literal["originAnnotations", "transformerAnnotations"]
DeletionPolicy = Literal["MirrorPrune", "Delete", "WaitForTermination", "Orphan"]
SourceKind = Literal["OCIRepository", "GitRepository", "Bucket", "ExternalArtifact"]
SubstituteStrategy = Literal["WithVariables", "Always"]
Affix = Annotated[str, Meta(min_length=1, max_length=200)]
NamespaceName = Annotated[str, Meta(min_length=1, max_length=63)]

_MIN_TIMEOUT_SECONDS = 30.0


class CommonMetadata(Model, kw_only=True, frozen=True):
    """Labels and annotations that every applied object gets."""

    annotations: Annotated[dict[str, str], doc("Annotations to set on every applied object.")] = (
        field(default_factory=dict)
    )
    labels: Annotated[dict[str, str], doc("Labels to set on every applied object.")] = field(
        default_factory=dict
    )


class Decryption(Model, kw_only=True, frozen=True):
    """How encrypted files of the source are made readable."""

    provider: Annotated[Literal["sops"], doc("The format of encrypted files.")]
    secret_ref: Annotated[LocalObjectReference | None, doc("Secret with the private keys.")] = None
    service_account_name: Annotated[
        str, doc("ServiceAccount whose identity is used with key management services.")
    ] = ""


class DependencyReference(Model, kw_only=True, frozen=True):
    """Another Kustomization that must be ready first."""

    name: Annotated[str, doc("Name of the Kustomization.")]
    namespace: Annotated[str, doc("Its namespace; that of this object by default.")] = ""
    ready_expr: Annotated[
        str, doc("CEL expression that decides whether it is ready, in place of the usual check.")
    ] = ""


class CustomHealthCheck(Model, kw_only=True, frozen=True):
    """CEL expressions that read the health of one kind of object."""

    api_version: Annotated[str, doc("API version of the kind.")]
    current: Annotated[str, doc("Expression that is true once the object is as desired.")]
    failed: Annotated[str, doc("Expression that is true if the object has failed.")] = ""
    in_progress: Annotated[str, doc("Expression that is true while the object is on its way.")] = ""
    kind: Annotated[str, doc("The kind.")] = ""


class NamespacedObjectKindReference(Model, kw_only=True, frozen=True):
    """One object whose health counts."""

    api_version: Annotated[str, doc("Its API version; apps/v1 by default.")] = ""
    kind: Annotated[str, doc("Its kind.")]
    name: Annotated[str, doc("Its name.")]
    namespace: Annotated[str, doc("Its namespace; that of this object by default.")] = ""


class Selector(Model, kw_only=True, frozen=True):
    """Which objects are meant; what is empty matches all, names and kinds are anchored regexes."""

    annotation_selector: Annotated[str, doc("Selector expression on the objects' annotations.")] = (
        ""
    )
    group: Annotated[str, doc("API group.")] = ""
    kind: Annotated[str, doc("Kind.")] = ""
    label_selector: Annotated[str, doc("Selector expression on the objects' labels.")] = ""
    name: Annotated[str, doc("Name.")] = ""
    namespace: Annotated[str, doc("Namespace.")] = ""
    version: Annotated[str, doc("API version without the group.")] = ""


class DriftIgnoreRule(Model, kw_only=True, frozen=True):
    """Fields that are left as they are found in the cluster."""

    paths: Annotated[tuple[str, ...], doc("JSON pointers (RFC 6901) of the fields.")]
    target: Annotated[Selector | None, doc("The objects it is about; all of them by default.")] = (
        None
    )


class Image(Model, kw_only=True, frozen=True):
    """A replacement of a container image's name, tag or digest."""

    digest: Annotated[str, doc("The digest to use in place of any tag.")] = ""
    name: Annotated[str, doc("The image to replace, without a tag.")]
    new_name: Annotated[str, doc("The name to use instead.")] = ""
    new_tag: Annotated[str, doc("The tag to use instead.")] = ""


class Patch(Model, kw_only=True, frozen=True):
    """A strategic merge patch or a JSON patch (RFC 6902), in YAML."""

    patch: Annotated[str, doc("The patch itself.")]
    target: Annotated[Selector | None, doc("The objects that are patched.")] = None


class SubstituteReference(Model, kw_only=True, frozen=True):
    """A ConfigMap or Secret whose data are variables."""

    kind: Annotated[Literal["Secret", "ConfigMap"], doc("The kind of object.")]
    name: Annotated[
        str, Meta(min_length=1, max_length=253), doc("Its name, in the same namespace.")
    ]
    optional: Annotated[bool, doc("If true it need not exist."), server_default(False)] = False


class PostBuild(Model, kw_only=True, frozen=True):
    """What is done with the objects after the build."""

    substitute: Annotated[
        dict[str, str], doc("Variables; they win over those of substituteFrom.")
    ] = field(default_factory=dict)
    substitute_from: Annotated[
        tuple[SubstituteReference, ...],
        doc("Objects that variables are read from; a later one wins over an earlier one."),
    ] = ()
    substitute_strategy: Annotated[
        SubstituteStrategy | None,
        doc("Whether to substitute only where variables are given (the default), or always."),
    ] = None


class CrossNamespaceSourceReference(Model, kw_only=True, frozen=True):
    """The source whose artifact is built."""

    api_version: Annotated[str, doc("API version of the source.")] = ""
    kind: Annotated[SourceKind, doc("Kind of the source.")]
    name: Annotated[str, doc("Name of the source.")]
    namespace: Annotated[str, doc("Its namespace; that of this object by default.")] = ""


class KustomizationSpec(Model, kw_only=True, frozen=True):
    """What is built from which source, and how it is applied, pruned and checked."""

    build_metadata: Annotated[
        tuple[BuildMetadata, ...],
        doc("Which annotations the build adds that tell where an object came from."),
    ] = ()
    common_metadata: Annotated[
        CommonMetadata | None, doc("Labels and annotations for every applied object.")
    ] = None
    components: Annotated[
        tuple[str, ...], doc("Kustomize components to add, by paths relative to path.")
    ] = ()
    decryption: Annotated[Decryption | None, doc("How to decrypt the source's files.")] = None
    deletion_policy: Annotated[
        DeletionPolicy | None,
        doc(
            "What happens to the applied objects when this object is deleted: as prune says"
            " (MirrorPrune, the default), Delete, WaitForTermination, or Orphan."
        ),
    ] = None
    depends_on: Annotated[
        tuple[DependencyReference, ...], doc("Kustomizations that must be ready first.")
    ] = ()
    force: Annotated[
        bool,
        doc("Deletes and creates objects anew where an immutable field changes."),
        server_default(False),
    ] = False
    health_check_exprs: Annotated[
        tuple[CustomHealthCheck, ...], doc("How the health of custom resources is read.")
    ] = ()
    health_checks: Annotated[
        tuple[NamespacedObjectKindReference, ...],
        doc("Objects that must be healthy for this object to be ready."),
    ] = ()
    ignore: Annotated[
        tuple[DriftIgnoreRule, ...], doc("Fields that are not corrected when they differ.")
    ] = ()
    ignore_missing_components: Annotated[
        bool, doc("Leaves out components whose folder does not exist.")
    ] = False
    images: Annotated[tuple[Image, ...], doc("Images to replace in the objects' containers.")] = ()
    interval: Annotated[Duration, doc("How often the cluster's state is compared.")]
    kube_config: Annotated[
        KubeConfigReference | None, doc("The remote cluster to apply to; this one by default.")
    ] = None
    name_prefix: Annotated[Affix | None, doc("Put before every object's name.")] = None
    name_suffix: Annotated[Affix | None, doc("Put after every object's name.")] = None
    patches: Annotated[tuple[Patch, ...], doc("Patches that the build applies last.")] = ()
    path: Annotated[
        str, doc("Folder in the artifact that is built; the artifact's root by default.")
    ] = ""
    post_build: Annotated[PostBuild | None, doc("Substitution of variables after the build.")] = (
        None
    )
    prune: Annotated[bool, doc("Deletes objects that are no longer in the source.")]
    retry_interval: Annotated[
        Duration | None, doc("When to try again after a failure; interval by default.")
    ] = None
    service_account_name: Annotated[
        str, doc("ServiceAccount of this namespace that everything is done as.")
    ] = ""
    source_ref: Annotated[CrossNamespaceSourceReference, doc("The source that is built.")]
    suspend: Annotated[bool, doc("Stops the reconciliation of this object.")] = False
    target_namespace: Annotated[
        NamespaceName | None,
        doc("Namespace that all namespaced objects are put into."),
    ] = None
    timeout: Annotated[
        Duration | None, doc("How long health checks may take; interval by default.")
    ] = None
    wait: Annotated[bool, doc("Waits for every applied object to be healthy.")] = False

    @property
    def interval_seconds(self) -> float:
        """Seconds until the next look after a success."""
        return max(seconds(self.interval, 0.0), SHORTEST_INTERVAL)

    @property
    def retry_seconds(self) -> float:
        """Seconds until the next try after a failure."""
        return max(seconds(self.retry_interval, self.interval_seconds), SHORTEST_INTERVAL)

    @property
    def timeout_seconds(self) -> float:
        """Seconds for health and termination; never below 30 (Flux: Kustomization timeout)."""
        own = seconds(self.timeout, self.interval_seconds - 30.0)
        return max(own, _MIN_TIMEOUT_SECONDS)


class ResourceRef(Model, kw_only=True, frozen=True):
    """One applied object."""

    id: Annotated[str, doc("The object as <namespace>_<name>_<group>_<kind>.")]
    v: Annotated[str, doc("API version that it was applied with, without the group.")]


class ResourceInventory(Model, kw_only=True, frozen=True):
    """All applied objects."""

    entries: Annotated[tuple[ResourceRef, ...], doc("The objects, in the order of applying.")]


class Snapshot(Model, kw_only=True, frozen=True):
    """One result of applying one set of objects."""

    digest: Annotated[str, doc("Checksum of the objects.")]
    first_reconciled: Annotated[Time, doc("When this result first came about.")]
    last_reconciled: Annotated[Time, doc("When it last came about.")]
    last_reconciled_duration: Annotated[str, doc("How long that took.")]
    last_reconciled_status: Annotated[str, doc("The reason that Ready had.")]
    metadata: Annotated[
        dict[str, str], doc("What is known about the objects, such as the revision.")
    ] = field(default_factory=dict)
    total_reconciliations: Annotated[
        int, doc("How often it came about."), schema_only(format="int64")
    ]


class KustomizationStatus(MutableModel, kw_only=True):
    """What was applied last, and how that went."""

    conditions: Annotated[list[Condition], doc("State of the object, aspect by aspect.")] = field(
        default_factory=list
    )
    history: Annotated[list[Snapshot], doc("The last results, the latest first.")] = field(
        default_factory=list
    )
    inventory: Annotated[
        ResourceInventory | None, doc("The objects that were applied and are ours to prune.")
    ] = None
    last_applied_origin_revision: Annotated[
        str, doc("Revision at the origin of the artifact that was last applied.")
    ] = ""
    last_applied_revision: Annotated[str, doc("Revision that was last applied in full.")] = ""
    last_attempted_revision: Annotated[str, doc("Revision that was last tried.")] = ""
    last_handled_reconcile_at: Annotated[
        str, doc("Token of the last reconcile request that was acted on.")
    ] = ""
    observed_generation: Annotated[
        int, doc("The last generation that was reconciled."), schema_only(format="int64")
    ] = 0


class Kustomization(Model, kw_only=True, frozen=True):
    """A set of objects, built from a source and applied to a cluster."""

    API_VERSION: ClassVar[str] = f"{GROUP}/v1"
    KIND: ClassVar[str] = "Kustomization"

    api_version: str = API_VERSION
    kind: str = KIND
    metadata: ObjectMeta
    spec: KustomizationSpec
    status: KustomizationStatus = field(default_factory=KustomizationStatus)
