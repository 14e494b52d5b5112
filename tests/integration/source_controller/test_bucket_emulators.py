"""Bucket with emulators of Google's and Azure's storage: real programs that others wrote."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.source import condition
from objectstores.emulators import Azurite, GoogleEmulator, azurite, google_emulator
from objectstores.world import BucketWorld, bucket_world

FILES = {"app.yaml": "v1\n", "deep/er/a b+ü~(1)%.yaml": "odd\n", "deep/app.yaml": ""}


@pytest.fixture(scope="module")
def google() -> Iterator[GoogleEmulator]:
    with google_emulator() as server:
        yield server


@pytest.fixture(scope="module")
def azure() -> Iterator[Azurite]:
    with azurite() as server:
        yield server


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[BucketWorld]:
    async with bucket_world(tmp_path) as world:
        yield world


async def test_objects_of_google(world: BucketWorld, google: GoogleEmulator) -> None:
    files = FILES | {"deep/app.yaml": "not empty, which this emulator cannot take\n"}
    google.make_bucket("first")
    for key, content in files.items():
        google.put("first", key, content)
    await world.secret("key", {"serviceaccount": "{}"})
    spec: dict[str, Any] = {"provider": "gcp", "endpoint": google.endpoint}
    spec |= {"secretRef": {"name": "key"}}
    await world.bucket(bucketName="first", **spec)
    obj = await world.until_ready()
    assert await world.files(obj) == files

    google.put("first", "app.yaml", "v2\n")
    await world.request("now")
    obj = await world.until(lambda o: o["status"]["artifact"] != obj["status"]["artifact"])
    assert (await world.files(obj))["app.yaml"] == "v2\n"

    await world.bucket("prefixed", bucketName="first", prefix="deep/", **spec)
    assert set(await world.files(await world.until_ready("prefixed"))) == set(files) - {"app.yaml"}
    await world.bucket("absent", bucketName="absent", **spec)
    obj = await world.until_failed("BucketOperationFailed", "absent")
    assert condition(obj, "FetchFailed")["message"] == "bucket 'absent' not found"


async def test_blobs_of_azure_with_the_accounts_key(world: BucketWorld, azure: Azurite) -> None:
    azure.make_container("first")
    for key, content in FILES.items():
        azure.put("first", key, content)
    spec: dict[str, Any] = {
        "provider": "azure",
        "endpoint": azure.endpoint,
        "secretRef": {"name": "key"},
    }
    await world.secret("key", {"accountKey": azure.key})
    await world.bucket(bucketName="first", **spec)
    obj = await world.until_ready()
    assert await world.files(obj) == FILES

    azure.put("first", "app.yaml", "v2\n")
    await world.request("now")
    obj = await world.until(lambda o: o["status"]["artifact"] != obj["status"]["artifact"])
    assert (await world.files(obj))["app.yaml"] == "v2\n"

    await world.bucket("prefixed", bucketName="first", prefix="deep/", **spec)
    assert set(await world.files(await world.until_ready("prefixed"))) == set(FILES) - {"app.yaml"}
    await world.bucket("absent", bucketName="absent", **spec)
    obj = await world.until_failed("BucketOperationFailed", "absent")
    assert condition(obj, "FetchFailed")["message"] == "bucket 'absent' not found"

    await world.secret("key", {"accountKey": base64.b64encode(b"another key").decode()})
    await world.request("wrong")
    obj = await world.until_failed("BucketOperationFailed")
    message = condition(obj, "FetchFailed")["message"]
    assert message.endswith("answered 403 (AuthorizationFailure)")


async def test_blobs_of_azure_with_a_shared_access_signature(
    world: BucketWorld, azure: Azurite
) -> None:
    azure.make_container("signed")
    for key, content in FILES.items():
        azure.put("signed", key, content)
    sas = azure.sas("signed")
    spec: dict[str, Any] = {"provider": "azure", "bucketName": "signed"}
    await world.secret("sas", {"sasKey": f"?{sas}"})
    await world.bucket("secret", endpoint=azure.endpoint, secretRef={"name": "sas"}, **spec)
    await world.bucket("address", endpoint=f"{azure.endpoint}?{sas}", **spec)
    for name in ("secret", "address"):
        assert await world.files(await world.until_ready(name)) == FILES

    await world.secret("sas", {"sasKey": azure.sas("another")})
    await world.request("now", "secret")
    obj = await world.until_failed("BucketOperationFailed", "secret")
    assert "answered 403" in condition(obj, "FetchFailed")["message"]
    assert "sig=" not in str(obj["status"])
