"""Equal Buckets fetch once, and nobody gets what was fetched with another's trust."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web

from fluvial.api.source_bucket import BucketSpec, BucketSTS
from fluvial.net.proxy import ProxyServer
from fluvial.net.tls import Tls
from harness.source import fast_settings
from objectstores.fake import FakeStorage
from objectstores.world import BucketWorld, bucket_world
from source_controller.bucket.access import BucketAccess
from source_controller.bucket.sharing import trust_domain


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[BucketWorld]:
    async with bucket_world(tmp_path, settings=replace(fast_settings(), concurrency=10)) as world:
        yield world


@pytest.fixture
async def fake() -> AsyncIterator[FakeStorage]:
    async with FakeStorage() as storage:
        storage.put("app.yaml", "v1\n")
        storage.put("db.yaml", "v1\n")
        yield storage


async def test_equal_buckets_cost_one_fetch_and_the_space_of_one(
    world: BucketWorld, fake: FakeStorage
) -> None:
    names = [f"app-{number}" for number in range(10)]
    for name in names:
        await world.bucket(name, endpoint=fake.endpoint)
    files = []
    for name in names:
        obj = await world.until_ready(name)
        assert await world.files(obj) == {"app.yaml": "v1\n", "db.yaml": "v1\n"}
        files.append(world.storage_path / obj["status"]["artifact"]["path"])

    assert sorted(fake.fetched()) == ["app.yaml", "db.yaml"]
    assert len({file.stat().st_ino for file in files}) == 1


async def test_other_rules_and_other_credentials_are_fetched_by_themselves(
    world: BucketWorld, fake: FakeStorage
) -> None:
    await world.secret("one", {"accesskey": "AKIA1", "secretkey": "s3cret"})
    await world.secret("two", {"accesskey": "AKIA1", "secretkey": "s3cret2"})
    spec = {"endpoint": fake.endpoint, "region": "r"}
    for name, extra in (
        ("plain", {}),
        ("one", {"secretRef": {"name": "one"}}),
        ("two", {"secretRef": {"name": "two"}}),
        ("less", {"ignore": "db.yaml"}),
    ):
        await world.bucket(name, **spec | extra)
        await world.until_ready(name)

    assert fake.fetched().count("app.yaml") == 4
    assert fake.fetched().count("db.yaml") == 3


async def test_who_may_not_list_gets_nothing_that_another_fetched(
    world: BucketWorld, fake: FakeStorage
) -> None:
    allowed = [True]

    async def hook(request: web.Request) -> web.Response | None:
        return None if allowed[0] else web.Response(status=403)

    fake.hook = hook
    await world.bucket("first", endpoint=fake.endpoint)
    await world.until_ready("first")
    allowed[0] = False
    await world.bucket("second", endpoint=fake.endpoint)
    obj = await world.until_failed("BucketOperationFailed", "second")

    assert "artifact" not in obj["status"]


BASE = BucketSpec(bucket_name="b", endpoint="e", interval="1m")
OPEN = BucketAccess(secret={"accesskey": b"a", "secretkey": b"b"})


def _changed(**fields: object) -> BucketSpec:
    return BucketSpec(**({"bucket_name": "b", "endpoint": "e", "interval": "1m"} | fields))  # type: ignore[arg-type]  # any of them


@pytest.mark.parametrize(
    ("spec", "access"),
    [
        (_changed(bucket_name="c"), OPEN),
        (_changed(endpoint="f"), OPEN),
        (_changed(region="r"), OPEN),
        (_changed(provider="aws"), OPEN),
        (_changed(insecure=True), OPEN),
        (_changed(service_account_name="s"), OPEN),
        (_changed(sts=BucketSTS(provider="ldap", endpoint="http://x")), OPEN),
        (BASE, BucketAccess()),
        (BASE, BucketAccess(secret={})),
        (BASE, BucketAccess(secret={"accesskey": b"a", "secretkey": b"c"})),
        (BASE, BucketAccess(secret={"accesskey": b"ab", "secretkey": b""})),
        (BASE, replace(OPEN, tls=Tls(ca="x"))),
        (BASE, replace(OPEN, sts_tls=Tls(ca="x"))),
        (BASE, replace(OPEN, tls=Tls(certificate="x", key="y"))),
        (BASE, replace(OPEN, proxy=ProxyServer("http", "p", 1))),
        (BASE, replace(OPEN, sts_user=("u", "p"))),
    ],
)
def test_every_input_of_trust_is_in_the_key(spec: BucketSpec, access: BucketAccess) -> None:
    assert trust_domain("a", spec, access) != trust_domain("a", BASE, OPEN)
    assert trust_domain("a", spec, access) == trust_domain("a", spec, access)


@pytest.mark.parametrize(
    ("spec", "access"),
    [
        (_changed(insecure=True), OPEN),
        (_changed(service_account_name="s", provider="aws"), OPEN),
        (_changed(provider="aws"), BucketAccess()),
        (_changed(sts=BucketSTS(provider="ldap", endpoint="http://x")), OPEN),
        (BASE, replace(OPEN, tls=Tls(ca="x"))),
        (BASE, replace(OPEN, proxy=ProxyServer("socks5", "p", 1))),
    ],
    ids=["insecure", "identity", "default identity", "token service", "authority", "proxy"],
)
def test_what_a_namespace_decided_stays_in_it(spec: BucketSpec, access: BucketAccess) -> None:
    assert trust_domain("a", spec, access) != trust_domain("b", spec, access)
    assert trust_domain("a", BASE, OPEN) == trust_domain("b", BASE, OPEN)
