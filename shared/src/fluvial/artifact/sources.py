"""Which artifact an object is made from: a Kustomization, or a HelmRelease.

Sources are read from informers, which also wake the objects that name them. An informer for a kind
starts when the first object names that kind, so that a cluster without, say, Buckets is not asked
for them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from fluvial.api.codec import InvalidObject, decode
from fluvial.api.meta import Artifact
from fluvial.artifact.addresses import is_of_another_namespace, is_own_address
from fluvial.kube import kinds
from fluvial.kube.client import KubeClient
from fluvial.kube.errors import ApiError, NotFound
from fluvial.kube.informer import Informer, InformerFactory
from fluvial.kube.resource import Resource
from fluvial.kube.urls import UnsafeName
from fluvial.objects import JsonObject, ObjectKey, key_of
from fluvial.runtime.outcome import Failed, Stalled, Waiting

__all__ = ["Source", "SourceLookup", "SourceName", "SourceRules", "source_id"]

_ACCESS_DENIED: Final = "AccessDenied"
_ARTIFACT_FAILED: Final = "ArtifactFailed"

_KINDS: dict[str, Resource] = {
    resource.kind: resource
    for resource in (
        kinds.GIT_REPOSITORY,
        kinds.OCI_REPOSITORY,
        kinds.BUCKET,
        kinds.EXTERNAL_ARTIFACT,
        kinds.HELM_CHART,
    )
}
_ORIGIN_REVISION = "org.opencontainers.image.revision"


@dataclass(frozen=True, slots=True)
class SourceRules:
    """What the operator allows.

    Attributes:
        cross_namespace: sources in other namespaces may be named.
        external_artifacts: the ExternalArtifact gate is on.
        requeue_dependency: seconds until the next look at a source without an artifact that is
            not watched. One that is watched wakes whoever waits for it; looking again in vain, N
            objects of new sources would keep the controller busy with nothing else.
        not_ready: reason for a source without an artifact.
        strict: a source must also be reconciled at its generation and not be stalled.

    """

    cross_namespace: bool = True
    external_artifacts: bool = False
    requeue_dependency: float = 30.0
    not_ready: str = _ARTIFACT_FAILED
    strict: bool = False


@dataclass(frozen=True, slots=True)
class SourceName:
    """What an object says of its source.

    Attributes:
        owner: the object.
        kind: of the source.
        key: of the source.
        patience: seconds until a source that is watched and has no artifact is looked at again.

    """

    owner: ObjectKey
    kind: str
    key: ObjectKey
    patience: float = 0.0


@dataclass(frozen=True, slots=True)
class Source:
    """A source that has an artifact."""

    kind: str
    key: ObjectKey
    artifact: Artifact

    @property
    def origin_revision(self) -> str:
        """The revision at the artifact's origin, as an OCI annotation says, or ``""``."""
        return self.artifact.metadata.get(_ORIGIN_REVISION, "")


class SourceLookup:
    """Finds sources and tells who is concerned when one changes."""

    def __init__(
        self,
        client: KubeClient,
        informers: InformerFactory,
        *,
        rules: SourceRules,
        on_change: Callable[[str, str], None],
    ) -> None:
        """``on_change`` gets the ``source_id`` of every source whose artifact changed.

        Its second argument is the revision where the source is seen for the first time: whoever
        has dealt with that one need not be woken. Otherwise it is empty.
        """
        self._client = client
        self._informers = informers
        self._rules = rules
        self._on_change = on_change
        self._watched: dict[str, Informer] = {}

    async def find(
        self, name: SourceName, *, fresh: bool, known: JsonObject | None = None
    ) -> Source:
        """The source with its artifact.

        Args:
            name: whose source, and which.
            fresh: ask the API server, not the cache.
            known: the source, where the caller has just been told it by the API server.

        Raises:
            Stalled: AccessDenied, for a namespace or a kind that is not allowed.
            Failed: ArtifactFailed, the source does not exist or cannot be read.
            Waiting: the rules' reason, the source has no artifact yet.

        """
        self._check_allowed(name)
        key, resource = name.key, _KINDS[name.kind]
        try:
            obj = await self._read(resource, key, fresh=fresh, known=known)
        except NotFound as error:
            raise Failed(_ARTIFACT_FAILED, _missing(resource, key, error)) from error
        except (ApiError, UnsafeName) as error:
            raise Failed(
                _ARTIFACT_FAILED, f"unable to read {resource.kind} '{key}': {error}"
            ) from error
        artifact = _artifact_of(resource, obj)
        problem = _problem(resource, obj) if self._rules.strict else ""
        if artifact is None or problem:
            raise Waiting(
                self._rules.not_ready,
                f"Source is not ready, retrying: {resource.kind} '{key}' {problem}"
                if problem
                else f"Source artifact not found, retrying: {resource.kind} '{key}' has none yet",
                after=self._patience(name, resource),
            )
        if not self._rules.cross_namespace and is_of_another_namespace(artifact.url, key.namespace):
            raise Failed(
                _ARTIFACT_FAILED,
                f"{resource.kind} '{key}' has an artifact of another namespace, and"
                " cross-namespace references have been blocked",
            )
        return Source(resource.kind, key, artifact)

    def _patience(self, name: SourceName, resource: Resource) -> float:
        """Seconds until a source without an artifact is looked at again though nothing was heard."""
        poll = self._rules.requeue_dependency
        return max(poll, name.patience) if self._watch(resource).synced else poll

    def peek(self, kind: str, key: ObjectKey) -> JsonObject | None:
        """A source as the cache has it; ``None`` if it has not, or is not in step."""
        informer = self._watch(_KINDS[kind])
        return informer.store.get(key) if informer.synced and informer.error is None else None

    def watch_kind(self, kind: str) -> None:
        """Watch a kind of source, which an object names."""
        resource = _KINDS.get(kind)
        if resource is not None:
            self._watch(resource)

    def _check_allowed(self, name: SourceName) -> None:
        if name.key.namespace != name.owner.namespace and not self._rules.cross_namespace:
            raise Stalled(
                _ACCESS_DENIED,
                f"can't access '{name.kind}/{name.key}',"
                " cross-namespace references have been blocked",
            )
        if name.kind == "ExternalArtifact" and not self._rules.external_artifacts:
            raise Stalled(
                _ACCESS_DENIED,
                f"can't access '{name.kind}/{name.key}',"
                " the ExternalArtifact feature gate is disabled",
            )

    async def _read(
        self, resource: Resource, key: ObjectKey, *, fresh: bool, known: JsonObject | None
    ) -> JsonObject:
        informer = self._watch(resource)
        if known is not None:
            return known
        # While the watch is broken the cluster may have been restored to an older revision.
        in_step = informer.synced and informer.error is None
        cached = informer.store.get(key) if in_step and not fresh else None
        return cached if cached is not None else await self._client.get(resource, key)

    def _watch(self, resource: Resource) -> Informer:
        informer = self._watched.get(resource.kind)
        if informer is None:
            informer = self._watched[resource.kind] = self._informers.informer(resource)
            informer.subscribe(self._changed)
        return informer

    def _changed(self, old: JsonObject | None, new: JsonObject | None) -> None:
        if new is None:
            return
        revision = _revision(new)
        if revision is None:
            return
        # Of a source that has just become ready nobody could use the artifact before.
        freed = self._rules.strict and old is not None and _was_freed(old, new)
        if freed or _revision(old) != revision:
            first_sight = revision[0] if old is None else ""
            self._on_change(source_id(str(new.get("kind", "")), key_of(new)), first_sight)


def source_id(kind: str, key: ObjectKey) -> str:
    """The value under which objects are indexed by their source."""
    return f"{kind}/{key}"


def _problem(resource: Resource, obj: JsonObject) -> str:
    """Why a source that has an artifact is not to be used, or ``""``."""
    if resource is kinds.EXTERNAL_ARTIFACT:
        return ""
    status = obj.get("status") or {}
    if status.get("observedGeneration") != obj["metadata"].get("generation"):
        return "has not been reconciled yet"
    listed: list[JsonObject] = status.get("conditions") or []
    stalled = next((one for one in listed if one.get("type") == "Stalled"), {})
    return "is stalled" if stalled.get("status") == "True" else ""


def _was_freed(old: JsonObject, new: JsonObject) -> bool:
    resource = _KINDS.get(str(new.get("kind", "")))
    return resource is not None and bool(_problem(resource, old)) and not _problem(resource, new)


def _revision(obj: JsonObject | None) -> tuple[str, ...] | None:
    """Which artifact it is, the revision first.

    The time counts too: of a cluster that was restored from a backup and has gone on since, a watch
    that was away may see the end only, which looks as before.
    """
    artifact = ((obj or {}).get("status") or {}).get("artifact")
    names = ("revision", "digest", "lastUpdateTime")
    return tuple(str(artifact.get(name, "")) for name in names) if artifact else None


def _artifact_of(resource: Resource, obj: JsonObject) -> Artifact | None:
    raw = (obj.get("status") or {}).get("artifact")
    if not raw:
        return None
    try:
        artifact = decode(raw, Artifact)
    except InvalidObject as error:
        raise Failed(_ARTIFACT_FAILED, f"{resource.kind} '{key_of(obj)}' has an {error}") from error
    if resource is not kinds.EXTERNAL_ARTIFACT and not is_own_address(
        artifact.url, resource.kind, key_of(obj)
    ):
        raise Failed(
            _ARTIFACT_FAILED,
            f"{resource.kind} '{key_of(obj)}' has an artifact that is another object's: its address"
            " does not name this one",
        )
    return artifact


def _missing(resource: Resource, key: ObjectKey, error: NotFound) -> str:
    if error.is_resource:
        return (
            f"Source '{resource.kind}/{key}' not found: this cluster does not serve {resource.kind}"
        )
    return f"Source '{resource.kind}/{key}' not found"
