"""What the ExternalArtifact of a generator looks like, and whether one looks like that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fluvial.api.codec import encode
from fluvial.api.meta import Artifact
from fluvial.api.source_extensions import GENERATOR_LABEL, ArtifactGenerator
from fluvial.kube.kinds import EXTERNAL_ARTIFACT
from fluvial.objects import JsonObject, ObjectKey, annotations_of

__all__ = ["MANAGER", "Desired", "belongs_to", "desired_for", "generator_named_by"]

MANAGER = "source-watcher"
"""Who writes ExternalArtifacts, and what their managed-by label says: as the controller of Flux is
called, so that either finds the fields of the other its own."""

_MANAGED_BY = "app.kubernetes.io/managed-by"
_READY_MESSAGE = "Artifact is ready"


@dataclass(frozen=True, slots=True)
class Desired:
    """One ExternalArtifact as it is to be.

    Attributes:
        key: its namespace and name.
        labels: to have.
        annotations: to have.
        source_ref: the generator.
        artifact: as in its status; ``None`` where that is not known yet.

    """

    key: ObjectKey
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    source_ref: JsonObject
    artifact: JsonObject | None = None

    def body(self, **metadata: Any) -> JsonObject:
        """The object to apply; ``metadata`` is added to its own."""
        named: JsonObject = {
            "name": self.key.name,
            "namespace": self.key.namespace,
            "labels": dict(self.labels),
            **metadata,
        }
        if self.annotations:
            named["annotations"] = dict(self.annotations)
        return {
            "apiVersion": EXTERNAL_ARTIFACT.api_version,
            "kind": EXTERNAL_ARTIFACT.kind,
            "metadata": named,
            "spec": {"sourceRef": self.source_ref},
        }

    def status_body(self, generation: int, now: str, **metadata: Any) -> JsonObject:
        """The status to apply, ready since ``now``."""
        ready = {
            "type": "Ready",
            "status": "True",
            "reason": "Succeeded",
            "message": _READY_MESSAGE,
            "observedGeneration": generation,
            "lastTransitionTime": now,
        }
        return {
            "apiVersion": EXTERNAL_ARTIFACT.api_version,
            "kind": EXTERNAL_ARTIFACT.kind,
            "metadata": {"name": self.key.name, "namespace": self.key.namespace, **metadata},
            "status": {"artifact": self.artifact, "conditions": [ready]},
        }

    def is_spec_of(self, live: JsonObject) -> bool:
        """Whether an object has all that ``body`` says."""
        labels = (live.get("metadata") or {}).get("labels") or {}
        return (
            self.labels.items() <= labels.items()
            and self.annotations.items() <= annotations_of(live).items()
            and (live.get("spec") or {}).get("sourceRef") == self.source_ref
        )

    def is_all_we_wrote(self, live: JsonObject) -> bool:
        """Whether no label or annotation is ours that ``body`` does not say any more."""
        for entry in (live.get("metadata") or {}).get("managedFields") or []:
            if entry.get("manager") != MANAGER or entry.get("operation") != "Apply":
                continue
            if entry.get("subresource"):
                continue
            fields = (entry.get("fieldsV1") or {}).get("f:metadata") or {}
            return _names(fields, "labels") <= self.labels.keys() and (
                _names(fields, "annotations") <= self.annotations.keys()
            )
        return False

    def is_status_of(self, live: JsonObject) -> bool:
        """Whether an object's status has the artifact, and says that it is ready."""
        status = live.get("status") or {}
        generation = (live.get("metadata") or {}).get("generation")
        conditions = status.get("conditions") or []
        return (self.artifact is None or status.get("artifact") == self.artifact) and [
            (item.get("type"), item.get("status"), item.get("observedGeneration"))
            for item in conditions
        ] == [("Ready", "True", generation)]


def desired_for(
    generator: ArtifactGenerator,
    name: str,
    *,
    captured: Mapping[str, str],
    artifact: Artifact | None,
) -> Desired:
    """The ExternalArtifact of one artifact.

    Args:
        generator: that makes it.
        name: of the artifact.
        captured: labels from pathPattern.
        artifact: for the status.

    """
    common = generator.spec.common_metadata
    metadata = generator.metadata
    return Desired(
        key=ObjectKey(metadata.namespace, name),
        labels={
            **(common.labels if common else {}),
            **captured,
            _MANAGED_BY: MANAGER,
            GENERATOR_LABEL: metadata.uid,
        },
        annotations=dict(common.annotations) if common else {},
        source_ref={
            "apiVersion": generator.API_VERSION,
            "kind": generator.KIND,
            "name": metadata.name,
            "namespace": metadata.namespace,
        },
        artifact=encode(artifact) if artifact else None,
    )


def belongs_to(live: JsonObject, generator: ArtifactGenerator) -> bool:
    """Whether an ExternalArtifact was generated by a generator, and is not somebody else's.

    The label says so by uid; the reference does by name, for one that came out of a backup, where
    the generator has another uid than it had.
    """
    labels = (live.get("metadata") or {}).get("labels") or {}
    if labels.get(GENERATOR_LABEL) == generator.metadata.uid:
        return True
    own = ObjectKey(generator.metadata.namespace, generator.metadata.name)
    return generator_named_by(live) == own


def generator_named_by(live: JsonObject) -> ObjectKey | None:
    """The generator that an ExternalArtifact refers to, if it refers to one of its namespace."""
    ref = (live.get("spec") or {}).get("sourceRef") or {}
    namespace = str((live.get("metadata") or {}).get("namespace", ""))
    is_generator = ref.get("kind") == ArtifactGenerator.KIND and str(
        ref.get("apiVersion", "")
    ).startswith(ArtifactGenerator.API_VERSION.partition("/")[0] + "/")
    if not is_generator or ref.get("namespace", namespace) != namespace:
        return None
    return ObjectKey(namespace, str(ref.get("name", "")))


def _names(fields: JsonObject, part: str) -> set[str]:
    found = fields.get(f"f:{part}") or {}
    return {name.removeprefix("f:") for name in found if name.startswith("f:")}
