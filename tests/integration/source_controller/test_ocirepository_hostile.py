"""Hostile content, restarts, and what may be read of secrets."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from fluvial.kube import kinds
from harness.oci import OciWorld
from harness.source import condition, fast_settings
from registries.fake import FakeRegistry
from registries.images import FLUX_CONTENT, image_of, tarball
from source_controller.assemble import Settings
from source_controller.git.model import Limits

_MIB = 1 << 20


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[OciWorld]:
    limits = Limits(max_tree_bytes=2 * _MIB, max_file_bytes=_MIB, max_entries=50)
    settings = Settings(requeue_dependency=0.2, retry_delays=(0.2, 1.0), limits=limits)
    async with OciWorld.start(tmp_path, settings=settings) as world:
        assert isinstance(world, OciWorld)
        yield world


@pytest.fixture
async def fake() -> AsyncIterator[FakeRegistry]:
    async with FakeRegistry() as registry:
        yield registry


def _entry(kind: bytes, name: str, target: str = "") -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, target
        archive.addfile(info)
        data = tarfile.TarInfo("app.yaml")
        data.size = 1
        archive.addfile(data, io.BytesIO(b"x"))
    return gzip.compress(packed.getvalue(), mtime=0)


def _layers() -> list[Any]:
    zeros = b"\0" * (_MIB - 1)
    return [
        pytest.param(tarball({"big": b"\0" * (_MIB + 1)}), "bytes", id="huge file"),
        pytest.param(tarball({f"f{n}": zeros for n in range(4)}), "more than", id="bomb"),
        pytest.param(gzip.compress(b"\0" * (8 * _MIB)), "holds more than", id="zeros"),
        pytest.param(tarball({f"f{n}": b"" for n in range(60)}), "entries", id="many entries"),
        pytest.param(tarball({"a/../../x": b""}), "unsafe name", id="traversal"),
        pytest.param(tarball({"/x": b""}), "unsafe name", id="absolute name"),
        pytest.param(tarball({"a\\x": b""}), "unsafe name", id="backslash"),
        pytest.param(_entry(tarfile.CHRTYPE, "dev"), "neither a file", id="device"),
        pytest.param(_entry(tarfile.FIFOTYPE, "pipe"), "neither a file", id="pipe"),
    ]


@pytest.mark.parametrize(("layer", "message"), _layers())
async def test_layers_that_mean_harm(
    layer: bytes, message: str, world: OciWorld, fake: FakeRegistry
) -> None:
    fake.put("app", "v1", image_of([(FLUX_CONTENT, layer)]))
    await world.oci(url=f"{fake.oci}/app", ref={"tag": "v1"})
    obj = await world.until_failed("OCIArtifactLayerOperationFailed")

    assert message in condition(obj, "FetchFailed")["message"]
    assert "artifact" not in obj["status"]
    assert list((world.storage_path / ".work/.pulled").iterdir()) == [], "nothing half done stays"


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE], ids=["symbolic", "hard"])
async def test_links_are_left_out(kind: bytes, world: OciWorld, fake: FakeRegistry) -> None:
    fake.put("app", "v1", image_of([(FLUX_CONTENT, _entry(kind, "link", "/etc/passwd"))]))
    await world.oci(url=f"{fake.oci}/app", ref={"tag": "v1"})
    obj = await world.until_ready()

    assert await world.files(obj) == {"app.yaml": "x"}


async def test_annotations_that_would_not_fit_a_status(world: OciWorld, fake: FakeRegistry) -> None:
    notes = {f"key-{n}": "x" * 1000 for n in range(100)}
    fake.put("app", "v1", image_of({"app.yaml": "x"}, annotations=notes))
    await world.oci(url=f"{fake.oci}/app", ref={"tag": "v1"})
    obj = await world.until_failed("OCIArtifactPullFailed")

    assert "annotations" in condition(obj, "FetchFailed")["message"]


async def test_a_restart_pulls_nothing_again(world: OciWorld, fake: FakeRegistry) -> None:
    fake.put("app", "v1", image_of({"app.yaml": "x"}))
    await world.oci(url=f"{fake.oci}/app", ref={"tag": "v1"})
    before = await world.until_ready()
    await world.stop_controller()
    fake.seen.clear()
    await world.start_controller(fast_settings())
    await world.request("again")
    after = await world.until_handled("again")

    assert after["status"]["artifact"] == before["status"]["artifact"]
    assert fake.paths("/v2/app") == ["HEAD /v2/app/manifests/v1"]
    assert await world.files(after) == {"app.yaml": "x"}


async def test_no_secret_is_told(
    world: OciWorld, fake: FakeRegistry, capsys: pytest.CaptureFixture[str]
) -> None:
    """A registry that repeats the credentials in whatever it answers."""

    async def echo(request: web.Request) -> web.Response:
        given = request.headers.get("Authorization", "")
        if not given:
            return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="x"'})
        errors = [{"code": "DENIED", "message": f"topsecret {given}", "detail": given}]
        return web.json_response({"errors": errors}, status=400, reason=f"topsecret {given}")

    fake.hook = echo
    await world.pull_secret("pull", fake.host, "user", "topsecret")
    await world.oci(url=f"{fake.oci}/app", secretRef={"name": "pull"}, ref={"semver": "*"})
    obj = await world.until_failed("ReadOperationFailed")
    events = (await world.client.list_all(kinds.EVENT, namespace="apps")).items
    logged = capsys.readouterr()

    told = f"{obj['status']} {events} {logged.out} {logged.err}"
    assert "answered 400 (DENIED)" in told
    assert "topsecret" not in told
    assert "dXNlcjp0b3BzZWNyZXQ" not in told, "nor in base64"
