"""``dependsOn``: whether the objects of the same kind that must come first have done so."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from fluvial.kube.client import KubeClient
from fluvial.kube.errors import ApiError, NotFound
from fluvial.kube.resource import Resource
from fluvial.kube.store import Store
from fluvial.kube.urls import UnsafeName
from fluvial.objects import JsonObject, ObjectKey, key_of
from fluvial.runtime.outcome import Stalled, Waiting

__all__ = [
    "DependencyCheck",
    "DependencyRules",
    "Judge",
    "dependencies_of",
    "progress_of",
    "waits_for_expression",
]

_ACCESS_DENIED: Final = "AccessDenied"
_NOT_READY: Final = "DependencyNotReady"


@dataclass(frozen=True, slots=True)
class DependencyRules:
    """What the operator says.

    Attributes:
        requeue: seconds until the next look if no event comes first.
        cross_namespace: dependencies in other namespaces may be named.

    """

    requeue: float = 30.0
    cross_namespace: bool = True


class Judge(Protocol):
    """What expressions of a user say of dependencies; ``fluvial.cel.readiness`` has it."""

    @property
    def additive(self) -> bool:
        """Whether the usual check counts as well."""
        ...

    async def verdict(self, key: ObjectKey, dependency: JsonObject) -> str | None:
        """Why it is not ready, ``""`` if it is, ``None`` where no expression says."""
        ...


def _no_objection(_: JsonObject) -> str:
    return ""


class DependencyCheck:
    """Checks dependencies against the cache, or against the API server where asked to.

    Args:
        client: reads what is not in the cache.
        store: of all objects of the kind.
        resource: the kind.
        rules: of the operator.

    """

    def __init__(
        self, client: KubeClient, store: Store, resource: Resource, rules: DependencyRules
    ) -> None:
        self._client = client
        self._store = store
        self._resource = resource
        self._rules = rules

    async def check(
        self,
        owner: ObjectKey,
        dependencies: Iterable[ObjectKey],
        *,
        fresh: bool,
        objection: Callable[[JsonObject], str] = _no_objection,
        judge: Judge | None = None,
    ) -> None:
        """Return if every dependency is ready.

        Args:
            owner: the object that depends on them.
            dependencies: their keys.
            fresh: ask the API server, not the cache.
            objection: why an object that is ready does not do, ``""`` if it does.
            judge: says of some what ready means (``readyExpr``); then ``objection`` counts only
                where the judge is additive.

        Raises:
            Waiting: DependencyNotReady; the message names the first that is not ready and why.
            Stalled: AccessDenied, for one in another namespace where that is blocked.

        """
        for key in dependencies:
            self._check_allowed(owner, key)
            obj, problem = await self._read(key, fresh=fresh)
            if obj is not None:
                problem = await _problem(key, obj, objection, judge)
            if problem:
                raise Waiting(
                    _NOT_READY,
                    f"Dependencies do not meet ready condition, retrying: dependency '{key}' {problem}",
                    after=self._rules.requeue,
                )

    def _check_allowed(self, owner: ObjectKey, key: ObjectKey) -> None:
        if key.namespace != owner.namespace and not self._rules.cross_namespace:
            raise Stalled(
                _ACCESS_DENIED,
                f"can't depend on '{self._resource.kind}/{key}',"
                " cross-namespace references have been blocked",
            )

    async def _read(self, key: ObjectKey, *, fresh: bool) -> tuple[JsonObject | None, str]:
        """The object, or why it cannot be had."""
        obj = None if fresh else self._store.get(key)
        try:
            if obj is None:
                obj = await self._client.get(self._resource, key)
        except NotFound:
            return None, "does not exist"
        except (ApiError, UnsafeName) as error:
            return None, f"cannot be read: {error}"
        return obj, ""


async def _problem(
    key: ObjectKey,
    obj: JsonObject,
    objection: Callable[[JsonObject], str],
    judge: Judge | None,
) -> str:
    verdict = None if judge is None else await judge.verdict(key, obj)
    if verdict or (verdict is not None and judge is not None and not judge.additive):
        return verdict
    return _not_ready(obj) or objection(obj)


def _not_ready(obj: JsonObject) -> str:
    """Why another object does not count as ready, or ``""`` (Flux's built-in check)."""
    status = obj.get("status") or {}
    listed: list[JsonObject] = status.get("conditions") or []
    if not listed or status.get("observedGeneration") != obj["metadata"].get("generation"):
        return "has not been reconciled yet"
    ready = next((one for one in listed if one.get("type") == "Ready"), {})
    return "" if ready.get("status") == "True" else "is not ready"


def dependencies_of(obj: JsonObject) -> Iterable[str]:
    """Index function: the keys of what an object depends on."""
    own = key_of(obj).namespace
    for dependency in (obj.get("spec") or {}).get("dependsOn") or ():
        yield str(ObjectKey(dependency.get("namespace") or own, str(dependency.get("name", ""))))


def progress_of(obj: JsonObject | None) -> tuple[object, ...]:
    """The part of an object whose change may free those that depend on it."""
    status = (obj or {}).get("status") or {}
    found: list[JsonObject] = status.get("conditions") or []
    ready = next((c for c in found if c.get("type") == "Ready"), {})
    return (
        ready.get("status"),
        status.get("observedGeneration"),
        status.get("lastAppliedRevision"),
    )


def waits_for_expression(obj: JsonObject) -> bool:
    """Whether an object waits for dependencies of which an expression says when they are ready.

    Then any change of one of them may end its waiting.
    """
    listed = (obj.get("spec") or {}).get("dependsOn") or ()
    if not any(dependency.get("readyExpr") for dependency in listed):
        return False
    conditions: list[JsonObject] = (obj.get("status") or {}).get("conditions") or []
    return any(one.get("type") == "Ready" and one.get("reason") == _NOT_READY for one in conditions)
