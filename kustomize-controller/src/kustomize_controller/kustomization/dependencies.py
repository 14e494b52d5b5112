"""``dependsOn``: whether the Kustomizations that must come first have done so."""

from __future__ import annotations

from collections.abc import Iterable

from fluvial.api.codec import InvalidObject, decode
from fluvial.api.kustomize import Kustomization
from fluvial.kube import kinds
from fluvial.kube.client import KubeClient
from fluvial.kube.errors import ApiError, NotFound
from fluvial.kube.store import Store
from fluvial.kube.urls import UnsafeName
from fluvial.objects import JsonObject, ObjectKey, key_of
from fluvial.runtime.outcome import Stalled, Waiting
from kustomize_controller.kustomization import reasons
from kustomize_controller.kustomization.sources import Source, source_id, sources_of

__all__ = ["DependencyCheck", "dependencies_of", "progress_of"]


class DependencyCheck:
    """Checks dependencies against the cache, or against the API server where asked to."""

    def __init__(
        self,
        client: KubeClient,
        store: Store,
        *,
        requeue_dependency: float,
        cross_namespace: bool,
    ) -> None:
        """``requeue_dependency``: seconds until the next look if no event comes first."""
        self._client = client
        self._store = store
        self._after = requeue_dependency
        self._cross_namespace = cross_namespace

    async def check(self, kustomization: Kustomization, source: Source, *, fresh: bool) -> None:
        """Return if every dependency is ready.

        Raises:
            Waiting: DependencyNotReady; the message names the first that is not ready and why.
            Stalled: AccessDenied, for one in another namespace where that is blocked.

        """
        for dependency in kustomization.spec.depends_on:
            key = ObjectKey(
                dependency.namespace or kustomization.metadata.namespace, dependency.name
            )
            self._check_allowed(kustomization, key)
            problem = await self._problem(key, source, fresh=fresh)
            if problem:
                raise Waiting(
                    reasons.DEPENDENCY_NOT_READY,
                    f"Dependencies do not meet ready condition, retrying: dependency '{key}' {problem}",
                    after=self._after,
                )

    def _check_allowed(self, kustomization: Kustomization, key: ObjectKey) -> None:
        if key.namespace != kustomization.metadata.namespace and not self._cross_namespace:
            raise Stalled(
                reasons.ACCESS_DENIED,
                f"can't depend on 'Kustomization/{key}', cross-namespace references have been blocked",
            )

    async def _problem(self, key: ObjectKey, source: Source, *, fresh: bool) -> str:
        obj = None if fresh else self._store.get(key)
        try:
            if obj is None:
                obj = await self._client.get(kinds.KUSTOMIZATION, key)
            other = decode(obj, Kustomization)
        except NotFound:
            return "does not exist"
        except (ApiError, UnsafeName, InvalidObject) as error:
            return f"cannot be read: {error}"
        return _not_ready(obj, other, source)


def _not_ready(obj: JsonObject, other: Kustomization, source: Source) -> str:
    """Why another Kustomization does not count as ready, or ``""`` (Flux's built-in check)."""
    status = other.status
    if not status.conditions or status.observed_generation != other.metadata.generation:
        return "has not been reconciled yet"
    ready = next((c for c in status.conditions if c.type == reasons.READY), None)
    if ready is None or ready.status != "True":
        return "is not ready"
    same_source = source_id(source.kind, source.key) in sources_of(obj)
    if same_source and status.last_applied_revision != source.artifact.revision:
        return f"has not applied revision {source.artifact.revision} yet"
    return ""


def dependencies_of(obj: JsonObject) -> Iterable[str]:
    """Index function: the keys of what a Kustomization depends on."""
    own = key_of(obj).namespace
    for dependency in (obj.get("spec") or {}).get("dependsOn") or ():
        yield str(ObjectKey(dependency.get("namespace") or own, str(dependency.get("name", ""))))


def progress_of(obj: JsonObject | None) -> tuple[object, ...]:
    """The part of a Kustomization whose change may free those that depend on it."""
    status = (obj or {}).get("status") or {}
    found: list[JsonObject] = status.get("conditions") or []
    ready = next((c for c in found if c.get("type") == "Ready"), {})
    return (
        ready.get("status"),
        status.get("observedGeneration"),
        status.get("lastAppliedRevision"),
    )
