"""In which state an object is taken up, and for whom."""

from __future__ import annotations

import pytest

from fluvial.api.meta import FINALIZER
from fluvial.delivery.opening import ObjectGone
from fluvial.objects import JsonObject
from fluvial.runtime.outcome import Ignored
from unit.delivery.cluster import KEY, Cluster, kustomization


@pytest.mark.parametrize(
    ("live", "cached"),
    [(None, None), (None, kustomization(finalizers=[])), (None, kustomization(request="now"))],
    ids=["not in the cache", "gone before it has a finalizer", "gone before it is read"],
)
async def test_an_object_that_is_gone_is_not_opened(
    live: JsonObject | None, cached: JsonObject | None
) -> None:
    cluster = Cluster(live, cached)

    with pytest.raises(ObjectGone):
        await cluster.opening().open(KEY, live=False)


async def test_an_object_of_another_shape_is_left_alone() -> None:
    odd = kustomization(finalizers=[])
    odd["spec"]["interval"] = 5
    cluster = Cluster(odd)
    with pytest.raises(Ignored) as ignored:
        await cluster.opening().open(KEY, live=False)

    assert not isinstance(ignored.value, ObjectGone)
    assert cluster.live == odd


async def test_an_object_gets_the_finalizer_first() -> None:
    cluster = Cluster(kustomization(4, finalizers=["other"]))
    opened = await cluster.opening().open(KEY, live=False)

    assert opened.obj == cluster.live
    assert opened.spec_of.metadata.finalizers == ("other", FINALIZER)
    assert opened.memory.latest == cluster.live


async def test_an_object_that_is_being_deleted_gets_none() -> None:
    deleted = kustomization(finalizers=["other"], deletionTimestamp="2026-01-01T00:00:00Z")
    opened = await Cluster(deleted).opening().open(KEY, live=False)

    assert opened.spec_of.metadata.finalizers == ("other",)


async def test_a_cache_that_lags_behind_our_own_write_does_not_count() -> None:
    cluster = Cluster(kustomization(4, finalizers=[]))
    await cluster.opening().open(KEY, live=False)
    opened = await cluster.opening().open(KEY, live=False)

    assert opened.obj["metadata"]["resourceVersion"] == "5"
    assert (cluster.reads, opened.live) == (0, False)


@pytest.mark.parametrize(
    ("live", "request_"), [(True, ""), (False, "now")], ids=["starting over", "on request"]
)
async def test_the_object_is_read_live(*, live: bool, request_: str) -> None:
    cluster = Cluster(kustomization(9, request=request_), kustomization(4, request=request_))
    opened = await cluster.opening().open(KEY, live=live)

    assert opened.live
    assert opened.obj["metadata"]["resourceVersion"] == "9"
    assert opened.requested == request_


@pytest.mark.parametrize(("handled", "requested"), [("", "now"), ("now", ""), ("before", "now")])
async def test_a_request_is_open_until_a_status_answers_it(handled: str, requested: str) -> None:
    obj = kustomization(request="now") | {"status": {"lastHandledReconcileAt": handled}}
    opened = await Cluster(obj).opening().open(KEY, live=False)

    assert (opened.requested, opened.live) == (requested, bool(requested))


async def test_a_request_is_answered_by_one_run() -> None:
    """The next begins while the first still works: it waits for its health, for instance."""
    cluster = Cluster(kustomization(request="now"))
    await cluster.opening().open(KEY, live=False)
    opened = await cluster.opening().open(KEY, live=False)

    assert (opened.requested, cluster.reads) == ("", 1)


async def test_a_request_that_comes_while_the_object_is_opened_is_answered() -> None:
    cluster = Cluster(kustomization(2, finalizers=[], request="now"), kustomization(finalizers=[]))
    opened = await cluster.opening().open(KEY, live=False)

    assert opened.requested == "now"
