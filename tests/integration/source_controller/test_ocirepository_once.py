"""Equal OCIRepositories cost one pull, and nobody gets what another one's trust brought."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from fluvial.kube import kinds
from gitservers.certs import TestCA
from harness.oci import OciWorld
from harness.source import condition
from registries.fake import FakeRegistry
from registries.images import image_of
from registries.proxies import ConnectProxy
from source_controller.assemble import Settings

FILES = {"app.yaml": "v1\n"}
REF = {"tag": "v1"}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[OciWorld]:
    settings = Settings(concurrency=8, requeue_dependency=0.2, retry_delays=(0.2, 1.0))
    async with OciWorld.start(tmp_path, settings=settings) as world:
        assert isinstance(world, OciWorld)
        await world._create_namespace("other")
        yield world


@pytest.fixture
async def fake() -> AsyncIterator[FakeRegistry]:
    async with FakeRegistry() as registry:
        registry.put("app", "v1", image_of(FILES))
        yield registry


async def all_ready(world: OciWorld, count: int) -> list[dict[str, Any]]:
    async with asyncio.timeout(100):
        while True:
            items = (await world.client.list_all(kinds.OCI_REPOSITORY)).items
            if sum(condition(obj, "Ready").get("status") == "True" for obj in items) == count:
                return items
            await asyncio.sleep(0.1)


def pulls(fake: FakeRegistry) -> list[str]:
    return [path for path in fake.paths("/v2/app/") if path.startswith("GET ")]


@pytest.mark.slow
async def test_equal_objects_cost_one_pull(world: OciWorld, fake: FakeRegistry) -> None:
    """A hundred with all that belongs to them; a thousand are in the unit tests."""
    url = f"{fake.oci}/app"
    for start in range(0, 100, 20):
        await asyncio.gather(
            *(
                world.oci(f"app-{n}", namespace=("apps", "other")[n % 2], url=url, ref=REF)
                for n in range(start, start + 20)
            )
        )
    objects = await all_ready(world, 100)

    digests = {obj["status"]["artifact"]["digest"] for obj in objects}
    inodes = {
        (world.storage_path / obj["status"]["artifact"]["path"]).stat().st_ino for obj in objects
    }
    assert (len(digests), len(inodes)) == (1, 1), "one stored file"
    assert len(pulls(fake)) == 2, "one manifest and one blob"
    assert len(fake.seen) < 30, "the rest are looks at the tag, one in two seconds"


async def test_an_object_does_not_get_what_other_credentials_brought(
    world: OciWorld, fake: FakeRegistry
) -> None:
    fake.basic = ("user", "topsecret")
    await world.pull_secret("pull", fake.host, "user", "topsecret")
    image = fake.manifests["app", "v1"]
    url, ref = f"{fake.oci}/app", {"digest": image.digest}
    await world.oci("good", url=url, ref=ref, secretRef={"name": "pull"})
    await world.until_ready("good")

    await world.oci("anonymous", url=url, ref=ref)
    obj = await world.until_failed("OCIArtifactPullFailed", "anonymous")
    assert "artifact" not in obj["status"]
    await world.pull_secret("pull", fake.host, "user", "wrong", namespace="other")
    await world.oci("wrong", namespace="other", url=url, ref=ref, secretRef={"name": "pull"})
    async with asyncio.timeout(20):
        while True:
            items = (await world.client.list_all(kinds.OCI_REPOSITORY)).items
            wrong = next(obj for obj in items if obj["metadata"]["name"] == "wrong")
            if condition(wrong, "Ready").get("reason") == "OCIArtifactPullFailed":
                break
            await asyncio.sleep(0.05)
    assert "artifact" not in wrong["status"]


@pytest.mark.parametrize("trick", ["ca", "insecure", "proxy"])
async def test_a_poisoned_tenant_poisons_nobody_else(
    trick: str, world: OciWorld, tmp_path: Path
) -> None:
    """A tenant's proxy leads the registry's name to a registry of his own, which lies."""
    good_ca, evil_ca = TestCA("good"), TestCA("evil")
    (tmp_path / "good").mkdir()
    (tmp_path / "evil").mkdir()
    async with (
        FakeRegistry(tls=good_ca.server_context(tmp_path / "good")) as good,
        FakeRegistry(tls=evil_ca.server_context(tmp_path / "evil")) as evil,
        ConnectProxy() as detour,
        ConnectProxy() as straight,
    ):
        good.put("app", "v1", image_of(FILES))
        evil.put("app", "v1", image_of({"app.yaml": "evil\n"}))
        host, _, port = evil.host.rpartition(":")
        detour.detour = (host, int(port))
        poison: dict[str, Any] = {"proxySecretRef": {"name": "proxy"}}
        if trick == "insecure":
            poison["insecure"] = True
        else:
            poison["certSecretRef"] = {"name": "ca"}
        await world.typed_secret("proxy", "Opaque", {"address": detour.url.encode()})
        await world.typed_secret("ca", "Opaque", {"ca.crt": evil_ca.pem.encode()})
        honest: dict[str, Any] = {"certSecretRef": {"name": "ca"}}
        if trick == "proxy":
            honest["proxySecretRef"] = {"name": "proxy"}
        ca = {"ca.crt": good_ca.pem.encode()}
        await world.typed_secret("ca", "Opaque", ca, namespace="other")
        address = {"address": straight.url.encode()}
        await world.typed_secret("proxy", "Opaque", address, namespace="other")

        url = f"{good.oci}/app"
        await world.oci("evil", url=url, ref=REF, interval="1s", **poison)
        obj = await world.until_ready("evil")
        assert await world.files(obj) == {"app.yaml": "evil\n"}, "his own, as he wishes"
        await world.oci("honest", namespace="other", url=url, ref=REF, **honest)
        objects = {obj["metadata"]["name"]: obj for obj in await all_ready(world, 2)}

    assert await world.files(objects["honest"]) == FILES


async def test_a_request_is_answered_by_the_registry(world: OciWorld, fake: FakeRegistry) -> None:
    """What was just asked by another object is no answer to somebody who asks now."""
    url = f"{fake.oci}/app"
    await world.oci("one", url=url, ref=REF)
    await world.until_ready("one")
    image = fake.put("app", "v1", image_of({"app.yaml": "v2\n"}))
    await world.request("now", "one")

    await world.until_ready("one", revision=f"v1@{image.digest}")
