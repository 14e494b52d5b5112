"""ExternalArtifact of ``source.toolkit.fluxcd.io/v1``: an artifact that somebody else made.

No controller reconciles it: whoever makes artifacts writes spec and status, and consumers take
them as they take those of a source. Here ArtifactGenerators make them.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import field

from fluvial.api.meta import Artifact, Condition, Model, MutableModel, ObjectMeta, doc

__all__ = [
    "ExternalArtifact",
    "ExternalArtifactSpec",
    "ExternalArtifactStatus",
    "ObjectReference",
]


class ObjectReference(Model, kw_only=True, frozen=True):
    """A reference to an object of any kind."""

    api_version: Annotated[str, doc("API group and version of the object.")] = ""
    kind: Annotated[str, doc("Kind of the object.")]
    name: Annotated[str, doc("Name of the object.")]
    namespace: Annotated[
        str, doc("Its namespace; empty means that of the object that refers to it.")
    ] = ""


class ExternalArtifactSpec(Model, kw_only=True, frozen=True):
    """Where the artifact comes from."""

    source_ref: Annotated[
        ObjectReference | None, doc("The object that the artifact was made for.")
    ] = None


class ExternalArtifactStatus(MutableModel, kw_only=True):
    """The artifact, as its maker says."""

    artifact: Annotated[Artifact | None, doc("The artifact that consumers load.")] = None
    conditions: Annotated[list[Condition], doc("State of the object, aspect by aspect.")] = field(
        default_factory=list
    )


class ExternalArtifact(Model, kw_only=True, frozen=True):
    """An artifact that was made by something else than a source."""

    API_VERSION: ClassVar[str] = "source.toolkit.fluxcd.io/v1"
    KIND: ClassVar[str] = "ExternalArtifact"

    api_version: str = API_VERSION
    kind: str = KIND
    metadata: ObjectMeta
    spec: ExternalArtifactSpec = field(default_factory=ExternalArtifactSpec)
    status: ExternalArtifactStatus = field(default_factory=ExternalArtifactStatus)
