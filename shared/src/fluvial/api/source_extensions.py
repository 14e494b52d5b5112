"""The kind of ``source.extensions.fluxcd.io/v1beta1``: artifacts made of other artifacts."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta, field

from fluvial.api.meta import (
    CelRule,
    Condition,
    Model,
    MutableModel,
    ObjectMeta,
    doc,
    schema_only,
)

__all__ = [
    "DISABLED",
    "FINALIZER",
    "GENERATOR_LABEL",
    "GROUP",
    "RECONCILE_ANNOTATION",
    "ArtifactGenerator",
    "ArtifactGeneratorSpec",
    "ArtifactGeneratorStatus",
    "ArtifactMetadata",
    "CopyOperation",
    "CopyStrategy",
    "ExternalArtifactReference",
    "GeneratorSource",
    "GeneratorSourceKind",
    "OutputArtifact",
]

GROUP = "source.extensions.fluxcd.io"
FINALIZER = f"{GROUP}/finalizer"
GENERATOR_LABEL = f"{GROUP}/generator"
"""On every ExternalArtifact that was generated; the value is the generator's uid."""
RECONCILE_ANNOTATION = f"{GROUP}/reconcile"
DISABLED = "disabled"
"""Value of the annotation, in any case, that suspends a generator."""

GeneratorSourceKind = Literal[
    "Bucket", "GitRepository", "OCIRepository", "HelmChart", "ExternalArtifact"
]
CopyStrategy = Literal["Overwrite", "Merge", "Extract"]
_ALIAS = r"^@([a-z0-9]([a-z0-9_-]*[a-z0-9])?)$"
_PATH_OF_ALIAS = r"^@([a-z0-9]([a-z0-9_-]*[a-z0-9])?)/(.*)$"
_MANY = 1000


class ArtifactMetadata(Model, kw_only=True, frozen=True):
    """Labels and annotations that every generated ExternalArtifact gets."""

    annotations: Annotated[dict[str, str], doc("Annotations to set.")] = field(default_factory=dict)
    labels: Annotated[dict[str, str], doc("Labels to set.")] = field(default_factory=dict)


class GeneratorSource(Model, kw_only=True, frozen=True):
    """A source whose artifact is copied from."""

    alias: Annotated[
        str,
        Meta(pattern=r"^[a-z0-9]([a-z0-9_-]*[a-z0-9])?$", max_length=63),
        doc("What the source is called in the rest of the spec; no two are called alike."),
    ]
    kind: Annotated[GeneratorSourceKind, doc("Kind of the source.")]
    name: Annotated[
        str,
        Meta(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", max_length=253),
        doc("Name of the source."),
    ]
    namespace: Annotated[
        Annotated[
            str, Meta(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", min_length=1, max_length=63)
        ]
        | None,
        doc("Namespace of the source; that of the generator by default."),
    ] = None


class CopyOperation(Model, kw_only=True, frozen=True):
    """Files of a source that are copied into an artifact."""

    exclude: Annotated[
        tuple[str, ...],
        schema_only(maxItems=100),
        doc(
            "Patterns of files and folders to leave out, matched against the path in the source"
            " and below the part of from that has no wildcard; one without a slash is matched"
            " against names, too."
        ),
    ] = ()
    from_: Annotated[
        str,
        Meta(pattern=_PATH_OF_ALIAS, min_length=1, max_length=1024),
        doc("What to copy: @<alias>/<path or pattern>; may have captures of pathPattern."),
    ] = field(name="from")
    strategy: Annotated[
        CopyStrategy | None,
        doc(
            "What happens to a file that is there already: Overwrite, the default, replaces it,"
            " Merge merges YAML as Helm merges values. Extract unpacks .tar.gz and .tgz files."
        ),
    ] = None
    to: Annotated[
        str,
        Meta(pattern=r"^@(artifact)/(.*)$", min_length=1, max_length=1024),
        doc("Where to: @artifact/<path>; may have captures of pathPattern."),
    ]


class OutputArtifact(Model, kw_only=True, frozen=True):
    """An artifact to generate."""

    copy: Annotated[
        tuple[CopyOperation, ...],
        schema_only(minItems=1),
        doc("What it is made of, in this order; what comes later overwrites what was before."),
    ]
    name: Annotated[
        str,
        Meta(min_length=1, max_length=253),
        doc("Name of the ExternalArtifact; may have captures of pathPattern, such as {app}."),
    ]
    origin_revision: Annotated[
        Annotated[str, Meta(pattern=_ALIAS, max_length=64)] | None,
        doc("Source, as @<alias>, whose revision is noted in the artifact's metadata."),
    ] = None
    revision: Annotated[
        Annotated[str, Meta(pattern=_ALIAS, max_length=64)] | None,
        doc("Source, as @<alias>, whose revision is the artifact's; its digest by default."),
    ] = None


class ArtifactGeneratorSpec(Model, kw_only=True, frozen=True):
    """What artifacts are made of."""

    __cel__ = (
        CelRule(
            "has(self.pathPattern) && size(self.pathPattern) > 0 ||"
            " self.artifacts.all(a, a.name.matches("
            r"'^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$'))",
            "without pathPattern, names of artifacts must be names of Kubernetes objects",
        ),
    )

    artifacts: Annotated[
        tuple[OutputArtifact, ...],
        schema_only(minItems=1, maxItems=_MANY),
        doc("The artifacts to generate; with pathPattern, those of each folder that matches."),
    ]
    common_metadata: Annotated[
        ArtifactMetadata | None, doc("Labels and annotations of all ExternalArtifacts.")
    ] = None
    path_pattern: Annotated[
        Annotated[str, Meta(pattern=_PATH_OF_ALIAS, max_length=1024)] | None,
        doc(
            "Folders to look for, @<alias>/<path>, with captures such as {app} that stand for"
            " one name each and can be used in artifacts."
        ),
    ] = None
    sources: Annotated[
        tuple[GeneratorSource, ...],
        schema_only(minItems=1, maxItems=_MANY),
        doc("What artifacts are made of."),
    ]


class ExternalArtifactReference(Model, kw_only=True, frozen=True):
    """An ExternalArtifact that was generated."""

    digest: Annotated[str, doc("Digest of its artifact.")]
    filename: Annotated[str, doc("Name of its artifact's file.")]
    name: Annotated[str, doc("Its name.")]
    namespace: Annotated[str, doc("Its namespace.")]


class ArtifactGeneratorStatus(MutableModel, kw_only=True):
    """What was generated last, and how that went."""

    conditions: Annotated[list[Condition], doc("State of the object, aspect by aspect.")] = field(
        default_factory=list
    )
    inventory: Annotated[
        list[ExternalArtifactReference], doc("The ExternalArtifacts that were generated.")
    ] = field(default_factory=list)
    last_handled_reconcile_at: Annotated[
        str, doc("Token of the last reconcile request that was acted on.")
    ] = ""
    observed_sources_digest: Annotated[
        str, doc("Digest of what all sources were when the artifacts were generated.")
    ] = ""


class ArtifactGenerator(Model, kw_only=True, frozen=True):
    """Artifacts that are made of other artifacts."""

    API_VERSION: ClassVar[str] = f"{GROUP}/v1beta1"
    KIND: ClassVar[str] = "ArtifactGenerator"

    api_version: str = API_VERSION
    kind: str = KIND
    metadata: ObjectMeta
    spec: ArtifactGeneratorSpec
    status: ArtifactGeneratorStatus = field(default_factory=ArtifactGeneratorStatus)

    @property
    def is_disabled(self) -> bool:
        """Whether reconciliation is suspended by annotation."""
        return self.metadata.annotations.get(RECONCILE_ANNOTATION, "").lower() == DISABLED
