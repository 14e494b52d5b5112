"""What a generator's sources are now, and whom a change of one concerns.

Sources are read from informers, which also wake the generators that name them. An informer for a
kind starts when the first generator names that kind, so that a cluster without, say, Buckets is
not asked for them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from fluvial.api.codec import InvalidObject, decode
from fluvial.api.meta import Artifact
from fluvial.api.source_extensions import ArtifactGenerator, GeneratorSource
from fluvial.artifact.addresses import is_of_another_namespace, is_own_address
from fluvial.kube import kinds
from fluvial.kube.client import KubeClient
from fluvial.kube.errors import ApiError, NotFound
from fluvial.kube.informer import Informer, InformerFactory
from fluvial.kube.resource import Resource
from fluvial.objects import JsonObject, ObjectKey, key_of
from fluvial.runtime.triggers import artifact_revision_changed
from source_controller.artifactgenerator import reasons
from source_controller.source.run import StepFailed

__all__ = [
    "ObservedSource",
    "SourceLookup",
    "digest_of",
    "source_id",
    "sources_of",
]

_KINDS: dict[str, Resource] = {
    resource.kind: resource
    for resource in (
        kinds.BUCKET,
        kinds.EXTERNAL_ARTIFACT,
        kinds.GIT_REPOSITORY,
        kinds.HELM_CHART,
        kinds.OCI_REPOSITORY,
    )
}
_ORIGIN_REVISION = "org.opencontainers.image.revision"

OnChange = Callable[[str, bool], None]
"""Told the ``source_id`` of each source whose artifact changed, and whether it is first seen."""


@dataclass(frozen=True, slots=True)
class ObservedSource:
    """A source that has an artifact."""

    kind: str
    key: ObjectKey
    artifact: Artifact

    @property
    def origin_revision(self) -> str:
        """The revision at the artifact's origin, as the source says, or ``""``."""
        return self.artifact.metadata.get(_ORIGIN_REVISION, "")


def digest_of(sources: Mapping[str, ObservedSource]) -> str:
    """One digest of what all sources are, by alias; that of Flux where no origin is known."""
    parts = []
    for alias, source in sources.items():
        artifact = source.artifact
        text = f"digest={artifact.digest},revision={artifact.revision},url={artifact.url}"
        if source.origin_revision:
            text += f",origin={source.origin_revision}"
        parts.append(f"{alias}=[{text}]")
    return f"sha256:{hashlib.sha256('|'.join(sorted(parts)).encode()).hexdigest()}"


class SourceLookup:
    """Finds sources and tells who is concerned when one changes.

    Args:
        client: under the controller's own identity.
        informers: where informers come from.
        namespace: the only one that is watched; ``""`` for all.
        cross_namespace: artifacts of other namespaces may be used.

    """

    def __init__(
        self,
        client: KubeClient,
        informers: InformerFactory,
        *,
        namespace: str,
        cross_namespace: bool = True,
    ) -> None:
        self._client = client
        self._informers = informers
        self._namespace = namespace
        self.cross_namespace = cross_namespace
        self._on_change: OnChange | None = None
        self._watched: dict[str, Informer] = {}

    def connect(self, on_change: OnChange) -> None:
        """Tell of changes from now on."""
        self._on_change = on_change

    def watch_kinds_of(self, _old: JsonObject | None, new: JsonObject | None) -> None:
        """Watch the kinds of sources that a generator names (an informer's subscriber)."""
        for source in ((new or {}).get("spec") or {}).get("sources") or []:
            resource = _KINDS.get(str(source.get("kind")))
            if resource is not None:
                self._watch(resource)

    async def observe(
        self, generator: ArtifactGenerator, *, fresh: bool
    ) -> dict[str, ObservedSource]:
        """All sources with their artifacts, by alias.

        Args:
            generator: whose sources.
            fresh: ask the API server, not the cache.

        Raises:
            StepFailed: ``SourceFetchFailed``, waiting: one is not there, or has no artifact.

        """
        own = generator.metadata.namespace
        found: dict[str, ObservedSource] = {}
        for source in generator.spec.sources:
            key = ObjectKey(source.namespace or own, source.name)
            found[source.alias] = await self._find(source, key, fresh=fresh)
        return found

    async def _find(
        self, source: GeneratorSource, key: ObjectKey, *, fresh: bool
    ) -> ObservedSource:
        resource = _KINDS[source.kind]
        try:
            obj = await self._read(resource, key, fresh=fresh)
        except NotFound as error:
            why = "is not there"
            if error.is_resource:
                why = "is not there: this cluster does not serve the kind"
            raise _failed(f"get sources failed: {source.kind} '{key}' {why}") from error
        except ApiError as error:
            raise _failed(f"get sources failed: {source.kind} '{key}': {error}") from error
        raw = (obj.get("status") or {}).get("artifact")
        if not raw:
            raise _failed(f"get sources failed: {source.kind} '{key}' has no artifact yet")
        try:
            artifact = decode(raw, Artifact)
        except InvalidObject as error:
            raise _failed(f"get sources failed: {source.kind} '{key}' has an {error}") from error
        is_others = resource is kinds.EXTERNAL_ARTIFACT
        if not is_others and not is_own_address(artifact.url, source.kind, key):
            raise _failed(
                f"get sources failed: {source.kind} '{key}' has an artifact that is another"
                " object's: its address does not name this one"
            )
        if not self.cross_namespace and is_of_another_namespace(artifact.url, key.namespace):
            raise _failed(
                f"get sources failed: {source.kind} '{key}' has an artifact of another namespace,"
                " and cross-namespace references have been blocked"
            )
        return ObservedSource(source.kind, key, artifact)

    async def _read(self, resource: Resource, key: ObjectKey, *, fresh: bool) -> JsonObject:
        informer = self._watch(resource)
        # While the watch is broken the cluster may have been restored to an older revision.
        in_step = informer.synced and informer.error is None
        cached = informer.store.get(key) if in_step and not fresh else None
        return cached if cached is not None else await self._client.get(resource, key)

    def _watch(self, resource: Resource) -> Informer:
        informer = self._watched.get(resource.kind)
        if informer is None:
            informer = self._informers.informer(resource, namespace=self._namespace)
            self._watched[resource.kind] = informer
            informer.subscribe(self._changed)
        return informer

    def _changed(self, old: JsonObject | None, new: JsonObject | None) -> None:
        obj = new or old or {}
        if self._on_change is not None and artifact_revision_changed(old, new):
            self._on_change(source_id(str(obj.get("kind", "")), key_of(obj)), old is None)


def source_id(kind: str, key: ObjectKey) -> str:
    """The value under which generators are indexed by their sources."""
    return f"{kind}/{key}"


def sources_of(obj: JsonObject) -> Iterable[str]:
    """Index function: the sources of a generator."""
    own = key_of(obj).namespace
    for source in (obj.get("spec") or {}).get("sources") or []:
        key = ObjectKey(str(source.get("namespace") or own), str(source.get("name", "")))
        yield source_id(str(source.get("kind", "")), key)


def _failed(message: str) -> StepFailed:
    return StepFailed("", reasons.SOURCE_FETCH_FAILED, message, kind="waiting")
