"""Sources as folders: checked every time, unpacked once, and nobody else's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from fluvial.api.meta import Artifact
from fluvial.artifact.errors import ArtifactError, ArtifactNotFound, DigestMismatch
from fluvial.artifact.storage import Storage
from fluvial.artifact.tar import UnpackLimits
from fluvial.clock import RealClock
from fluvial.errors import FluvialError
from fluvial.log import get_logger
from fluvial.net.dialer import Dialer
from fluvial.net.policy import AddressPolicy
from fluvial.objects import ObjectKey
from source_controller.artifactgenerator.sources import ObservedSource, digest_of
from source_controller.artifactgenerator.trees import SourceTrees

KEY = ObjectKey("apps", "repo")


@dataclass
class Setup:
    """A storage with one artifact of a GitRepository, and the trees."""

    storage: Storage
    trees: SourceTrees
    source: ObservedSource
    folder: Path

    async def content(self, source: ObservedSource) -> dict[str, str]:
        async with self.trees.open(source) as tree:
            return {
                str(path.relative_to(tree.path)): path.read_text()
                for path in tree.path.rglob("*")
                if path.is_file()
            }


@pytest.fixture
async def setup(tmp_path: Path) -> AsyncIterator[Setup]:
    clock, log = RealClock(), get_logger("test")
    storage = Storage(tmp_path / "storage", adv_addr="127.0.0.1:1", clock=clock, log=log)
    await storage.start()
    content = tmp_path / "content"
    content.mkdir()
    (content / "app.yaml").write_text("v1")
    artifact = await storage.archive(
        content,
        path=storage.relative_path("GitRepository", KEY, "1.tar.gz"),
        revision="main@sha1:1",
        keep_for=lambda _: lambda _path, _is_folder: True,
    )
    trees = SourceTrees(
        storage.base / ".work/.sources",
        storage=storage,
        dialer=Dialer(AddressPolicy.build()),
        clock=clock,
        limits=UnpackLimits(),
        max_bytes=1 << 20,
        retries=0,
    )
    async with trees:
        source = ObservedSource("GitRepository", KEY, artifact)
        yield Setup(storage, trees, source, tmp_path)
    storage.stop()


async def test_an_altered_file_is_not_unpacked(setup: Setup) -> None:
    setup.storage.local_path(setup.source.artifact).write_bytes(b"altered")

    with pytest.raises(DigestMismatch):
        await setup.content(setup.source)


async def test_an_altered_file_is_not_hidden_by_what_was_unpacked(setup: Setup) -> None:
    assert await setup.content(setup.source) == {"app.yaml": "v1"}
    setup.storage.local_path(setup.source.artifact).write_bytes(b"altered")

    with pytest.raises(DigestMismatch):
        await setup.content(setup.source)


async def test_a_missing_file_is_said(setup: Setup) -> None:
    setup.storage.local_path(setup.source.artifact).unlink()

    with pytest.raises(ArtifactNotFound):
        await setup.content(setup.source)


async def test_a_link_in_the_storage_is_not_followed(setup: Setup) -> None:
    path = setup.storage.local_path(setup.source.artifact)
    path.rename(setup.folder / "elsewhere")
    path.symlink_to(setup.folder / "elsewhere")

    with pytest.raises(ArtifactError):
        await setup.content(setup.source)


@pytest.mark.parametrize("kind", ["ExternalArtifact", "GitRepository"])
async def test_a_file_of_another_object_is_not_read_from_the_storage(
    setup: Setup, kind: str
) -> None:
    """An address in our own storage that is not the source's goes the way of all addresses."""
    thief = ObservedSource(kind, ObjectKey("evil", "x"), setup.source.artifact)

    with pytest.raises(FluvialError):
        await setup.content(thief)
    assert setup.trees.unpacked == 0


@pytest.mark.parametrize(
    "url",
    ["http://169.254.169.254/x", "http://127.0.0.1:1/x", "http://[::1]/x", "file:///etc/passwd"],
)
async def test_no_address_leads_to_where_nobody_should_look(setup: Setup, url: str) -> None:
    artifact = msgspec.structs.replace(setup.source.artifact, url=url, path="x/y")

    with pytest.raises(FluvialError):
        await setup.content(ObservedSource("ExternalArtifact", KEY, artifact))


async def test_it_is_unpacked_once(setup: Setup) -> None:
    async with setup.trees.open(setup.source) as first, setup.trees.open(setup.source) as second:
        assert first.path == second.path
    assert await setup.content(setup.source) == {"app.yaml": "v1"}
    assert setup.trees.unpacked == 1


def observed(**changes: object) -> ObservedSource:
    artifact = Artifact(
        digest="sha256:1", last_update_time="", path="p", revision="r", url="http://s/p"
    )
    return ObservedSource("GitRepository", KEY, msgspec.structs.replace(artifact, **changes))


@pytest.mark.parametrize(
    "change",
    [
        {"digest": "sha256:2"},
        {"revision": "r2"},
        {"url": "http://t/p"},
        {"metadata": {"org.opencontainers.image.revision": "o"}},
    ],
    ids=["digest", "revision", "url", "origin"],
)
def test_the_digest_of_sources_says_when_one_changed(change: dict[str, object]) -> None:
    before = {"a": observed(), "b": observed()}

    assert digest_of({"a": observed(), "b": observed(**change)}) != digest_of(before)
    assert digest_of({"c": observed(), "b": observed()}) != digest_of(before)


def test_the_digest_of_sources_is_of_no_order_and_no_dates() -> None:
    one = {"a": observed(), "b": observed(revision="x")}
    two = {"b": observed(revision="x", last_update_time="now"), "a": observed(size=1)}

    assert digest_of(one) == digest_of(two)
