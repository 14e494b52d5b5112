"""Before anything is written: is it still what the caches said?"""

from __future__ import annotations

from typing import Any, cast

import pytest
import structlog

from fluvial.api.meta import Artifact
from fluvial.artifact.sources import Source, SourceLookup, SourceName
from fluvial.delivery.confirming import Confirmation, Outdated, start_over
from fluvial.kube.kinds import KUSTOMIZATION
from fluvial.log import get_logger
from fluvial.objects import JsonObject
from unit.delivery.cluster import KEY, SOURCE, Cluster, Run, kustomization


def source(revision: str) -> Source:
    artifact = Artifact(
        digest="sha256:0",
        last_update_time="2026-01-01T00:00:00Z",
        path="p",
        revision=revision,
        url="http://s/p",
    )
    return Source("GitRepository", KEY, artifact)


class Sources:
    """One source, live."""

    def __init__(self, revision: str) -> None:
        self.reads = 0
        self._source = source(revision)

    async def find(self, name: SourceName, *, fresh: bool) -> Source:
        assert (name, fresh) == (SOURCE, True)
        self.reads += 1
        return self._source


async def run_of(cluster: Cluster, *, live: bool = False) -> Run:
    run = Run(*await cluster.opening().open(KEY, live=live))
    run.source = source("main@sha1:1")
    return run


def confirmation(cluster: Cluster, revision: str = "main@sha1:1") -> tuple[Confirmation, Sources]:
    sources = Sources(revision)
    return Confirmation(cluster.client, KUSTOMIZATION, cast("SourceLookup", sources)), sources


@pytest.mark.parametrize(
    ("live", "revision"),
    [
        (None, "main@sha1:1"),
        (kustomization(3), "main@sha1:1"),
        (kustomization(4, uid="other"), "main@sha1:1"),
        (kustomization(4), "main@sha1:0"),
    ],
    ids=["gone", "of another time", "another of its name", "another artifact"],
)
async def test_what_is_not_as_the_caches_say_is_outdated(
    live: JsonObject | None, revision: str
) -> None:
    cluster = Cluster(live, kustomization(4))
    run = await run_of(cluster)
    confirm, _ = confirmation(cluster, revision)

    with pytest.raises(Outdated):
        await confirm.confirm(run)
    assert not run.live


async def test_a_run_is_confirmed_once() -> None:
    cluster = Cluster(kustomization(4))
    run = await run_of(cluster)
    confirm, sources = confirmation(cluster)
    await confirm.confirm(run)
    await confirm.confirm(run)
    await confirm.own(run)

    assert run.live
    assert (cluster.reads, sources.reads) == (1, 1)


async def test_a_run_that_has_read_everything_live_is_not_confirmed() -> None:
    cluster = Cluster(kustomization(4))
    run = await run_of(cluster, live=True)
    confirm, sources = confirmation(cluster)
    await confirm.confirm(run)

    assert (cluster.reads, sources.reads) == (1, 0)


async def test_an_object_whose_status_was_taken_is_not_read_again() -> None:
    cluster = Cluster(kustomization(4))
    run = await run_of(cluster)
    run.taken = True
    confirm, sources = confirmation(cluster)
    await confirm.own(run)
    await confirm.confirm(run)

    assert (cluster.reads, sources.reads) == (0, 1)


async def test_who_finds_a_cache_outdated_starts_over_live_and_says_so() -> None:
    tried: list[bool] = []

    async def attempt(live: bool) -> str:  # noqa: FBT001  # as it is called
        tried.append(live)
        if not live:
            raise Outdated
        return "done"

    with structlog.testing.capture_logs() as lines:
        done = await start_over(attempt, get_logger("test"))

    assert (done, tried) == ("done", [False, True])
    assert ["starting over" in line["event"] for line in lines] == [True]


@pytest.mark.parametrize("error", [Outdated(), ValueError()], ids=["outdated", "other"])
async def test_nobody_starts_over_twice_or_for_anything_else(error: Exception) -> None:
    tried: list[bool] = []

    async def attempt(live: bool) -> Any:  # noqa: FBT001  # as it is called
        tried.append(live)
        raise error

    with pytest.raises(type(error)):
        await start_over(attempt, get_logger("test"))
    assert tried == ([False, True] if isinstance(error, Outdated) else [False])
