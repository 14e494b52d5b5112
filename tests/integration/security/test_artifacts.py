"""A tenant who may write the status of its own source tries to get what is another's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from fluvial.kube import kinds
from fluvial.objects import JsonObject, ObjectKey
from harness.kustomize import CONFIG_MAPS, Harness, configmap, ready_of

_SECRET = "internal-token-4711"


@asynccontextmanager
async def liar(digest: str) -> AsyncIterator[str]:
    """A server of the tenant that claims to have every digest, and has none."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=_SECRET, headers={"ETag": f'"{digest}"'})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    try:
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


async def victim(world: Harness) -> JsonObject:
    """The victim's artifact, applied and so in the controller's cache."""
    revision = await world.source({"a.yaml": configmap(namespace="other")}, namespace="other")
    await world.kustomization(namespace="other")
    await world.applied(revision, namespace="other")
    source = await world.client.get(kinds.GIT_REPOSITORY, ObjectKey("other", "src"))
    artifact: JsonObject = source["status"]["artifact"]
    return artifact


async def test_an_etag_of_ones_own_server_is_no_right_to_a_cached_artifact(world: Harness) -> None:
    artifact = await victim(world)
    async with liar(artifact["digest"]) as url:
        stolen = artifact | {"url": f"{url}/gitrepository/team/src/x.tar.gz"}
        await world.announce(stolen)
        await world.kustomization(targetNamespace="team")
        failed = await world.failed("ArtifactFailed")

    assert not await world.exists(CONFIG_MAPS, "settings")
    assert _SECRET not in str(failed)


async def test_the_address_of_anothers_artifact_is_not_asked(world: Harness) -> None:
    artifact = await victim(world)
    await world.announce(artifact)
    await world.kustomization(targetNamespace="team")
    failed = await world.failed("ArtifactFailed")

    assert "another object's" in ready_of(failed)["message"]
    assert not await world.exists(CONFIG_MAPS, "settings")


@pytest.mark.parametrize(
    "path",
    [
        "/gitrepository/other/src/f.tar.gz",
        "/gitrepository/team/src/../../other/src/f.tar.gz",
        "/gitrepository/team/src/%2e%2e/%2e%2e/other/src/f.tar.gz",
        "/gitrepository/team/src/..",
        "/latest/meta-data/iam/security-credentials/",
        "/api/v1/namespaces/other/secrets/x?/gitrepository/team/src/f",
    ],
)
async def test_addresses_that_are_not_the_sources_own(world: Harness, path: str) -> None:
    async with liar("sha256:" + "0" * 64) as url:
        artifact = {
            "path": "x",
            "url": url + path,
            "revision": "main@sha1:1",
            "digest": "sha256:" + "0" * 64,
            "lastUpdateTime": "2026-01-01T00:00:00Z",
        }
        await world.announce(artifact)
        await world.kustomization()
        failed = await world.failed("ArtifactFailed")

    assert "another object's" in ready_of(failed)["message"]


async def test_what_is_at_an_internal_address_is_not_told(world: Harness) -> None:
    """Neither the body nor its digest, from which a short body could be found by trying."""
    import hashlib

    async with liar("sha256:" + "0" * 64) as url:
        artifact = {
            "path": "x",
            "url": f"{url}/gitrepository/team/src/f.tar.gz",
            "revision": "main@sha1:1",
            "digest": "sha256:" + "0" * 64,
            "lastUpdateTime": "2026-01-01T00:00:00Z",
        }
        await world.announce(artifact)
        await world.kustomization()
        failed = await world.failed("ArtifactFailed")
        event = await world.event("ArtifactFailed")

    for told in (str(failed), str(event)):
        assert _SECRET not in told
        assert hashlib.sha256(_SECRET.encode()).hexdigest() not in told
