"""An entry leaves the inventory only on proof: what the API server may answer, one by one."""

from __future__ import annotations

from typing import Any, cast

import pytest

from fluvial.apply import (
    ApplyOptions,
    Entry,
    FailureReason,
    Owner,
    Planner,
    PruneOutcome,
    Pruner,
    Stage,
    StageRejected,
    Target,
    Verified,
    still_there,
)
from fluvial.clock import RealClock
from fluvial.kube.client import KubeClient
from fluvial.kube.discovery import DiscoveryIncomplete, NoMatch
from fluvial.kube.errors import ApiError, Conflict, NotFound, Unreachable, error_from_status
from fluvial.kube.resource import Resource
from fluvial.objects import GroupVersionKind, JsonObject, ObjectKey, ObjectRef

OWNER = Owner("kustomize.toolkit.fluxcd.io", "Kustomization", "flux-system", "apps")
ENTRY = Entry("n_a__ConfigMap", "v1")
PAGE_NOT_FOUND = error_from_status(404, None)
GONE = error_from_status(
    404, {"reason": "NotFound", "message": "gone", "details": {"name": "a", "kind": "configmaps"}}
)
OTHER_GONE = error_from_status(
    404, {"reason": "NotFound", "message": "gone", "details": {"name": "n", "kind": "namespaces"}}
)
CONFLICT = Conflict("the UID in the precondition does not match", status=409)


class Api:
    """A client and a mapper that answer as they are told."""

    def __init__(
        self,
        *,
        get: ApiError | None = None,
        delete: ApiError | None = None,
        mapping: Exception | None = None,
        fresh: bool | Exception = True,
    ) -> None:
        self._get, self._delete, self._mapping, self._fresh = get, delete, mapping, fresh
        self.calls: list[str] = []

    async def get(self, _resource: Resource, key: ObjectKey, **_: Any) -> JsonObject:
        self.calls.append("get")
        if self._get is not None:
            raise self._get
        metadata = {"name": key.name, "uid": "u", "resourceVersion": "7", "labels": OWNER.labels}
        return {"metadata": metadata}

    async def delete(
        self, _resource: Resource, _key: ObjectKey, *, uid: str, resource_version: str, **_: Any
    ) -> JsonObject:
        self.calls.append(f"delete {uid} {resource_version}")
        if self._delete is not None:
            raise self._delete
        return {}

    async def apply(self, *_: Any, **__: Any) -> JsonObject:
        self.calls.append("apply")
        raise Unreachable("connection refused")

    async def resource_for(self, gvk: GroupVersionKind) -> Resource:
        return await self.resource_for_kind(gvk.group, gvk.kind)

    async def resource_for_kind(self, group: str, kind: str, **_: Any) -> Resource:
        if self._mapping is not None:
            raise self._mapping
        return Resource(group, "v1", "configmaps", kind, namespaced=True)

    async def has_kind_fresh(self, _group: str, _kind: str) -> bool:
        self.calls.append("discover")
        if isinstance(self._fresh, Exception):
            raise self._fresh
        return self._fresh

    def target(self) -> Target:
        client, mapper = cast("KubeClient", self), cast("Any", self)
        return Target(client=client, mapper=mapper, owner=OWNER, clock=RealClock(), concurrency=2)


NO_MATCH = NoMatch(GroupVersionKind("", "v1", "ConfigMap"))


@pytest.mark.parametrize(
    ("api", "outcome"),
    [
        (Api(), PruneOutcome.DELETED),
        (Api(get=GONE), PruneOutcome.ABSENT),
        (Api(delete=GONE), PruneOutcome.ABSENT),
        (Api(get=PAGE_NOT_FOUND), PruneOutcome.FAILED),
        (Api(get=PAGE_NOT_FOUND, fresh=False), PruneOutcome.ABSENT),
        (Api(get=PAGE_NOT_FOUND, fresh=DiscoveryIncomplete(["x/v1"])), PruneOutcome.FAILED),
        (Api(get=OTHER_GONE), PruneOutcome.FAILED),
        (Api(mapping=NO_MATCH), PruneOutcome.FAILED),
        (Api(mapping=NO_MATCH, fresh=False), PruneOutcome.ABSENT),
        (Api(mapping=NO_MATCH, fresh=DiscoveryIncomplete(["x/v1"])), PruneOutcome.FAILED),
        (Api(mapping=NO_MATCH, fresh=Unreachable("refused")), PruneOutcome.FAILED),
        (Api(mapping=Unreachable("refused")), PruneOutcome.FAILED),
        (Api(get=Unreachable("refused")), PruneOutcome.FAILED),
        (Api(delete=CONFLICT), PruneOutcome.FAILED),
    ],
    ids=[
        "deleted",
        "absent",
        "absent at delete",
        "page not found and kind served",
        "page not found and kind gone",
        "page not found and discovery incomplete",
        "not found is about something else",
        "no match and kind served after all",
        "no match and kind gone",
        "no match and discovery incomplete",
        "no match and discovery fails",
        "discovery fails",
        "unreachable",
        "conflict for ever",
    ],
)
async def test_outcome(api: Api, outcome: PruneOutcome) -> None:
    result = await Pruner(api.target()).prune([ENTRY])

    assert [one.outcome for one in result.results] == [outcome]
    assert (ENTRY in result.kept.entries) is (outcome is PruneOutcome.FAILED)


async def test_delete_names_the_object_that_was_read() -> None:
    api = Api()
    await Pruner(api.target()).prune([ENTRY])

    assert api.calls == ["get", "delete u 7"]


async def test_conflicts_are_read_again_a_few_times() -> None:
    api = Api(delete=CONFLICT)
    await Pruner(api.target()).prune([ENTRY])

    assert api.calls.count("get") == 5


async def test_server_that_does_not_answer_is_not_asked_for_every_entry() -> None:
    api = Api(get=Unreachable("refused"))
    entries = [Entry(f"n_a{number}__ConfigMap", "v1") for number in range(50)]

    result = await Pruner(api.target()).prune(entries)

    assert len(api.calls) <= 2
    assert result.kept.ids() == {entry.id for entry in entries}
    assert "was not tried" in result.failures[-1].message


async def test_server_that_does_not_answer_is_not_asked_for_every_object() -> None:
    api = Api(get=Unreachable("refused"))
    objects = tuple(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"a{n}", "namespace": "n"}}
        for n in range(50)
    )

    with pytest.raises(StageRejected) as caught:
        await Planner(api.target(), ApplyOptions()).plan_stage(
            Stage("workloads", objects, wait=False), known=Verified()
        )

    assert {one.reason for one in caught.value.failures} == {FailureReason.UNREACHABLE}
    assert len(api.calls) <= 4


async def test_discovery_that_fails_refuses_the_stage() -> None:
    api = Api(mapping=Unreachable("refused"))
    objects = (
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "n"}},
    )

    with pytest.raises(StageRejected, match="does not tell what it serves: refused"):
        await Planner(api.target(), ApplyOptions()).plan_stage(
            Stage("workloads", objects, wait=False), known=Verified()
        )


@pytest.mark.parametrize(
    ("api", "uid", "there"),
    [
        (Api(), "u", True),
        (Api(), "older", False),
        (Api(get=GONE), "u", False),
        (Api(get=Unreachable("refused")), "u", True),
        (Api(get=PAGE_NOT_FOUND), "u", True),
        (Api(get=PAGE_NOT_FOUND, fresh=False), "u", False),
        (Api(mapping=NO_MATCH, fresh=False), "u", False),
        (Api(mapping=NO_MATCH, fresh=Unreachable("refused")), "u", True),
    ],
)
async def test_only_absence_is_absence(api: Api, uid: str, *, there: bool) -> None:
    ref = ObjectRef("", "ConfigMap", "n", "a")

    assert bool(await still_there(api.target(), [(ref, uid)])) is there


def test_fixture_answers_are_what_they_claim() -> None:
    assert isinstance(PAGE_NOT_FOUND, NotFound)
    assert PAGE_NOT_FOUND.is_resource
    assert isinstance(GONE, NotFound)
    assert not GONE.is_resource
