"""Equal HelmRepositories cost one download, and nobody gets what another one's trust brought."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from fluvial.kube import kinds
from fluvial.objects import JsonObject, ObjectKey
from gitservers.certs import TestCA
from harness.oci import OciWorld
from harness.source import condition
from harness.webserver import FileHost
from source_controller.assemble import Settings
from source_controller.helm.client import HelmJobs
from source_controller.helm.index import IndexSummary

INDEX = "apiVersion: v1\nentries:\n  {0}:\n  - {{name: {0}, version: 1.0.0, urls: [a-1.0.0.tgz]}}\n"


class HelmWorld(OciWorld):
    """HelmRepositories in several namespaces."""

    resource = kinds.HELM_REPOSITORY

    async def helm(self, name: str, namespace: str = "apps", **spec: Any) -> None:
        obj = {
            "apiVersion": "source.toolkit.fluxcd.io/v1",
            "kind": "HelmRepository",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"interval": "1h"} | spec,
        }
        key = ObjectKey(namespace, name)
        await self.client.apply(self.resource, key, obj, field_manager="test")

    async def found(self, name: str, ready: str) -> JsonObject:
        """The object of a name in any namespace, once its Ready has a status."""
        async with asyncio.timeout(30):
            while True:
                for obj in (await self.client.list_all(self.resource)).items:
                    is_it = obj["metadata"]["name"] == name
                    if is_it and condition(obj, "Ready").get("status") == ready:
                        return obj
                await asyncio.sleep(0.05)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[HelmWorld]:
    settings = Settings(concurrency=8, requeue_dependency=0.2, retry_delays=(0.2, 1.0))
    async with HelmWorld.start(tmp_path, settings=settings) as world:
        assert isinstance(world, HelmWorld)
        await world._create_namespace("other")
        yield world


@pytest.fixture
def charts(tmp_path: Path) -> Path:
    folder = tmp_path / "charts"
    folder.mkdir()
    (folder / "index.yaml").write_text(INDEX.format("app"))
    return folder


async def test_equal_objects_cost_one_download_and_one_file(world: HelmWorld, charts: Path) -> None:
    async with FileHost(charts) as host:
        host.hold.clear()
        names = [f"app-{number}" for number in range(12)]
        for number, name in enumerate(names):
            await world.helm(name, ("apps", "other")[number % 2], url=host.url)
        async with asyncio.timeout(30):
            while not host.requests:
                await asyncio.sleep(0.01)
        host.hold.set()
        objects = [await world.found(name, "True") for name in names]

    paths = [world.storage_path / obj["status"]["artifact"]["path"] for obj in objects]
    assert len(host.requests) == 1
    assert len({path.stat().st_ino for path in paths}) == 1, "one stored file"


def _taken_over(rewrite: Callable[..., Awaitable[IndexSummary]]) -> Callable[..., Any]:
    """The worker of one namespace reads what its attacker likes."""

    async def instead(self: HelmJobs, work: Path, **more: Any) -> IndexSummary:
        if more["namespace"] == "apps":
            file = work / more["source"]
            file.write_text(file.read_text().replace("1.0.0", "6.6.6"))
        return await rewrite(self, work, **more)

    return instead


async def test_a_worker_that_was_taken_over_harms_its_own_namespace_alone(
    world: HelmWorld, charts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HelmJobs, "rewrite_index", _taken_over(HelmJobs.rewrite_index))
    async with FileHost(charts) as host:
        await world.helm("evil", "apps", url=host.url)
        evil = await world.found("evil", "True")
        await world.helm("honest", "other", url=host.url)
        honest = await world.found("honest", "True")

    texts = [
        (world.storage_path / obj["status"]["artifact"]["path"]).read_text()
        for obj in (evil, honest)
    ]
    assert "6.6.6" in texts[0]
    assert "6.6.6" not in texts[1]


@pytest.mark.parametrize("trick", ["link", "pipe", "nothing"])
async def test_a_worker_that_was_taken_over_has_no_file_of_ours_published(
    trick: str, world: HelmWorld, charts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "token"
    secret.write_text("topsecret")

    async def instead(self: HelmJobs, work: Path, **more: Any) -> IndexSummary:
        del self
        if trick == "link":
            (work / more["target"]).symlink_to(secret)
        elif trick == "pipe":
            os.mkfifo(work / more["target"])
        return IndexSummary(1, 1, 0)

    monkeypatch.setattr(HelmJobs, "rewrite_index", instead)
    async with FileHost(charts) as host:
        await world.helm("evil", url=host.url)
        obj = await world.found("evil", "False")

    assert condition(obj, "FetchFailed")["reason"] == "IndexationFailed"
    assert "artifact" not in obj["status"]


async def test_other_credentials_are_another_question(world: HelmWorld, charts: Path) -> None:
    async with FileHost(charts) as host:
        host.basic = ("dev", "topsecret")
        await world.secret("creds", {"username": "dev", "password": "topsecret"})
        await world.helm("good", url=host.url, secretRef={"name": "creds"})
        await world.found("good", "True")
        await world.helm("nobody", url=host.url)
        obj = await world.found("nobody", "False")

    assert "artifact" not in obj["status"]


async def test_a_poisoned_tenant_poisons_nobody_else(
    world: HelmWorld, charts: Path, tmp_path: Path
) -> None:
    """One trusts an authority of his own, and whoever that lets pose as the repository."""
    good_ca, evil_ca = TestCA("good"), TestCA("evil")
    async with FileHost(charts, tls=evil_ca.server_context(tmp_path)) as host:
        for namespace, ca in (("apps", evil_ca), ("other", good_ca)):
            values = {"ca.crt": ca.pem.encode()}
            await world.typed_secret("ca", "Opaque", values, namespace=namespace)
        await world.helm("evil", url=host.url, certSecretRef={"name": "ca"}, interval="1s")
        await world.found("evil", "True")
        await world.helm("honest", "other", url=host.url, certSecretRef={"name": "ca"})
        await world.helm("plain", "other", url=host.url)
        for name in ("honest", "plain"):
            obj = await world.found(name, "False")
            assert "not trusted" in condition(obj, "FetchFailed")["message"]
            assert "artifact" not in obj["status"]


async def test_nothing_goes_to_another_namespace_where_a_ca_is_given(
    world: HelmWorld, charts: Path, tmp_path: Path
) -> None:
    """Even if both give the same one."""
    ca = TestCA()
    async with FileHost(charts, tls=ca.server_context(tmp_path)) as host:
        for namespace in ("apps", "other"):
            values = {"ca.crt": ca.pem.encode()}
            await world.typed_secret("ca", "Opaque", values, namespace=namespace)
            await world.helm(namespace, namespace, url=host.url, certSecretRef={"name": "ca"})
        objects = [await world.found(namespace, "True") for namespace in ("apps", "other")]

    paths = [world.storage_path / obj["status"]["artifact"]["path"] for obj in objects]
    assert len(host.requests) == 2
    assert len({path.stat().st_ino for path in paths}) == 2


async def test_a_request_is_answered_by_the_repository(world: HelmWorld, charts: Path) -> None:
    """What was just asked by another object is no answer to somebody who asks now."""
    async with FileHost(charts) as host:
        await world.helm("one", url=host.url)
        await world.until_ready("one")
        (charts / "index.yaml").write_text(INDEX.format("newer"))
        await world.request("now", "one")
        obj = await world.until_handled("now", "one")

    file = world.storage_path / obj["status"]["artifact"]["path"]
    assert "newer" in file.read_text()
