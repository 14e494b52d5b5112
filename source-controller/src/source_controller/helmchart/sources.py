"""From ``spec.sourceRef`` to what charts can be had from."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from fluvial.api.codec import decode
from fluvial.api.meta import Artifact
from fluvial.api.source import HelmRepository
from fluvial.artifact.storage import Storage
from fluvial.errors import FluvialError
from fluvial.kube.client import KubeClient
from fluvial.kube.errors import NotFound
from fluvial.kube.kinds import BUCKET, GIT_REPOSITORY, HELM_REPOSITORY
from fluvial.kube.resource import Resource
from fluvial.objects import ObjectKey
from source_controller.helmchart import reasons
from source_controller.helmchart.http import IndexFile
from source_controller.helmchart.run import ChartRun
from source_controller.helmrepository.static import is_static
from source_controller.source import reasons as common
from source_controller.source.run import StepFailed

__all__ = ["SOURCES", "Source", "Sources"]

SOURCES: dict[str, Resource] = {
    resource.kind: resource for resource in (HELM_REPOSITORY, GIT_REPOSITORY, BUCKET)
}
"""Kinds that have charts."""


class _Status(msgspec.Struct):
    artifact: Artifact | None = None


class _Found(msgspec.Struct):
    status: _Status = msgspec.field(default_factory=_Status)


@dataclass(frozen=True, slots=True)
class Source:
    """A source that charts can be had from.

    Attributes:
        kind: of the object.
        artifact: that is in storage; ``None`` only for a repository in a registry.
        repository: the object, if it is a HelmRepository.

    """

    kind: str
    artifact: Artifact | None
    repository: HelmRepository | None


class Sources:
    """Finds sources.

    Args:
        client: reads them, live, in the object's namespace.
        storage: has their artifacts.

    """

    def __init__(self, client: KubeClient, storage: Storage) -> None:
        self._client = client
        self._storage = storage

    async def find(self, run: ChartRun) -> Source:
        """The source of an object, with its artifact.

        Raises:
            StepFailed: ``SourceUnavailable``, or ``NoSourceArtifact``, waiting.

        """
        reference = run.obj.spec.source_ref
        resource = SOURCES[reference.kind]
        key = ObjectKey(run.key.namespace, reference.name)
        try:
            live = await self._client.get(resource, key)
            repository = decode(live, HelmRepository) if resource == HELM_REPOSITORY else None
            found = decode(live, _Found).status
        except NotFound as error:
            raise _unavailable(f"{reference.kind} '{key}' not found") from error
        except FluvialError as error:
            raise _unavailable(str(error)) from error
        if repository is not None and is_static(live):
            return Source(reference.kind, None, repository)
        artifact = self.stored(resource, key, found.artifact)
        if artifact is None:
            raise StepFailed(
                common.FETCH_FAILED,
                reasons.NO_SOURCE_ARTIFACT,
                f"no artifact available for {reference.kind} source '{reference.name}'",
                kind="waiting",
            )
        run.observe(observedSourceArtifactRevision=artifact.revision)
        return Source(reference.kind, artifact, repository)

    def stored(
        self, resource: Resource, key: ObjectKey, artifact: Artifact | None
    ) -> Artifact | None:
        """An artifact of a status, if it is the object's own and its file is there."""
        if artifact is None or not self._storage.is_of(artifact, resource.kind, key):
            return None
        return artifact if self._storage.local_path(artifact).is_file() else None

    def index_file(self, artifact: Artifact) -> IndexFile:
        """The index that an artifact of a HelmRepository is."""
        return IndexFile(self._storage.local_path(artifact), artifact.digest)


def _unavailable(problem: str) -> StepFailed:
    return StepFailed(
        common.FETCH_FAILED, reasons.SOURCE_UNAVAILABLE, f"failed to get source: {problem}"
    )
