"""What Helm writes we read, and what we write Helm lists, upgrades, rolls back and uninstalls."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from fluvial.helm.record import decode_release, encode_release
from fluvial.helm.release import Release, Status
from harness.helm import HelmSdk, need_helm
from integration.helm.helm_world import HelmWorld, small_chart


def _next(release: Release, status: Status = Status.DEPLOYED) -> Release:
    version = release.version + 1
    return msgspec.structs.replace(release, version=version).with_status(status, "made by us")


async def _history(helm: HelmSdk) -> list[tuple[int, str]]:
    listed = await helm.do("history", name="app")
    return [(int(one["revision"]), one["status"]) for one in listed]


@pytest.mark.slow
async def test_a_release_goes_back_and_forth(world: HelmWorld, tmp_path: Path) -> None:
    need_helm()
    chart = str(small_chart(tmp_path))
    storage = world.storage
    async with world.helm(tmp_path) as helm:
        await helm.do("install", chart=chart, name="app", values={"greeting": "hi", "n": 1.5})
        first = await storage.last("app")

        assert first.status is Status.DEPLOYED
        assert first.server_side
        assert (first.metadata.name, first.metadata.version) == ("small", "1.2.3")
        assert first.config == {"greeting": "hi", "n": 1.5}
        assert "# Source: small/templates/settings.yaml" in first.manifest
        assert decode_release(encode_release(first)) == msgspec.structs.replace(first, labels={})

        await storage.create(_next(first))
        await storage.update(first.with_status(Status.SUPERSEDED, "superseded by us"))
        assert await _history(helm) == [(1, "superseded"), (2, "deployed")]
        assert await helm.do("get_values", name="app") == {"greeting": "hi", "n": 1.5}
        assert [one["name"] for one in await helm.do("list")] == ["app"]

        await helm.do("upgrade", chart=chart, name="app", values={"greeting": "hey"})
        assert [(r.version, r.status.value) for r in await storage.revisions("app")] == [
            (1, "superseded"),
            (2, "superseded"),
            (3, "deployed"),
        ]

        third = await storage.last("app")
        await storage.update(third.with_status(Status.FAILED, "broken by us"))
        await helm.do("rollback", name="app", version=2)
        fourth = await storage.last("app")
        assert (fourth.version, fourth.status) == (4, Status.DEPLOYED)
        assert fourth.config == first.config

        await helm.do("uninstall", name="app")
        assert await world.secrets() == {}


@pytest.mark.slow
async def test_helm_refuses_a_release_that_is_pending(world: HelmWorld, tmp_path: Path) -> None:
    need_helm()
    chart = str(small_chart(tmp_path))
    async with world.helm(tmp_path) as helm:
        await helm.do("install", chart=chart, name="app")
        first = await world.storage.last("app")
        await world.storage.create(_next(first, Status.PENDING_UPGRADE))
        answer = await helm.call("upgrade", chart=chart, name="app")

        assert "another operation" in answer["message"]
