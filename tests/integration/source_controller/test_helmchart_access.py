"""HelmChart: whose credentials go where, and what strangers send."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fluvial.kube import kinds
from fluvial.objects import ObjectKey
from gitservers.certs import TestCA
from harness.helmcharts import ChartWorld, chart, packed, publish
from harness.source import condition, fast_settings
from harness.webserver import FileHost

APP = packed(chart())
LOGIN = {"username": "robot", "password": "topsecret"}


@pytest.fixture
def charts(tmp_path: Path) -> Path:
    folder = tmp_path / "charts"
    folder.mkdir()
    publish(folder, APP)
    return folder


@pytest.fixture
async def host(charts: Path) -> AsyncIterator[FileHost]:
    async with FileHost(charts) as host:
        yield host


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[ChartWorld]:
    async with ChartWorld.start(tmp_path) as world:
        assert isinstance(world, ChartWorld)
        yield world


@pytest.mark.parametrize("shown", ["at home", "everywhere"])
async def test_credentials_go_to_another_host_only_if_asked(
    world: ChartWorld, host: FileHost, tmp_path: Path, shown: str
) -> None:
    """The index is on one host, the chart on another."""
    files = tmp_path / "files"
    files.mkdir()
    async with FileHost(files) as other:
        (files / "app.tgz").write_bytes(APP)
        publish(host.root, APP, urls=[f"{other.url}/app.tgz"])
        host.basic = ("robot", "topsecret")
        await world.secret("login", LOGIN)
        await world.helm_repository(
            url=host.url, secretRef={"name": "login"}, passCredentials=shown == "everywhere"
        )
        await world.chart()
        await world.until_ready()

        assert [bool(header) for header in other.authorizations] == [shown == "everywhere"]
        assert other.requests == ["/app.tgz"]


async def test_credentials_do_not_follow_a_redirect(
    world: ChartWorld, host: FileHost, tmp_path: Path
) -> None:
    files = tmp_path / "files"
    files.mkdir()
    (files / "app.tgz").write_bytes(APP)
    async with FileHost(files) as other:
        host.basic = ("robot", "topsecret")
        host.redirects["/app-1.0.0.tgz"] = f"{other.url}/app.tgz"
        await world.secret("login", LOGIN)
        await world.helm_repository(url=host.url, secretRef={"name": "login"}, passCredentials=True)
        await world.chart()
        await world.until_ready()

        assert other.authorizations == [""]


@pytest.mark.shows("HelmChart/FetchFailed/AuthenticationFailed")
async def test_a_host_that_wants_other_credentials(world: ChartWorld, host: FileHost) -> None:
    await world.secret("login", LOGIN)
    await world.helm_repository(url=host.url, secretRef={"name": "login"})
    await world.of(kinds.HELM_REPOSITORY).until_ready("charts")
    host.basic = ("robot", "another")
    await world.chart()
    obj = await world.until_failed("AuthenticationFailed")
    assert condition(obj, "FetchFailed")["reason"] == "AuthenticationFailed"
    assert "401 Unauthorized" in condition(obj, "Ready")["message"]
    assert "topsecret" not in str(obj)
    await world.client.delete(kinds.SECRET, ObjectKey("apps", "login"))
    await world.request("without the Secret")
    obj = await world.until_handled("without the Secret")
    assert "secret 'apps/login' not found" in condition(obj, "Ready")["message"]

    await world.secret("login", LOGIN | {"password": "another"})
    await world.until_ready()


async def test_what_one_secret_opened_does_not_serve_another(
    world: ChartWorld, host: FileHost
) -> None:
    """The chart was just downloaded, with credentials that this object does not have."""
    await world.secret("login", LOGIN)
    for name, secret in (("charts", {"name": "login"}), ("open", None)):
        await world.helm_repository(name, url=host.url, secretRef=secret)
        await world.of(kinds.HELM_REPOSITORY).until_ready(name)
    host.basic = ("robot", "topsecret")
    await world.chart("mine")
    await world.until_ready("mine")
    await world.chart(sourceRef={"kind": "HelmRepository", "name": "open"})
    obj = await world.until_failed("AuthenticationFailed")

    assert "artifact" not in obj["status"]


async def test_a_chart_over_tls(world: ChartWorld, charts: Path, tmp_path: Path) -> None:
    ca = TestCA("good")
    (tmp_path / "tls").mkdir()
    async with FileHost(charts, tls=ca.server_context(tmp_path / "tls")) as host:
        await world.secret("ca", {"ca.crt": ca.pem})
        await world.helm_repository(url=host.url, certSecretRef={"name": "ca"})
        await world.chart()
        await world.until_ready()
        await world.secret("ca", {"ca.crt": TestCA("other").pem})
        await world.chart("app", version="1.x")
        obj = await world.until_failed("AuthenticationFailed")

    assert "certificate is not trusted" in condition(obj, "Ready")["message"]


async def test_where_a_relative_address_leads(world: ChartWorld, host: FileHost) -> None:
    """The repository's query counts for what is below it."""
    (host.root / "deep" / "files").mkdir(parents=True)
    publish(host.root / "deep", APP, urls=["files/app.tgz?own=1"])
    (host.root / "deep/files/app.tgz").write_bytes(APP)
    await world.helm_repository(url=f"{host.url}/deep?token=1")
    await world.chart()
    await world.until_ready()

    assert host.requests[-1] == "/deep/files/app.tgz?token=1"


# --- hostile packages -----------------------------------------------------------------------------


def _entry(name: str, *, size: int = 0, kind: bytes = tarfile.REGTYPE, link: str = "") -> bytes:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        for path, text in chart().items():
            info = tarfile.TarInfo(f"app/{path}")
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
        info = tarfile.TarInfo(name)
        info.type, info.size, info.linkname = kind, size, link
        archive.addfile(info, io.BytesIO(bytes(size)))
    return gzip.compress(plain.getvalue(), compresslevel=1)


def _bomb() -> bytes:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        for number in range(24):
            info = tarfile.TarInfo(f"app/{number}")
            info.size = 5 << 20
            archive.addfile(info, io.BytesIO(bytes(info.size)))
    return gzip.compress(plain.getvalue(), compresslevel=1)


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "no archive": (lambda: b"<html>", "damaged"),
    "truncated": (lambda: APP[:-40], "damaged"),
    "climbs out": (lambda: _entry("app/../../x"), "unsafe name"),
    "absolute": (lambda: _entry("/etc/x"), "unsafe name"),
    "device": (lambda: _entry("app/x", kind=tarfile.CHRTYPE), "neither a file nor a folder"),
    "beside": (lambda: _entry("x", size=1), "outside of the chart's folder"),
    "large file": (lambda: _entry("app/x", size=(5 << 20) + 1), "has 5242881 bytes"),
    "bomb": (_bomb, "holds more than 104857600 bytes"),
    "empty": (lambda: packed({}), "no Chart.yaml"),
}


async def test_hostile_packages(world: ChartWorld, host: FileHost) -> None:
    """Each is refused with its reason, and the next one is fetched all the same."""
    await world.helm_repository(url=host.url)
    await world.of(kinds.HELM_REPOSITORY).until_ready("charts")
    publish(host.root, *(packed(chart(name.replace(" ", "-"))) for name in HOSTILE), digest="")
    await world.of(kinds.HELM_REPOSITORY).request("now", "charts")
    await world.of(kinds.HELM_REPOSITORY).until_handled("now", "charts")
    for name, (make, _) in HOSTILE.items():
        chart_name = name.replace(" ", "-")
        (host.root / f"{chart_name}-1.0.0.tgz").write_bytes(make())
        await world.chart(chart_name, chart=chart_name)

    for name, (_, problem) in HOSTILE.items():
        obj = await world.until_failed("ChartPullError", name.replace(" ", "-"))
        assert problem in condition(obj, "Ready")["message"], name
        assert "artifact" not in obj["status"]
    left = [path for path in world.storage_path.rglob("*.tgz") if ".work" not in path.parts]
    assert left == []


async def test_a_package_that_the_index_does_not_describe(
    world: ChartWorld, host: FileHost
) -> None:
    (host.root / "app-1.0.0.tgz").write_bytes(packed(chart(version="6.6.6")))
    await world.helm_repository(url=host.url)
    await world.chart()
    obj = await world.until_failed("ChartPullError")

    assert "another digest" in condition(obj, "Ready")["message"]


async def test_a_package_that_is_too_large(world: ChartWorld, host: FileHost) -> None:
    await world.stop_controller()
    await world.start_controller(replace(fast_settings(), max_chart_bytes=100))
    await world.helm_repository(url=host.url)
    await world.chart()
    obj = await world.until_failed("ChartPullError")

    assert "exceeds the maximum size of 100 bytes" in condition(obj, "Ready")["message"]


async def test_addresses_that_lead_nowhere(world: ChartWorld, host: FileHost) -> None:
    addresses = ("file:///etc/passwd", "http://169.254.169.254/app.tgz", "http://[", "s3://a/b")
    for number, address in enumerate(addresses):
        (host.root / str(number)).mkdir()
        publish(host.root / str(number), APP, urls=[address])
        await world.helm_repository(f"charts-{number}", url=f"{host.url}/{number}")
        source = {"kind": "HelmRepository", "name": f"charts-{number}"}
        await world.chart(f"app-{number}", sourceRef=source)

    for number in range(len(addresses)):
        obj = await world.until_failed("ChartPullError", f"app-{number}")
        assert "artifact" not in obj["status"]
