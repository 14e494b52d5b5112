"""The client and the CNCF's own registry: what both mean by the distribution specification."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fluvial.artifact.digest import Digest
from fluvial.artifact.tar import UnpackLimits
from fluvial.net.dialer import Dialer
from gitservers.certs import TestCA
from registries.clients import LOOPBACK, HastyClock
from registries.images import image_of, index_of
from registries.real import PASSWORD, USER, RealRegistry, registry_path
from registries.tokens import TokenService
from source_controller.oci.access import DIRECT, Access
from source_controller.oci.dockerconfig import Credentials
from source_controller.oci.errors import Denied, NotFound
from source_controller.oci.layers import extract, select_layer
from source_controller.oci.reference import Repository
from source_controller.oci.registries import Registries
from source_controller.oci.registry import RepositoryClient

KNOWN = Access(Credentials(USER, PASSWORD))


@pytest.fixture(autouse=True)
def _installed() -> None:
    if not registry_path():
        missing = "docker-registry is not installed: bash tests/setup.sh"
        if os.environ.get("FLUVIAL_REQUIRE_REGISTRY") == "1":
            pytest.fail(missing)
        pytest.skip(missing)


@pytest.fixture
async def registries() -> AsyncIterator[Registries]:
    async with Registries(Dialer(LOOPBACK), clock=HastyClock()) as registries:
        yield registries


async def pull(client: RepositoryClient, tag: str, folder: Path) -> dict[str, str]:
    """The files of a tag."""
    manifest = await client.manifest(await client.resolve(tag))
    layer = select_layer(manifest, "")
    blob, tree = folder / "blob", folder / "tree"
    await client.download(layer, blob)
    await extract(blob, tree, UnpackLimits())
    blob.unlink()
    return {
        str(path.relative_to(tree)): path.read_text() for path in tree.rglob("*") if path.is_file()
    }


async def test_tags_manifests_indexes_and_blobs(registries: Registries, tmp_path: Path) -> None:
    async with RealRegistry(tmp_path / "registry") as registry:
        image = await registry.put("team/app", "v1", image_of({"a/b.yaml": "x"}))
        other = await registry.put("team/app", "v2", image_of({"c.yaml": "y"}))
        index = await registry.put(
            "team/app",
            "multi",
            index_of(
                [
                    (other, {"platform": {"os": "linux", "architecture": "arm64"}}),
                    (image, {"platform": {"os": "linux", "architecture": "amd64"}}),
                ]
            ),
        )
        repository = Repository.parse_url(f"{registry.oci}/team/app")
        async with registries.client(repository, DIRECT, namespace="apps") as client:
            assert sorted(await client.tags()) == ["multi", "v1", "v2"]
            assert str(await client.resolve("v1")) == image.digest
            assert str(await client.resolve("multi")) == index.digest
            assert await pull(client, "multi", tmp_path) == {"a/b.yaml": "x"}
            with pytest.raises(NotFound) as caught:
                await client.resolve("v3")
            with pytest.raises(NotFound) as missing:
                await client.document(Digest("sha256", "0" * 64))
            assert await client.referrers(Digest.parse(image.digest)) == ()

    assert caught.value.status == 404  # an answer to HEAD, then to GET
    assert missing.value.codes == ("MANIFEST_UNKNOWN",)


async def test_referrers_by_their_tag(registries: Registries, tmp_path: Path) -> None:
    """This registry has no referrers API."""
    async with RealRegistry(tmp_path / "registry") as registry:
        image = await registry.put("app", "v1", image_of({"a": "x"}))
        signature = image_of([("x/sig", b"sig")], subject=image, artifact_type="x/type")
        index = index_of([(signature, {"artifactType": "x/type"})])
        await registry.put("app", image.digest.replace(":", "-"), index)
        repository = Repository.parse_url(f"{registry.oci}/app")
        async with registries.client(repository, DIRECT, namespace="apps") as client:
            found = await client.referrers(Digest.parse(image.digest))

    assert [str(item.digest) for item in found] == [signature.digest]


async def test_tls_and_basic_authentication(registries: Registries, tmp_path: Path) -> None:
    ca = TestCA()
    ca.server_context(tmp_path)
    pem = tmp_path / "server.pem"
    async with RealRegistry(
        tmp_path / "registry", htpasswd=True, certificate=(pem, pem)
    ) as registry:
        await registry.put("app", "v1", image_of({"a": "x"}))
        repository = Repository.parse_url(f"{registry.oci}/app")
        good = Access(KNOWN.credentials, ca=ca.pem)
        async with registries.client(repository, good, namespace="apps") as client:
            assert await pull(client, "v1", tmp_path) == {"a": "x"}
        for credentials in (Credentials(), Credentials(USER, "wrong")):
            access = Access(credentials, ca=ca.pem)
            async with registries.client(repository, access, namespace="apps") as client:
                with pytest.raises(Denied) as caught:
                    await client.tags()
            assert caught.value.codes == ("UNAUTHORIZED",)


async def test_tokens_that_the_registry_verifies(registries: Registries, tmp_path: Path) -> None:
    async with (
        TokenService(tmp_path, user=(USER, PASSWORD)) as tokens,
        RealRegistry(tmp_path / "registry", token=tokens.registry_config()) as registry,
    ):
        pusher = tokens.sign("repository:app:push,pull")
        await registry.put("app", "v1", image_of({"a": "x"}), authorization=f"Bearer {pusher}")
        repository = Repository.parse_url(f"{registry.oci}/app")
        async with registries.client(repository, KNOWN, namespace="apps") as client:
            assert await client.tags() == ["v1"]
            assert await pull(client, "v1", tmp_path) == {"a": "x"}
        wrong = Access(Credentials(USER, "wrong"))
        async with registries.client(repository, wrong, namespace="apps") as client:
            with pytest.raises(Denied):
                await client.tags()
        other = Repository(repository.registry, "other")
        tokens.granted = "repository:app:pull"
        async with registries.client(other, KNOWN, namespace="apps") as client:
            with pytest.raises(Denied) as caught:
                await client.tags()

    assert tokens.scopes[0] == "repository:app:pull"
    assert caught.value.status == 401
