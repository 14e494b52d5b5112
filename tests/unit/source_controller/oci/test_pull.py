"""What a correct registry gives, and what is refused of one that lies."""

from __future__ import annotations

import asyncio
from pathlib import Path

import orjson
import pytest
from aiohttp import web

from fluvial.artifact.digest import Digest
from registries.clients import Connect, limited
from registries.fake import FakeRegistry
from registries.images import FLUX_CONTENT, INDEX, MANIFEST, digest_of, image_of, index_of, tarball
from source_controller.oci.errors import (
    ContentTooLarge,
    InvalidContent,
    InvalidReference,
    NoMatch,
    NotFound,
    RegistryError,
    RegistryUnreachable,
)
from source_controller.oci.layers import select_layer
from source_controller.oci.limits import Limits


async def test_a_tag_is_resolved_and_pulled_by_digest(
    fake: FakeRegistry, connect: Connect, tmp_path: Path
) -> None:
    image = fake.put("team/app", "v1", image_of({"a.yaml": "x"}, annotations={"k": "v"}))

    async with connect(f"{fake.oci}/team/app") as client:
        digest = await client.resolve("v1")
        manifest = await client.manifest(digest)
        layer = select_layer(manifest, "")
        await client.download(layer, tmp_path / "blob")

    assert str(digest) == image.digest
    assert manifest.annotations == {"k": "v"}
    assert layer.media_type == FLUX_CONTENT
    assert (tmp_path / "blob").read_bytes() == tarball({"a.yaml": "x"})
    assert fake.paths("/v2/team") == [
        "HEAD /v2/team/app/manifests/v1",
        f"GET /v2/team/app/manifests/{image.digest}",
        f"GET /v2/team/app/blobs/{layer.digest}",
    ]


@pytest.mark.parametrize("answer", ["no digest", "405", "bad digest"])
async def test_a_tag_is_resolved_without_help_of_head(
    answer: str, fake: FakeRegistry, connect: Connect
) -> None:
    image = fake.put("app", "v1", image_of({}))

    async def hook(request: web.Request) -> web.Response | None:
        if request.method != "HEAD":
            return None
        if answer == "405":
            return web.Response(status=405)
        return web.Response(
            headers={"Docker-Content-Digest": "x" if answer == "bad digest" else ""}
        )

    fake.hook = hook
    async with connect(f"{fake.oci}/app") as client:
        assert str(await client.resolve("v1")) == image.digest


async def test_what_is_missing(fake: FakeRegistry, connect: Connect, tmp_path: Path) -> None:
    image = fake.put("app", "v1", image_of({}))

    async with connect(f"{fake.oci}/app") as client:
        with pytest.raises(NotFound) as caught:
            await client.resolve("v2")
        with pytest.raises(NotFound):
            await client.document(Digest("sha256", "0" * 64))
        layer = select_layer(await client.manifest(Digest.parse(image.digest)), "")
        fake.blobs.clear()
        with pytest.raises(NotFound):
            await client.download(layer, tmp_path / "blob")
    async with connect(f"{fake.oci}/other") as client:
        with pytest.raises(NotFound):
            await client.tags()

    assert caught.value.codes == ("MANIFEST_UNKNOWN",)
    assert "(MANIFEST_UNKNOWN)" in str(caught.value)


async def test_a_tag_cannot_lead_to_another_path(fake: FakeRegistry, connect: Connect) -> None:
    async with connect(f"{fake.oci}/app") as client:
        for tag in ("../../token", "v1?x=y", "v1/../v2", ""):
            with pytest.raises(InvalidReference):
                await client.resolve(tag)

    assert fake.paths("/v2/app") == []


# --- content that is not what it should be --------------------------------------------------------


async def serve(fake: FakeRegistry, path: str, body: bytes, **headers: str) -> None:
    """Answer GETs of a path with other bytes."""

    async def hook(request: web.Request) -> web.Response | None:
        if request.path == path and request.method == "GET":
            return web.Response(
                body=body,
                headers={name.replace("_", "-"): value for name, value in headers.items()},
            )
        return None

    fake.hook = hook


async def test_a_manifest_under_anothers_digest(fake: FakeRegistry, connect: Connect) -> None:
    good, bad = image_of({"a": "good"}), image_of({"a": "bad"})
    fake.put("app", "v1", good)
    await serve(fake, f"/v2/app/manifests/{good.digest}", bad.body, Content_Type=MANIFEST)

    async with connect(f"{fake.oci}/app") as client:
        with pytest.raises(InvalidContent):
            await client.manifest(Digest.parse(good.digest))


async def test_a_digest_header_that_lies(fake: FakeRegistry, connect: Connect) -> None:
    good, bad = image_of({"a": "good"}), image_of({"a": "bad"})
    await serve(
        fake,
        "/v2/app/manifests/v1",
        bad.body,
        Content_Type=MANIFEST,
        Docker_Content_Digest=good.digest,
    )

    async with connect(f"{fake.oci}/app") as client:
        with pytest.raises(InvalidContent):
            await client.document("v1")


@pytest.mark.parametrize("change", ["other", "shorter", "longer", "gzip"])
async def test_a_blob_that_is_another(
    change: str, fake: FakeRegistry, connect: Connect, tmp_path: Path
) -> None:
    image = fake.put("app", "v1", image_of({"a": "x" * 1000}))
    blob = tarball({"a": "x" * 1000})
    sent = {
        "other": blob[:-1] + b"?",
        "shorter": blob[:-1],
        "longer": blob + b"?",
        "gzip": b"x" * len(blob),
    }[change]
    encoding = {"Content_Encoding": "gzip"} if change == "gzip" else {}
    await serve(fake, f"/v2/app/blobs/{digest_of(blob)}", sent, **encoding)

    async with connect(f"{fake.oci}/app") as client:
        layer = select_layer(await client.manifest(Digest.parse(image.digest)), "")
        with pytest.raises(InvalidContent):
            await client.download(layer, tmp_path / "blob")
        with pytest.raises(InvalidContent):
            await client.blob(layer)


@pytest.mark.parametrize(
    ("body", "media_type"),
    [
        (b"no json", MANIFEST),
        (b"[]", MANIFEST),
        (b'{"layers": {}}', MANIFEST),
        (b'{"layers": [1]}', MANIFEST),
        (b'{"layers": [{"digest": "sha256:x", "size": 1}]}', MANIFEST),
        (orjson.dumps({"layers": [{"digest": digest_of(b""), "size": -1}]}), MANIFEST),
        (orjson.dumps({"layers": [{"digest": digest_of(b""), "size": True}]}), MANIFEST),
        (orjson.dumps({"layers": [{"digest": digest_of(b"")}]}), MANIFEST),
        (b'{"annotations": {"a": 1}}', MANIFEST),
        (b'{"annotations": []}', MANIFEST),
        (b'{"layers": [], "manifests": []}', MANIFEST),
        (b'{"layers": [], "manifests": []}', INDEX),
        (orjson.dumps({"mediaType": INDEX, "layers": []}), MANIFEST),
        (b'{"manifests": 1}', INDEX),
        (b"{}", "text/html"),
        (b"{}", "application/vnd.docker.distribution.manifest.v1+prettyjws"),
    ],
)
async def test_malformed_manifests(
    body: bytes, media_type: str, fake: FakeRegistry, connect: Connect
) -> None:
    await serve(fake, f"/v2/app/manifests/{digest_of(body)}", body, Content_Type=media_type)

    async with connect(f"{fake.oci}/app") as client:
        with pytest.raises((InvalidContent, NoMatch)):
            await client.manifest(Digest.parse(digest_of(body)))


# --- indexes --------------------------------------------------------------------------------------


def platform(system: str, architecture: str) -> dict[str, object]:
    return {"platform": {"os": system, "architecture": architecture}}


async def test_an_index_stands_for_its_child_for_linux_amd64(
    fake: FakeRegistry, connect: Connect
) -> None:
    arm, amd, other = (image_of({"a": name}) for name in ("arm", "amd", "other"))
    children = [
        (arm, platform("linux", "arm64")),
        (amd, platform("linux", "amd64")),
        (other, platform("linux", "amd64")),
    ]
    index = fake.put("app", "v1", index_of(children))
    plain = fake.put("app", "v2", index_of([(arm, platform("linux", "arm64")), (other, {})]))
    nested = fake.put("app", "v3", index_of([(index, {})]))
    none = fake.put("app", "v4", index_of([(arm, platform("linux", "arm64"))]))

    async with connect(f"{fake.oci}/app") as client:
        assert str(await client.resolve("v1")) == index.digest
        assert str((await client.manifest(Digest.parse(index.digest))).digest) == amd.digest
        assert str((await client.manifest(Digest.parse(plain.digest))).digest) == other.digest
        assert str((await client.manifest(Digest.parse(nested.digest))).digest) == amd.digest
        with pytest.raises(NoMatch):
            await client.manifest(Digest.parse(none.digest))


async def test_indexes_in_indexes_end(fake: FakeRegistry, connect: Connect) -> None:
    deep = image_of({})
    for _ in range(4):
        deep = index_of([(deep, {})])
    fake.put("app", "v1", deep)

    async with connect(f"{fake.oci}/app") as client:
        with pytest.raises(InvalidContent):
            await client.manifest(Digest.parse(deep.digest))


# --- tags -----------------------------------------------------------------------------------------


async def test_tags_come_in_pages(fake: FakeRegistry, connect: Connect) -> None:
    wanted = [f"v{number:03}" for number in range(25)]
    for tag in wanted:
        fake.put("app", tag, image_of({}))
    fake.page = 10

    async with connect(f"{fake.oci}/app") as client:
        assert await client.tags() == wanted
    assert len(fake.paths("/v2/app/tags")) == 3


@pytest.mark.parametrize(
    "link",
    [
        "<http://127.0.0.1:1/v2/app/tags/list?last=x>; rel=next",
        "</v2/other/tags/list?last=x>; rel=next",
        "</v2/app/tags/list?n=1000>; rel=next",
        "<//evil.example/v2/app/tags/list?last=x>; rel=next",
        "<http://[/>; rel=next",
    ],
)
async def test_a_link_that_leads_elsewhere(link: str, fake: FakeRegistry, connect: Connect) -> None:
    await serve(fake, "/v2/app/tags/list", b'{"tags": ["a"]}', Link=link)

    async with connect(f"{fake.oci}/app") as client:
        with pytest.raises(InvalidContent):
            await client.tags()


async def test_endless_tags_end(fake: FakeRegistry) -> None:
    count = 0

    async def hook(request: web.Request) -> web.Response | None:
        nonlocal count
        if not request.path.endswith("/tags/list"):
            return None
        count += 1
        link = f"</v2/app/tags/list?last={count}>; rel=next"
        return web.json_response({"tags": ["a", "b"]}, headers={"Link": link})

    fake.hook = hook
    for limits in (Limits(max_pages=5), Limits(max_tags=5), Limits(max_list=50)):
        async with limited(limits, f"{fake.oci}/app") as client:
            with pytest.raises(ContentTooLarge):
                await client.tags()
    assert count == 5 + 3 + 3


async def test_a_registry_that_does_not_know_its_own_host(
    fake: FakeRegistry, connect: Connect
) -> None:
    """The next page is asked of the registry, not of the host in its link."""

    async def hook(request: web.Request) -> web.Response | None:
        if not request.path.endswith("/tags/list"):
            return None
        if request.query.get("last") == "a":
            return web.json_response({"tags": ["b"]})
        link = "<https://internal.example/v2/app/tags/list?last=a>; rel=next"
        return web.json_response({"tags": ["a"]}, headers={"Link": link})

    fake.hook = hook
    async with connect(f"{fake.oci}/app") as client:
        assert await client.tags() == ["a", "b"]


@pytest.mark.parametrize("body", [b"", b"[]", b'{"tags": 1}', b'{"tags": [1]}'])
async def test_malformed_tags(body: bytes, fake: FakeRegistry, connect: Connect) -> None:
    await serve(fake, "/v2/app/tags/list", body)

    async with connect(f"{fake.oci}/app") as client:
        with pytest.raises(InvalidContent):
            await client.tags()


# --- sizes and times ------------------------------------------------------------------------------


async def test_sizes_are_bounded(fake: FakeRegistry, tmp_path: Path) -> None:
    image = fake.put("app", "v1", image_of({"a": "x"}))
    url = f"{fake.oci}/app"

    async with limited(Limits(max_manifest=10), url) as client:
        with pytest.raises(ContentTooLarge):
            await client.document("v1")
    async with limited(Limits(max_blob=10, max_small_blob=10), url) as client:
        layer = select_layer(await client.manifest(Digest.parse(image.digest)), "")
        with pytest.raises(ContentTooLarge):
            await client.download(layer, tmp_path / "blob")
        with pytest.raises(ContentTooLarge):
            await client.blob(layer)
    assert not fake.paths("/v2/app/blobs")


async def test_a_body_without_length_is_bounded_too(fake: FakeRegistry) -> None:
    async def hook(request: web.Request) -> web.StreamResponse | None:
        if "/manifests/" not in request.path:
            return None
        response = web.StreamResponse(headers={"Content-Type": MANIFEST})
        response.enable_chunked_encoding()
        await response.prepare(request)
        for _ in range(1000):
            await response.write(b" " * 1000)
        return response

    fake.hook = hook
    async with limited(Limits(max_manifest=2000), f"{fake.oci}/app") as client:
        with pytest.raises(ContentTooLarge):
            await client.document("v1")


async def test_too_many_headers(fake: FakeRegistry, connect: Connect) -> None:
    await serve(fake, "/v2/", b"{}", X_Long="x" * (64 << 10))

    async with connect(f"{fake.oci}/app") as client:
        with pytest.raises(RegistryUnreachable):
            await client.tags()


async def test_an_upstream_that_drips_is_left(fake: FakeRegistry, tmp_path: Path) -> None:
    image = fake.put("app", "v1", image_of({"a": "x"}))
    released = asyncio.Event()

    async def hook(request: web.Request) -> web.StreamResponse | None:
        if "/blobs/" not in request.path:
            return None
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        for _ in range(100):
            await response.write(b"x")
            await asyncio.sleep(0.001)
        await released.wait()
        return response

    fake.hook = hook
    limits = Limits(slow_after=0.0, min_rate=1 << 30)
    async with limited(limits, f"{fake.oci}/app") as client:
        layer = select_layer(await client.manifest(Digest.parse(image.digest)), "")
        with pytest.raises(RegistryUnreachable) as caught:
            await client.download(layer, tmp_path / "blob")
    released.set()
    assert "bytes/s" in str(caught.value)


async def test_an_answer_that_never_comes(fake: FakeRegistry) -> None:
    async def hook(request: web.Request) -> web.StreamResponse | None:
        await asyncio.sleep(30)
        return None

    fake.hook = hook
    limits = Limits(answer_seconds=0.02, attempts=2)
    async with limited(limits, f"{fake.oci}/app") as client:
        with pytest.raises(RegistryUnreachable) as caught:
            await client.tags()
    assert "did not answer in time" in str(caught.value)


# --- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "after"), [(429, "1"), (500, "\u00b2"), (503, "-1")])
async def test_passing_errors_are_tried_again(
    status: int, after: str, fake: FakeRegistry, connect: Connect
) -> None:
    fake.put("app", "v1", image_of({}))
    left = 2

    async def hook(request: web.Request) -> web.Response | None:
        nonlocal left
        if request.path == "/v2/" or not left:
            return None
        left -= 1
        return web.Response(status=status, headers={"Retry-After": after})

    fake.hook = hook
    async with connect(f"{fake.oci}/app") as client:
        assert await client.tags() == ["v1"]
        left = 99
        with pytest.raises(RegistryError) as caught:
            await client.tags()
    assert caught.value.status == status
    assert left == 96


async def test_an_error_never_repeats_what_the_server_says(
    fake: FakeRegistry, connect: Connect
) -> None:
    errors = {"errors": [{"code": "DENIED", "message": "topsecret"}, {"code": "<b>topsecret"}]}

    async def hook(request: web.Request) -> web.Response | None:
        return None if request.path == "/v2/" else web.json_response(errors, status=418)

    fake.hook = hook
    async with connect(f"{fake.oci}/app") as client:
        with pytest.raises(RegistryError) as caught:
            await client.tags()
    assert "418 (DENIED)" in str(caught.value)
    assert "topsecret" not in str(caught.value)


async def test_a_server_that_is_no_registry(fake: FakeRegistry, connect: Connect) -> None:
    async def hook(request: web.Request) -> web.Response | None:
        return web.Response(status=404, text="hello")

    fake.hook = hook
    async with connect(f"{fake.oci}/app") as client:
        with pytest.raises(RegistryError, match="is no registry"):
            await client.tags()


# --- referrers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("api", [True, False])
async def test_referrers_by_the_api_and_by_the_tag(
    *, api: bool, fake: FakeRegistry, connect: Connect
) -> None:
    image = fake.put("app", "v1", image_of({}))
    signature = image_of([("x/sig", b"sig")], subject=image, artifact_type="x/type")
    fake.put("app", "", signature)
    fake.referrers_api = api
    if not api:
        more = {"artifactType": "x/type"}
        fake.put("app", image.digest.replace(":", "-"), index_of([(signature, more)]))

    async with connect(f"{fake.oci}/app") as client:
        found = await client.referrers(Digest.parse(image.digest))
        nothing = await client.referrers(Digest("sha256", "0" * 64))

    assert [(str(item.digest), item.artifact_type) for item in found] == [
        (signature.digest, "x/type")
    ]
    assert nothing == ()
