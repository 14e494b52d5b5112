"""Bucket from the cluster's view, with a real S3 server where it says so."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web

from harness.source import condition
from objectstores.fake import FakeStorage
from objectstores.moto import Moto, moto_server
from objectstores.world import BucketWorld, bucket_world
from source_controller.bucket import lending


@pytest.fixture(scope="module")
def moto() -> Iterator[Moto]:
    with moto_server() as server:
        yield server


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[BucketWorld]:
    async with bucket_world(tmp_path) as world:
        yield world


@pytest.fixture
async def fake() -> AsyncIterator[FakeStorage]:
    async with FakeStorage() as storage:
        yield storage


def revision_of(**etags: str) -> str:
    text = "".join(f"{key} {etags[key]}\n" for key in sorted(etags))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


@pytest.mark.shows(
    "Bucket/Ready/Succeeded",
    "Bucket/ArtifactInStorage/Succeeded",
    "event:Bucket/NewArtifact",
    "field:Bucket/spec.bucketName",
    "field:Bucket/spec.endpoint",
    "field:Bucket/spec.insecure",
    "field:Bucket/spec.secretRef.name",
)
async def test_objects_of_a_real_bucket_become_an_artifact(world: BucketWorld, moto: Moto) -> None:
    files = {"app.yaml": "v1\n", "deep/er/a b+ü~(1).yaml": "odd\n", "deep/app.yaml": ""}
    moto.make_bucket("first")
    moto.put("first", "folder/", "")
    for key, content in files.items():
        moto.put("first", key, content)
    await world.secret("keys", moto.secret)
    await world.bucket(bucketName="first", endpoint=moto.endpoint, secretRef={"name": "keys"})
    obj = await world.until_ready()

    artifact = obj["status"]["artifact"]
    assert artifact["revision"] == revision_of(**{key: md5(text) for key, text in files.items()})
    assert artifact["path"].endswith(f"/{artifact['revision'].removeprefix('sha256:')}.tar.gz")
    assert await world.files(obj) == files
    assert obj["status"]["url"].endswith("bucket/apps/app/latest.tar.gz")
    assert condition(obj, "ArtifactInStorage")["reason"] == "Succeeded"
    event = await world.until_event("NewArtifact")
    assert event["message"] == "stored artifact with 3 fetched files from 'first' bucket"


@pytest.mark.shows("Bucket/FetchFailed/BucketOperationFailed", "Bucket/Ready/BucketOperationFailed")
@pytest.mark.parametrize(
    ("secret", "bucket", "message"),
    [
        ({"secretkey": "wrong"}, "keyed", "answered 403 (SignatureDoesNotMatch)"),
        ({"accesskey": "AKIAWRONG"}, "keyed", "answered 403 (InvalidAccessKeyId)"),
        ({}, "absent", "bucket 'absent' not found"),
    ],
    ids=["secret key", "access key", "bucket"],
)
async def test_a_real_server_refuses(
    secret: dict[str, str], bucket: str, message: str, world: BucketWorld, moto: Moto
) -> None:
    moto.make_bucket("keyed")
    await world.secret("keys", moto.secret | secret)
    await world.bucket(bucketName=bucket, endpoint=moto.endpoint, secretRef={"name": "keys"})
    obj = await world.until_failed("BucketOperationFailed")

    assert message in condition(obj, "FetchFailed")["message"]
    assert moto.keys.secret_key not in str(obj)
    assert "artifact" not in obj["status"]


async def test_temporary_keys_are_taken_by_a_real_server(
    world: BucketWorld, moto: Moto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lending, "check_lent", lambda *_: None)  # Amazon is on loopback here
    moto.make_bucket("temporary")
    moto.put("temporary", "app.yaml", "v1\n")
    world.identities.role = moto.assume_role()
    await world.bucket(bucketName="temporary", endpoint=moto.endpoint, provider="aws")
    obj = await world.until_ready()
    assert await world.files(obj) == {"app.yaml": "v1\n"}

    world.identities.role = replace(world.identities.role, session_token="forged")
    await world.request("now")
    obj = await world.until_failed("BucketOperationFailed")
    assert "answered 400 (InvalidToken)" in condition(obj, "FetchFailed")["message"]
    assert "forged" not in str(obj)


@pytest.mark.shows("field:Bucket/spec.prefix")
async def test_a_prefix_stays_part_of_the_names(world: BucketWorld, moto: Moto) -> None:
    moto.make_bucket("prefixed")
    for key in ("base/app.yaml", "base/db.yaml", "other/app.yaml", "base.yaml"):
        moto.put("prefixed", key, key)
    await world.secret("keys", moto.secret)
    await world.bucket(
        bucketName="prefixed", endpoint=moto.endpoint, secretRef={"name": "keys"}, prefix="base/"
    )
    obj = await world.until_ready()

    assert set(await world.files(obj)) == {"base/app.yaml", "base/db.yaml"}


@pytest.mark.shows(
    "field:Bucket/spec.interval",
    "Bucket/ArtifactOutdated/NewRevision",
    "Bucket/Reconciling/Progressing",
    "Bucket/Ready/Progressing",
)
async def test_a_change_is_found_at_the_interval(world: BucketWorld, fake: FakeStorage) -> None:
    fake.put("app.yaml", "v1\n")
    await world.bucket(endpoint=fake.endpoint, interval="300ms")
    before = await world.until_ready()
    released = asyncio.Event()

    async def hold(request: web.Request) -> None:
        if request.path == "/bucket/app.yaml":
            await released.wait()

    fake.hook = hold
    fake.put("app.yaml", "v2\n")
    outdated = await world.until(lambda obj: condition(obj, "ArtifactOutdated"))
    released.set()
    after = await world.until_ready(revision=revision_of(**{"app.yaml": md5("v2\n")}))

    assert condition(outdated, "ArtifactOutdated")["reason"] == "NewRevision"
    assert condition(outdated, "Reconciling")["reason"] == "Progressing"
    assert condition(outdated, "Ready")["reason"] == "Progressing"
    assert outdated["status"]["artifact"] == before["status"]["artifact"]
    assert await world.files(after) == {"app.yaml": "v2\n"}


@pytest.mark.shows("event:Bucket/ArtifactUpToDate")
async def test_nothing_is_fetched_where_nothing_is_new(
    world: BucketWorld, fake: FakeStorage
) -> None:
    fake.put("app.yaml", "v1\n")
    await world.bucket(endpoint=fake.endpoint)
    before = await world.until_ready()
    assert fake.fetched() == ["app.yaml"]

    await world.request("now")
    after = await world.until_handled("now")
    await world.until_event("ArtifactUpToDate")

    assert fake.fetched() == ["app.yaml"]
    assert after["status"]["artifact"] == before["status"]["artifact"]


@pytest.mark.shows("field:Bucket/spec.ignore")
async def test_what_is_ignored_is_not_fetched(world: BucketWorld, fake: FakeStorage) -> None:
    for key in ("app.yaml", "notes.md", "img/a.png", "docs/x.yaml", "docs/keep.yaml"):
        fake.put(key, key)
    fake.put(".sourceignore", "/docs\n*.md\n")
    await world.bucket(endpoint=fake.endpoint, ignore="!/docs/keep.yaml\n")
    obj = await world.until_ready()

    # As Flux' code has it: no defaults, so the picture stays, and the file of rules is content.
    wanted = {".sourceignore", "app.yaml", "img/a.png", "docs/keep.yaml"}
    assert set(await world.files(obj)) == wanted
    assert set(fake.fetched()) == wanted - {".sourceignore"}
    assert obj["status"]["observedIgnore"] == "!/docs/keep.yaml\n"


async def test_objects_that_vanish_or_change_after_the_list(
    world: BucketWorld, fake: FakeStorage
) -> None:
    for key in ("changes", "stays", "vanishes"):
        fake.put(key, "v1")

    async def hook(request: web.Request) -> None:
        if request.path == "/bucket/vanishes":
            fake.objects.pop("vanishes", None)
        if request.path == "/bucket/changes" and fake.objects["changes"] == b"v1":
            fake.put("changes", "v2")

    fake.hook = hook
    await world.bucket(endpoint=fake.endpoint)
    obj = await world.until_ready()

    assert await world.files(obj) == {"changes": "v2", "stays": "v1"}
    wanted = revision_of(changes=md5("v2"), stays=md5("v1"))
    assert obj["status"]["artifact"]["revision"] == wanted


@pytest.mark.shows("field:Bucket/spec.suspend")
async def test_a_suspended_bucket_is_left_alone(world: BucketWorld, fake: FakeStorage) -> None:
    fake.put("app.yaml", "v1\n")
    await world.bucket(endpoint=fake.endpoint, suspend=True)
    await world.request("now")
    obj = await world.until_handled("now")

    assert "artifact" not in obj["status"]
    assert fake.requests == []


@pytest.mark.shows("field:Bucket/spec.region")
@pytest.mark.parametrize(
    ("region", "told", "used"),
    [
        ("eu-central-1", "", "eu-central-1"),
        (None, "eu-west-3", "eu-west-3"),
        (None, "", "us-east-1"),
    ],
    ids=["given", "asked for", "the default"],
)
async def test_requests_are_signed_for_the_region(
    region: str | None, told: str, used: str, world: BucketWorld, fake: FakeStorage
) -> None:
    fake.put("app.yaml", "v1\n")

    async def hook(request: web.Request) -> web.Response | None:
        if "location" not in request.query:
            return None
        return web.Response(text=f"<LocationConstraint>{told}</LocationConstraint>")

    fake.hook = hook
    await world.secret("keys", {"accesskey": "AKIA", "secretkey": "s3cret"})
    await world.bucket(endpoint=fake.endpoint, region=region, secretRef={"name": "keys"})
    await world.until_ready()

    scope = fake.headers[-1]["Authorization"].split("Credential=AKIA/")[1].split(",")[0]
    assert scope.endswith(f"/{used}/s3/aws4_request")
    assert any("location" in line for line in fake.requests) is (region is None)


async def test_a_bucket_without_a_secret_is_asked_without_a_signature(
    world: BucketWorld, fake: FakeStorage
) -> None:
    fake.put("app.yaml", "v1\n")
    await world.bucket(endpoint=fake.endpoint)
    await world.until_ready()

    assert not any("Authorization" in headers for headers in fake.headers)


@pytest.mark.shows("event:Bucket/GarbageCollectionSucceeded")
async def test_a_deleted_bucket_leaves_nothing(world: BucketWorld, fake: FakeStorage) -> None:
    fake.put("app.yaml", "v1\n")
    await world.bucket(endpoint=fake.endpoint)
    await world.until_ready()
    await world.delete()
    await world.gone()
    await world.until_event("GarbageCollectionSucceeded")

    assert not (world.storage_path / "bucket/apps/app").exists()


@pytest.mark.shows("event:Bucket/ArtifactVerificationFailed")
async def test_an_altered_artifact_is_made_again(world: BucketWorld, fake: FakeStorage) -> None:
    fake.put("app.yaml", "v1\n")
    await world.bucket(endpoint=fake.endpoint)
    obj = await world.until_ready()
    path = world.storage_path / obj["status"]["artifact"]["path"]
    path.chmod(0o600)
    path.write_bytes(b"altered")
    await world.request("now")
    await world.until_handled("now")
    obj = await world.until_ready()

    await world.until_event("ArtifactVerificationFailed")
    assert await world.files(obj) == {"app.yaml": "v1\n"}


async def test_a_process_killed_while_it_fetches_leaves_the_end_of_a_clean_run(
    world: BucketWorld, fake: FakeStorage
) -> None:
    from harness.source import fast_settings

    for number in range(40):
        fake.put(f"{number}.yaml", str(number))

    async def stop(request: web.Request) -> web.Response | None:
        if request.path == "/bucket/39.yaml":
            reached.append(1)
            return web.Response(status=503)
        return None

    reached: list[int] = []
    fake.hook = stop
    await world.bucket(endpoint=fake.endpoint)
    await world.until(lambda _: reached)
    await world.stop_controller()
    fake.hook = None
    await world.start_controller(fast_settings())
    obj = await world.until_ready()

    assert await world.files(obj) == {f"{number}.yaml": str(number) for number in range(40)}
    left = [path.name for path in (world.storage_path / ".work/.fetched").iterdir()]
    assert left == ["0.tar.gz"]
