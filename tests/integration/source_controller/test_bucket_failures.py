"""What a Bucket says when it cannot be fetched, and that it then keeps what it has."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from fluvial.api import crd, source_bucket
from fluvial.artifact import publishing
from fluvial.artifact.cache import remove_tree
from fluvial.cloud.errors import IdentityDisabled
from fluvial.kube import kinds
from fluvial.kube.errors import Invalid
from fluvial.objects import ObjectKey
from harness.source import condition, fast_settings
from objectstores.fake import FakeStorage
from objectstores.world import BucketWorld, bucket_world
from source_controller.assemble import Settings
from source_controller.git.model import Limits


@pytest.fixture
def settings() -> Settings:
    return fast_settings()


@pytest.fixture
async def world(tmp_path: Path, settings: Settings) -> AsyncIterator[BucketWorld]:
    async with bucket_world(tmp_path, settings=settings) as world:
        yield world


@pytest.fixture
async def fake() -> AsyncIterator[FakeStorage]:
    async with FakeStorage() as storage:
        storage.put("app.yaml", "v1\n")
        yield storage


STS = {"provider": "ldap", "endpoint": "http://sts.example"}
AWS_STS = {"provider": "aws", "endpoint": "https://sts.eu-west-1.amazonaws.com"}
REF = {"name": "x"}


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"provider": "gcp", "sts": STS}, "sts can only be set"),
    ({"provider": "azure", "sts": AWS_STS}, "sts can only be set"),
    ({"provider": "aws", "sts": STS}, "must be 'aws'"),
    ({"provider": "generic", "sts": AWS_STS}, "must be 'ldap'"),
    ({"provider": "aws", "sts": AWS_STS | {"secretRef": REF}}, "sts.secretRef"),
    ({"provider": "aws", "sts": AWS_STS | {"certSecretRef": REF}}, "sts.certSecretRef"),
    ({"serviceAccountName": "x"}, "serviceAccountName cannot be set"),
    ({"provider": "gcp", "serviceAccountName": "x", "secretRef": REF}, "exclude each other"),
    ({"sts": STS | {"endpoint": "sts.example"}}, "endpoint"),
    ({"provider": "other"}, "provider"),
]


async def test_the_server_refuses_what_does_not_go_together(world: BucketWorld) -> None:
    for spec, message in REFUSED:
        with pytest.raises(Invalid, match=message):
            await world.bucket(endpoint="storage.example", **spec)


@pytest.mark.shows(
    "Bucket/FetchFailed/InvalidSTSConfiguration",
    "Bucket/Stalled/InvalidSTSConfiguration",
    "Bucket/Ready/InvalidSTSConfiguration",
)
async def test_objects_from_before_the_rules_stall(world: BucketWorld) -> None:
    cases: list[dict[str, Any]] = [
        {"provider": "gcp", "sts": AWS_STS},
        {"provider": "azure", "sts": STS},
        {"provider": "aws", "sts": STS},
        {"provider": "generic", "sts": AWS_STS},
        {"provider": "aws", "sts": AWS_STS | {"secretRef": REF}},
    ]
    await _without_rules(world)
    for number, spec in enumerate(cases):
        await world.bucket(f"app-{number}", endpoint="storage.example", **spec)
        obj = await world.until_failed("InvalidSTSConfiguration", f"app-{number}")
        assert condition(obj, "Stalled")["reason"] == "InvalidSTSConfiguration"
        assert condition(obj, "FetchFailed")["reason"] == "InvalidSTSConfiguration"


async def _without_rules(world: BucketWorld) -> None:
    kind = next(kind for kind in crd.KINDS if kind.model is source_bucket.Bucket)
    definition = copy.deepcopy(crd.crd(kind))
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    del schema["properties"]["spec"]["x-kubernetes-validations"]
    key = ObjectKey("", definition["metadata"]["name"])
    await world.client.apply(kinds.CRD, key, definition, field_manager="test")


@pytest.mark.shows(
    "Bucket/FetchFailed/URLInvalid", "Bucket/Stalled/URLInvalid", "Bucket/Ready/URLInvalid"
)
async def test_a_token_service_without_a_host_stalls(world: BucketWorld) -> None:
    await world.bucket(endpoint="storage.example", sts=STS | {"endpoint": "http://:80"})
    obj = await world.until_failed("URLInvalid")

    assert condition(obj, "Stalled")["reason"] == "URLInvalid"
    assert "spec.sts.endpoint" in condition(obj, "FetchFailed")["message"]


@pytest.mark.shows(
    "Bucket/FetchFailed/FeatureGateDisabled",
    "Bucket/Stalled/FeatureGateDisabled",
    "Bucket/Ready/FeatureGateDisabled",
)
async def test_an_identity_of_its_own_needs_the_gate(
    world: BucketWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(namespace: str, service_account: str = "") -> None:
        raise IdentityDisabled("enable ObjectLevelWorkloadIdentity")

    monkeypatch.setattr(world.identities, "identity_of", refuse)
    for name, provider in (("app", "aws"), ("b", "gcp"), ("c", "azure")):
        await world.bucket(
            name, endpoint="storage.example", provider=provider, serviceAccountName="robot"
        )
        obj = await world.until_failed("FeatureGateDisabled", name)
        assert condition(obj, "Stalled")["reason"] == "FeatureGateDisabled"


@pytest.mark.shows("Bucket/FetchFailed/AuthenticationFailed", "Bucket/Ready/AuthenticationFailed")
async def test_secrets_that_do_not_do(world: BucketWorld, fake: FakeStorage) -> None:
    cases: list[tuple[dict[str, str] | None, str, str]] = [
        (None, "generic", "secret 'apps/keys-0' not found"),
        ({"accesskey": "AKIA"}, "generic", "needs 'secretkey'"),
        ({"accesskey": " ", "secretkey": "s3cret"}, "aws", "needs 'accesskey'"),
        ({"accesskey": "AKIA\nX: y", "secretkey": "s3cret"}, "aws", "not one line of text"),
        ({"serviceaccount": " "}, "gcp", "needs 'serviceaccount'"),
        ({"tenantId": "t"}, "azure", "needs 'clientId'"),
        ({"clientId": "c", "tenantId": "t"}, "azure", "needs 'clientSecret' or"),
        ({"clientId": "c", "clientSecret": "s3cret"}, "azure", "needs 'tenantId'"),
        ({"accountKey": "s3cret!"}, "azure", "'accountKey' is not a key"),
        ({"sasKey": " "}, "azure", "needs 'sasKey'"),
    ]
    for number, (values, provider, message) in enumerate(cases):
        name = f"keys-{number}"
        if values is not None:
            await world.secret(name, values)
        await world.bucket(
            name, endpoint=fake.endpoint, provider=provider, secretRef={"name": name}
        )
        obj = await world.until_failed("AuthenticationFailed", name)
        assert message in condition(obj, "FetchFailed")["message"]
        assert "s3cret" not in str(obj)

    assert fake.requests == []


@pytest.mark.shows("event:Bucket/Succeeded", "event:Bucket/failure")
async def test_a_failure_keeps_the_artifact_until_it_is_over(
    world: BucketWorld, fake: FakeStorage
) -> None:
    await world.bucket(endpoint=fake.endpoint)
    before = await world.until_ready()

    async def broken(request: web.Request) -> web.Response:
        return web.Response(status=403)

    fake.hook = broken
    await world.request("one")
    failed = await world.until_failed("BucketOperationFailed")
    assert failed["status"]["artifact"] == before["status"]["artifact"]
    assert (await world.until_event("BucketOperationFailed"))["type"] == "Warning"

    fake.hook = None
    await world.request("two")
    await world.until_ready()
    await world.until_event("Succeeded")


@pytest.mark.shows("Bucket/Reconciling/ProgressingWithRetry")
async def test_a_first_failure_is_tried_again(world: BucketWorld, fake: FakeStorage) -> None:
    fake.objects.clear()
    fake.put("../escape", "x")
    await world.bucket(endpoint=fake.endpoint)
    obj = await world.until_failed("BucketOperationFailed")
    assert condition(obj, "Reconciling")["reason"] == "ProgressingWithRetry"

    del fake.objects["../escape"]
    await world.until_ready()


async def test_names_that_are_no_paths(world: BucketWorld, fake: FakeStorage) -> None:
    cases = [
        (["../escape"], "object '../escape' cannot be a file"),
        (["a/../../escape"], "cannot be a file"),
        (["/etc/passwd"], "begins with a slash"),
        (["a//b"], "a part that is empty"),
        (["a\\..\\b"], "a backslash"),
        (["a\0b"], "a control character"),
        (["x" * 256], "too long"),
        (["a", "a/b"], "a file and a folder"),
    ]
    for number, (keys, message) in enumerate(cases):
        fake.objects = dict.fromkeys(keys, b"x")
        await world.bucket(f"app-{number}", endpoint=fake.endpoint, interval="1h")
        obj = await world.until_failed("BucketOperationFailed", f"app-{number}")
        assert message in condition(obj, "FetchFailed")["message"]
        await world.bucket(f"app-{number}", endpoint=fake.endpoint, suspend=True)

    assert fake.fetched() == []
    assert not list(world.folder.rglob("escape"))


LIMITS = Limits(max_tree_bytes=1000, max_file_bytes=600, max_entries=4)


@pytest.mark.parametrize("settings", [Settings(retry_delays=(0.2, 1.0), limits=LIMITS)], ids=[""])
@pytest.mark.parametrize(
    ("objects", "message"),
    [
        ({"big": b"x" * 601}, "object 'big' has 601 bytes"),
        ({"one": b"x" * 500, "two": b"x" * 501}, "more than 1000 bytes together"),
        ({str(number): b"" for number in range(5)}, "more than 4 objects"),
    ],
    ids=["object", "all", "number"],
)
async def test_what_is_too_large_is_not_fetched(
    objects: dict[str, bytes], message: str, world: BucketWorld, fake: FakeStorage
) -> None:
    fake.objects.clear()
    for key, content in objects.items():
        fake.put(key, content)
    await world.bucket(endpoint=fake.endpoint)
    obj = await world.until_failed("BucketOperationFailed")

    assert message in condition(obj, "FetchFailed")["message"]
    assert fake.fetched() == []


@pytest.mark.parametrize("settings", [Settings(retry_delays=(0.2, 1.0), limits=LIMITS)], ids=[""])
async def test_a_list_that_lies_about_sizes(world: BucketWorld, fake: FakeStorage) -> None:
    async def endless(request: web.Request) -> web.StreamResponse | None:
        if request.path != "/bucket/app.yaml":
            return None
        response = web.StreamResponse(headers={"ETag": '"x"'})
        await response.prepare(request)
        try:
            while True:
                await response.write(b"x" * 65536)
        except ConnectionError:
            return response

    fake.hook = endless
    await world.bucket(endpoint=fake.endpoint)
    obj = await world.until_failed("BucketOperationFailed")

    message = condition(obj, "FetchFailed")["message"]
    assert message.endswith("object 'app.yaml' has more than 600 bytes")


@pytest.mark.shows("field:Bucket/spec.timeout")
@pytest.mark.parametrize("path", ["/bucket/", "/bucket/app.yaml"], ids=["list", "object"])
async def test_a_storage_that_drips(path: str, world: BucketWorld, fake: FakeStorage) -> None:
    over = asyncio.Event()

    async def drip(request: web.Request) -> web.StreamResponse | None:
        if request.path.rstrip("/") != path.rstrip("/"):
            return None
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"<")
        await over.wait()
        return response

    fake.hook = drip
    await world.bucket(endpoint=fake.endpoint, timeout="300ms")
    obj = await world.until_failed("BucketOperationFailed")
    over.set()

    assert condition(obj, "FetchFailed")["message"].endswith("was not fetched within 300ms")


ENTITIES = (
    '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]>'
    "<ListBucketResult><Contents><Key>&b;</Key></Contents></ListBucketResult>"
)
EXTERNAL = (
    '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
    "<ListBucketResult><Contents><Key>&a;</Key></Contents></ListBucketResult>"
)


async def test_lists_that_are_none(world: BucketWorld, fake: FakeStorage) -> None:
    item = "<Contents><Key>a</Key><Size>x</Size></Contents>"
    cases = [
        (ENTITIES, "has a document type"),
        (EXTERNAL, "has a document type"),
        ("<a>" * 100, "more elements than any should"),
        ("<ListBucketResult>", "not valid XML"),
        ("{}", "not valid XML"),
        ("<html/>", "not one of S3"),
        ("<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>", "breaks off"),
        (f"<ListBucketResult>{item}</ListBucketResult>", "an object that cannot be read"),
    ]

    async def hook(request: web.Request) -> web.Response | None:
        if "list-type" not in request.query:
            return web.Response(status=404)
        return web.Response(text=cases[int(request.path.strip("/").removeprefix("case-"))][0])

    fake.hook = hook
    for number, (_, message) in enumerate(cases):
        name = f"case-{number}"
        await world.bucket(name, endpoint=fake.endpoint, bucketName=name)
        obj = await world.until_failed("BucketOperationFailed", name)
        assert message in condition(obj, "FetchFailed")["message"]


async def test_redirects_are_not_followed(world: BucketWorld, fake: FakeStorage) -> None:
    places = [
        "http://169.254.169.254/latest/meta-data",
        "http://localhost:1/",
        "//[fd00:ec2::254]/",
        "",
    ]

    async def hook(request: web.Request) -> web.Response:
        place = places[int(request.path.split("/")[1].removeprefix("case-"))]
        return web.Response(status=307, headers={"Location": place})

    fake.hook = hook
    await world.secret("keys", {"accesskey": "AKIA", "secretkey": "s3cret"})
    for number in range(len(places)):
        name = f"case-{number}"
        await world.bucket(
            name, endpoint=fake.endpoint, bucketName=name, secretRef={"name": "keys"}
        )
        obj = await world.until_failed("BucketOperationFailed", name)
        assert "which is not followed" in condition(obj, "FetchFailed")["message"]


async def test_endpoints_that_lead_nowhere(world: BucketWorld) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"endpoint": "169.254.169.254"}, "the metadata service of"),
        ({"endpoint": "[fd00:ec2::254]"}, "the metadata service of"),
        ({"endpoint": "http://169.254.169.254/x", "provider": "azure"}, "the metadata service of"),
        ({"endpoint": "http://storage.example", "insecure": False}, "needs spec.insecure"),
        ({"endpoint": "storage.example/path"}, "is a host"),
        ({"endpoint": "user:s3cret@storage.example"}, "belong into spec.secretRef"),
        ({"endpoint": "a b"}, "spec.endpoint is not valid"),
        ({"endpoint": "ftp://storage.example"}, "over http or https"),
        ({"endpoint": ""}, "spec.endpoint is not valid"),
        ({"endpoint": "storage.example", "bucketName": ".."}, "spec.bucketName is not valid"),
        ({"endpoint": "storage.example", "bucketName": "a/b"}, "spec.bucketName is not valid"),
        ({"endpoint": "s3.amazonaws.com", "region": "x.evil/"}, "spec.region is not valid"),
    ]
    await world.secret("keys", {"sasKey": "?sig=s3cret", "accesskey": "a", "secretkey": "s3cret"})
    for number, (spec, message) in enumerate(cases):
        await world.bucket(f"app-{number}", secretRef={"name": "keys"}, **spec)
        obj = await world.until_failed("BucketOperationFailed", f"app-{number}")
        text = condition(obj, "FetchFailed")["message"]
        assert message in text
        assert "s3cret" not in text


@pytest.mark.shows(
    "Bucket/StorageOperationFailed/ArchiveOperationFailed", "Bucket/Ready/ArchiveOperationFailed"
)
async def test_no_room(
    world: BucketWorld, fake: FakeStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(publishing, "place", full)
    await world.bucket(endpoint=fake.endpoint)
    obj = await world.until_failed("ArchiveOperationFailed")

    assert "No space left on device" in condition(obj, "StorageOperationFailed")["message"]


async def test_no_room_while_fetching(
    world: BucketWorld, fake: FakeStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    from source_controller.bucket import download

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(download._Job, "_check", full)
    await world.bucket(endpoint=fake.endpoint)
    obj = await world.until_failed("ArchiveOperationFailed")

    assert "No space left on device" in condition(obj, "StorageOperationFailed")["message"]


@pytest.mark.shows(
    "Bucket/StorageOperationFailed/DirectoryCreationFailed", "Bucket/Ready/DirectoryCreationFailed"
)
async def test_no_room_for_a_download(world: BucketWorld, fake: FakeStorage) -> None:
    await world.bucket("first", endpoint=fake.endpoint)
    await world.until_ready("first")
    folder = world.storage_path / ".work/.fetched"
    remove_tree(folder)
    folder.write_text("a file where a folder should be")
    fake.put("app.yaml", "v2\n")
    await world.bucket(endpoint=fake.endpoint)
    await world.until_failed("DirectoryCreationFailed")

    folder.unlink()
    await world.until_ready()
