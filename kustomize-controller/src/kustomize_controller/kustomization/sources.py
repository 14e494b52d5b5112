"""Which artifact a Kustomization is built from.

Sources are read from informers, which also wake the Kustomizations that name them. An informer
for a kind starts when the first Kustomization names that kind, so that a cluster without, say,
Buckets is not asked for them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from fluvial.api.codec import InvalidObject, decode
from fluvial.api.kustomize import Kustomization
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
from kustomize_controller.kustomization import reasons

__all__ = ["Source", "SourceLookup", "SourceRules", "source_id"]

_KINDS: dict[str, Resource] = {
    resource.kind: resource
    for resource in (
        kinds.GIT_REPOSITORY,
        kinds.OCI_REPOSITORY,
        kinds.BUCKET,
        kinds.EXTERNAL_ARTIFACT,
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
            Kustomizations of new sources would keep the controller busy with nothing else.

    """

    cross_namespace: bool = True
    external_artifacts: bool = False
    requeue_dependency: float = 30.0


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

    async def find(self, kustomization: Kustomization, *, fresh: bool) -> Source:
        """The source with its artifact.

        Args:
            kustomization: whose source.
            fresh: ask the API server, not the cache.

        Raises:
            Stalled: AccessDenied, for a namespace or a kind that is not allowed.
            Failed: ArtifactFailed, the source does not exist or cannot be read.
            Waiting: ArtifactFailed, the source has no artifact yet.

        """
        ref = kustomization.spec.source_ref
        key = ObjectKey(ref.namespace or kustomization.metadata.namespace, ref.name)
        self._check_allowed(kustomization, key)
        resource = _KINDS[ref.kind]
        try:
            obj = await self._read(resource, key, fresh=fresh)
        except NotFound as error:
            raise Failed(reasons.ARTIFACT_FAILED, _missing(resource, key, error)) from error
        except (ApiError, UnsafeName) as error:
            raise Failed(
                reasons.ARTIFACT_FAILED, f"unable to read {resource.kind} '{key}': {error}"
            ) from error
        artifact = _artifact_of(resource, obj)
        if artifact is None:
            raise Waiting(
                reasons.ARTIFACT_FAILED,
                f"Source artifact not found, retrying: {resource.kind} '{key}' has none yet",
                after=self._patience(kustomization, resource),
            )
        if not self._rules.cross_namespace and is_of_another_namespace(artifact.url, key.namespace):
            raise Failed(
                reasons.ARTIFACT_FAILED,
                f"{resource.kind} '{key}' has an artifact of another namespace, and"
                " cross-namespace references have been blocked",
            )
        return Source(resource.kind, key, artifact)

    def _patience(self, kustomization: Kustomization, resource: Resource) -> float:
        """Seconds until a source without an artifact is looked at again though nothing was heard."""
        poll = self._rules.requeue_dependency
        return max(poll, kustomization.spec.retry_seconds) if self._watch(resource).synced else poll

    def watch_kind_of(self, _old: JsonObject | None, new: JsonObject | None) -> None:
        """Watch the kind of source that a Kustomization names (an informer's subscriber)."""
        ref = ((new or {}).get("spec") or {}).get("sourceRef") or {}
        resource = _KINDS.get(str(ref.get("kind")))
        if resource is not None:
            self._watch(resource)

    def _check_allowed(self, kustomization: Kustomization, key: ObjectKey) -> None:
        own = kustomization.metadata.namespace
        kind = kustomization.spec.source_ref.kind
        if key.namespace != own and not self._rules.cross_namespace:
            raise Stalled(
                reasons.ACCESS_DENIED,
                f"can't access '{kind}/{key}', cross-namespace references have been blocked",
            )
        if kind == "ExternalArtifact" and not self._rules.external_artifacts:
            raise Stalled(
                reasons.ACCESS_DENIED,
                f"can't access '{kind}/{key}', the ExternalArtifact feature gate is disabled",
            )

    async def _read(self, resource: Resource, key: ObjectKey, *, fresh: bool) -> JsonObject:
        informer = self._watch(resource)
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
        if revision is not None and _revision(old) != revision:
            first_sight = revision[0] if old is None else ""
            self._on_change(source_id(str(new.get("kind", "")), key_of(new)), first_sight)


def source_id(kind: str, key: ObjectKey) -> str:
    """The value under which Kustomizations are indexed by their source."""
    return f"{kind}/{key}"


def sources_of(obj: JsonObject) -> Iterable[str]:
    """Index function: the one source of a Kustomization."""
    ref = (obj.get("spec") or {}).get("sourceRef") or {}
    namespace = ref.get("namespace") or key_of(obj).namespace
    return (source_id(str(ref.get("kind", "")), ObjectKey(namespace, str(ref.get("name", "")))),)


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
        raise Failed(
            reasons.ARTIFACT_FAILED, f"{resource.kind} '{key_of(obj)}' has an {error}"
        ) from error
    if resource is not kinds.EXTERNAL_ARTIFACT and not is_own_address(
        artifact.url, resource.kind, key_of(obj)
    ):
        raise Failed(
            reasons.ARTIFACT_FAILED,
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
