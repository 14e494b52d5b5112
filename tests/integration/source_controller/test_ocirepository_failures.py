"""What an OCIRepository says when it cannot be pulled, and that it then keeps what it has."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from fluvial.kube import kinds
from fluvial.objects import ObjectKey
from gitservers.certs import TestCA
from harness.oci import OciWorld
from harness.source import condition
from registries.fake import FakeRegistry
from registries.images import FLUX_CONTENT, Image, image_of, tarball
from registries.proxies import ConnectProxy

FILES = {"app.yaml": "v1\n"}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[OciWorld]:
    async with OciWorld.start(tmp_path) as world:
        assert isinstance(world, OciWorld)
        yield world


@pytest.fixture
async def fake() -> AsyncIterator[FakeRegistry]:
    async with FakeRegistry() as registry:
        yield registry


@pytest.mark.shows(
    "OCIRepository/FetchFailed/URLInvalid",
    "OCIRepository/Stalled/URLInvalid",
    "OCIRepository/Ready/URLInvalid",
)
async def test_an_address_with_a_tag_stalls(world: OciWorld) -> None:
    await world.oci(url="oci://registry.example/app:v1")
    obj = await world.until_failed("URLInvalid")

    for type_ in ("FetchFailed", "Stalled"):
        assert condition(obj, type_)["reason"] == "URLInvalid"
    assert obj["status"]["observedGeneration"] == 1
    assert not condition(obj, "Reconciling")


@pytest.mark.shows(
    "OCIRepository/FetchFailed/ReadOperationFailed",
    "OCIRepository/Ready/ReadOperationFailed",
    "OCIRepository/Reconciling/ProgressingWithRetry",
    "event:OCIRepository/failure",
)
@pytest.mark.parametrize(
    "ref",
    [
        {"semver": ">=9.0.0"},
        {"semver": "no range"},
        {"semver": "*", "semverFilter": "("},
        {"tag": "../v1"},
    ],
)
async def test_no_tag_can_be_found(
    ref: dict[str, str], world: OciWorld, fake: FakeRegistry
) -> None:
    fake.put("app", "1.0.0", image_of(FILES))
    await world.oci(url=f"{fake.oci}/app", ref=ref)
    obj = await world.until_failed("ReadOperationFailed")

    assert condition(obj, "FetchFailed")["status"] == "True"
    assert condition(obj, "Reconciling")["reason"] == "ProgressingWithRetry"
    assert (await world.until_event("ReadOperationFailed"))["type"] == "Warning"


@pytest.mark.shows(
    "OCIRepository/FetchFailed/OCIArtifactPullFailed",
    "OCIRepository/Ready/OCIArtifactPullFailed",
)
@pytest.mark.parametrize("ref", [{"tag": "v2"}, {"digest": "sha256:" + "0" * 64}, {"digest": "x"}])
async def test_what_is_not_there(ref: dict[str, str], world: OciWorld, fake: FakeRegistry) -> None:
    fake.put("app", "v1", image_of(FILES))
    await world.oci(url=f"{fake.oci}/app", ref=ref)
    obj = await world.until_failed("OCIArtifactPullFailed")

    assert condition(obj, "FetchFailed")["reason"] == "OCIArtifactPullFailed"
    assert "artifact" not in obj["status"]


@pytest.mark.shows("event:OCIRepository/Succeeded")
async def test_a_failure_keeps_the_artifact_until_it_is_over(
    world: OciWorld, fake: FakeRegistry
) -> None:
    fake.put("app", "v1", image_of(FILES))
    await world.oci(url=f"{fake.oci}/app", ref={"tag": "v1"})
    before = await world.until_ready()

    async def broken(request: web.Request) -> web.Response:
        return web.Response(status=403)

    fake.hook = broken
    await world.request("one")
    failed = await world.until_failed("OCIArtifactPullFailed")
    assert failed["status"]["artifact"] == before["status"]["artifact"]
    assert await world.files(failed) == FILES

    fake.hook = None
    await world.request("two")
    await world.until_ready()
    await world.until_event("Succeeded")


def _images() -> list[Any]:
    return [
        pytest.param(image_of([]), {}, "no layers", id="no layers"),
        pytest.param(image_of(FILES), {"mediaType": "x/y"}, "no layer with", id="media type"),
        pytest.param(image_of([(FLUX_CONTENT, b"no tar")]), {}, "damaged", id="no archive"),
        pytest.param(image_of({"../x": "y"}), {}, "unsafe name", id="traversal"),
        pytest.param(image_of({"/etc/x": "y"}), {}, "unsafe name", id="absolute"),
        pytest.param(
            image_of([(FLUX_CONTENT, tarball(FILES)[:-20])]), {}, "damaged", id="truncated"
        ),
    ]


@pytest.mark.shows(
    "OCIRepository/FetchFailed/OCIArtifactLayerOperationFailed",
    "OCIRepository/Ready/OCIArtifactLayerOperationFailed",
)
@pytest.mark.parametrize(("image", "selector", "message"), _images())
async def test_layers_that_cannot_be_used(
    image: Image,
    selector: dict[str, str],
    message: str,
    world: OciWorld,
    fake: FakeRegistry,
) -> None:
    fake.put("app", "v1", image)
    await world.oci(url=f"{fake.oci}/app", ref={"tag": "v1"}, layerSelector=selector)
    obj = await world.until_failed("OCIArtifactLayerOperationFailed")

    assert message in condition(obj, "FetchFailed")["message"]
    assert list((world.storage_path / ".work/.pulled").iterdir()) == []


@pytest.mark.shows("field:OCIRepository/spec.timeout")
async def test_a_registry_that_does_not_answer(world: OciWorld, fake: FakeRegistry) -> None:
    released = asyncio.Event()

    async def hang(request: web.Request) -> web.Response:
        await released.wait()
        return web.Response()

    fake.hook = hang
    await world.oci(url=f"{fake.oci}/app", timeout="50ms")
    obj = await world.until_failed("OCIArtifactPullFailed")
    released.set()

    assert "within 50ms" in condition(obj, "FetchFailed")["message"]


@pytest.mark.shows(
    "OCIRepository/StorageOperationFailed/ArchiveOperationFailed",
    "OCIRepository/Ready/ArchiveOperationFailed",
)
async def test_no_room(
    world: OciWorld, fake: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fluvial.artifact import publishing

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(publishing, "publish", full)
    fake.put("app", "v1", image_of(FILES))
    await world.oci(url=f"{fake.oci}/app", ref={"tag": "v1"})
    obj = await world.until_failed("ArchiveOperationFailed")

    assert "No space left on device" in condition(obj, "StorageOperationFailed")["message"]


async def test_a_metadata_service_is_no_registry(world: OciWorld) -> None:
    await world.oci(url="oci://169.254.169.254/app")
    obj = await world.until_failed("OCIArtifactPullFailed")

    assert "not allowed" in condition(obj, "FetchFailed")["message"]


# --- access ---------------------------------------------------------------------------------------


@pytest.mark.shows(
    "field:OCIRepository/spec.secretRef.name",
    "OCIRepository/FetchFailed/AuthenticationFailed",
    "OCIRepository/Ready/AuthenticationFailed",
)
async def test_a_pull_secret(world: OciWorld, fake: FakeRegistry) -> None:
    fake.put("app", "v1", image_of(FILES))
    fake.basic = ("user", "topsecret")
    spec: dict[str, Any] = {
        "url": f"{fake.oci}/app",
        "ref": {"tag": "v1"},
        "secretRef": {"name": "pull"},
    }
    await world.oci(**spec)
    await world.until_failed("AuthenticationFailed")
    await world.typed_secret("pull", "Opaque", {"username": b"user", "password": b"topsecret"})
    await world.request("opaque")
    obj = await world.until_handled("opaque")
    assert "must be of type kubernetes.io/dockerconfigjson" in condition(obj, "Ready")["message"]

    await world.client.delete(kinds.SECRET, ObjectKey("apps", "pull"))
    await world.pull_secret("pull", fake.host, "user", "wrong")
    await world.request("wrong")
    obj = await world.until_failed("OCIArtifactPullFailed")
    assert "answered 401" in condition(obj, "Ready")["message"]

    await world.pull_secret("pull", fake.host, "user", "topsecret")
    await world.request("right")
    obj = await world.until_ready()
    assert await world.files(obj) == FILES
    assert "topsecret" not in str(obj)


@pytest.mark.shows("field:OCIRepository/spec.serviceAccountName")
async def test_the_pull_secrets_of_a_service_account(world: OciWorld, fake: FakeRegistry) -> None:
    fake.put("app", "v1", image_of(FILES))
    fake.basic = ("user", "topsecret")
    spec: dict[str, Any] = {
        "url": f"{fake.oci}/app",
        "ref": {"tag": "v1"},
        "serviceAccountName": "puller",
    }
    await world.oci(**spec)
    await world.until_failed("AuthenticationFailed")

    await world.pull_secret("other", "registry.example", "user", "wrong")
    await world.pull_secret("pull", f"https://{fake.host}/v2/", "user", "topsecret")
    await world.service_account("puller", "other", "pull")
    await world.request("now")
    await world.until_ready()


@pytest.mark.shows(
    "field:OCIRepository/spec.certSecretRef.name", "field:OCIRepository/spec.insecure"
)
async def test_a_ca_of_ones_own(world: OciWorld, tmp_path: Path) -> None:
    ca = TestCA()
    async with FakeRegistry(tls=ca.server_context(tmp_path)) as registry:
        registry.put("app", "v1", image_of(FILES))
        url, ref, cert = f"{registry.oci}/app", {"tag": "v1"}, {"name": "ca"}
        await world.oci(url=url, ref=ref)
        await world.until_failed("OCIArtifactPullFailed")
        await world.oci(url=url, ref=ref, insecure=True)
        await world.until_ready()

        await world.typed_secret("ca", "Opaque", {"ca.crt": TestCA("other").pem.encode()})
        await world.oci("second", url=url, ref=ref, insecure=True, certSecretRef=cert)
        await world.until_failed("OCIArtifactPullFailed", "second")
        await world.typed_secret("ca", "Opaque", {"ca.crt": ca.pem.encode()})
        await world.oci("third", url=url, ref=ref, certSecretRef=cert)
        await world.until_ready("third")


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"tls.crt": b"x"},
        {"tls.key": b"topsecret"},
        {"ca.crt": b"topsecret"},
        {"ca.crt": b"\xff"},
        {"tls.crt": b"topsecret", "tls.key": b"topsecret"},
    ],
)
async def test_certificates_that_cannot_be_used(
    values: dict[str, bytes], world: OciWorld, fake: FakeRegistry
) -> None:
    await world.typed_secret("ca", "Opaque", values)
    await world.oci(url=f"{fake.oci}/app", certSecretRef={"name": "ca"})
    obj = await world.until_failed("AuthenticationFailed")

    assert "topsecret" not in str(obj["status"])
    assert fake.seen == []


@pytest.mark.shows("field:OCIRepository/spec.proxySecretRef.name")
async def test_a_proxy(world: OciWorld, fake: FakeRegistry) -> None:
    fake.put("app", "v1", image_of(FILES))
    async with ConnectProxy() as proxy:
        proxy.password = "me:topsecret"
        values = {"address": proxy.url.encode(), "username": b"me", "password": b"topsecret"}
        await world.typed_secret("proxy", "Opaque", values)
        spec: dict[str, Any] = {"url": f"{fake.oci}/app", "ref": {"tag": "v1"}}
        await world.oci(**spec, proxySecretRef={"name": "proxy"})
        obj = await world.until_ready()

    assert set(proxy.targets) == {fake.host}
    assert "topsecret" not in str(obj)


@pytest.mark.parametrize(
    "values",
    [{}, {"address": b"ftp://x"}, {"address": b"http://u:topsecret@x"}, {"address": b"\xff"}],
)
async def test_proxies_that_cannot_be_used(
    values: dict[str, bytes], world: OciWorld, fake: FakeRegistry
) -> None:
    await world.typed_secret("proxy", "Opaque", values)
    await world.oci(url=f"{fake.oci}/app", proxySecretRef={"name": "proxy"})
    obj = await world.until_failed("AuthenticationFailed")

    assert "topsecret" not in str(obj["status"])
    assert fake.seen == []
