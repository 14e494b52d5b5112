"""Clients of object storage against one in process that can lie."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from fluvial.artifact.ignore import Matcher
from fluvial.clock import RealClock
from fluvial.cloud.model import AccessToken, AwsCredentials
from fluvial.net.dialer import Dialer
from fluvial.net.policy import AddressPolicy
from harness.outbound import loopback_dialer
from objectstores.fake import FakeStorage
from source_controller.bucket.download import download, fetch_small
from source_controller.bucket.index import read_index
from source_controller.bucket.stores.azure import AzureStore
from source_controller.bucket.stores.endpoint import InvalidEndpoint, parse_endpoint
from source_controller.bucket.stores.errors import (
    Changed,
    InvalidAnswer,
    NoBucket,
    Refused,
    TooLarge,
    Unreachable,
)
from source_controller.bucket.stores.gcs import GcsStore
from source_controller.bucket.stores.http import Requests
from source_controller.bucket.stores.model import Item, Limits, Store
from source_controller.bucket.stores.s3 import S3Store
from source_controller.oci.access import Access
from source_controller.oci.connect import open_session

KINDS = ("s3", "gcs", "azure")
DEFAULTS = Limits()
Make = Callable[..., Store]


class QuickClock(RealClock):
    """Waits for nothing, and notes how long it should have."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)


@pytest.fixture
def clock() -> QuickClock:
    return QuickClock()


@pytest.fixture
async def fake() -> AsyncIterator[FakeStorage]:
    async with FakeStorage() as storage:
        yield storage


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with await open_session(Access(), loopback_dialer()) as session:
        yield session


@pytest.fixture(params=KINDS)
def make(
    request: pytest.FixtureRequest,
    fake: FakeStorage,
    session: aiohttp.ClientSession,
    clock: QuickClock,
) -> Make:
    def build(bucket: str = "bucket", limits: Limits = DEFAULTS) -> Store:
        endpoint = URL(f"http://{fake.endpoint}")
        return store_of(request.param, endpoint, session, bucket=bucket, limits=limits, clock=clock)

    return build


def store_of(
    kind: str,
    endpoint: URL,
    session: aiohttp.ClientSession,
    *,
    bucket: str = "bucket",
    limits: Limits = DEFAULTS,
    clock: RealClock | None = None,
) -> Store:
    clock = clock or QuickClock()
    requests = Requests(session, clock=clock, limits=limits)
    if kind == "gcs":
        return GcsStore(requests, endpoint=endpoint, bucket=bucket, token=_token)
    if kind == "azure":
        return AzureStore(
            requests,
            endpoint=endpoint,
            sas="",
            container=bucket,
            authorize=_nothing,
            clock=clock,
        )
    return S3Store(requests, endpoint=endpoint, bucket=bucket, region="r", keys=_keys, clock=clock)


async def _token() -> AccessToken:
    return AccessToken("token")


async def _keys() -> AwsCredentials | None:
    return None


async def _nothing(_method: str, _url: URL, headers: Mapping[str, str]) -> dict[str, str]:
    return dict(headers)


async def everything(store: Store, limits: Limits = DEFAULTS) -> dict[str, Item]:
    return await read_index(store, "", Matcher([]), limits)


async def test_all_pages_are_read(make: Make, fake: FakeStorage) -> None:
    for number in range(10):
        fake.put(f"a/{number} ü&.yaml", str(number) * number)
    fake.put("b", "")
    found = [item async for page in make().pages("a/") for item in page]

    assert [(item.key, item.size) for item in found] == [
        (f"a/{number} ü&.yaml", number) for number in range(10)
    ]


async def test_what_is_fetched_is_what_was_listed_or_is_told(
    make: Make, fake: FakeStorage, tmp_path: Path
) -> None:
    for key in ("same", "changed", "gone", "deep/er"):
        fake.put(key, f"old {key}")
    store = make()
    index = await everything(store)
    fake.put("changed", "new")
    del fake.objects["gone"]
    with pytest.raises(Changed):
        async with store.open("changed", pinned=index["changed"]):
            pass
    fetched = await download(store, index, tmp_path, Limits())

    assert set(fetched) == {"same", "changed", "deep/er"}
    assert fetched["same"] == index["same"]
    assert fetched["changed"].etag != index["changed"].etag
    assert (await everything(store))["changed"].etag == fetched["changed"].etag
    assert (tmp_path / "changed").read_text() == "new"
    assert (tmp_path / "deep/er").read_text() == "old deep/er"
    assert not (tmp_path / "gone").exists()


async def test_an_object_that_always_changes_is_given_up(
    make: Make, fake: FakeStorage, tmp_path: Path
) -> None:
    fake.put("app", "0")
    store = make()
    index = await everything(store)

    async def hook(request: web.Request) -> web.Response:
        return web.Response(status=412)

    fake.hook = hook
    with pytest.raises(Refused, match=r"has changed|answered 412"):
        await download(store, index, tmp_path, Limits())


async def test_a_bucket_or_object_that_is_not_there(make: Make, fake: FakeStorage) -> None:
    with pytest.raises(NoBucket):
        await everything(make(bucket="absent"))

    assert await fetch_small(make(), "absent", limit=10) is None


async def test_a_small_object_is_small(make: Make, fake: FakeStorage) -> None:
    fake.put("rules", "x" * 11)
    assert await fetch_small(make(), "rules", limit=11) == b"x" * 11
    with pytest.raises(TooLarge):
        await fetch_small(make(), "rules", limit=10)


async def test_a_passing_error_is_asked_again(
    make: Make, fake: FakeStorage, clock: QuickClock
) -> None:
    answers = [web.Response(status=503, headers={"Retry-After": "2"}), web.Response(status=500)]

    async def hook(request: web.Request) -> web.Response | None:
        return answers.pop(0) if answers else None

    fake.hook = hook
    fake.put("a", "a")
    assert set(await everything(make())) == {"a"}
    assert clock.waits == [2.0, 5.0]


async def test_a_lasting_error_is_told_by_its_code(make: Make, fake: FakeStorage) -> None:
    async def hook(request: web.Request) -> web.Response:
        body = "<Error><Code>SlowDown</Code><Message>s3cret</Message></Error>"
        return web.Response(status=503, text=body)

    fake.hook = hook
    with pytest.raises(Refused) as error:
        await everything(make())

    assert error.value.code == "SlowDown"
    assert len(fake.requests) == 3
    assert "s3cret" not in str(error.value)


@pytest.mark.parametrize("code", ["<Code>two words</Code>", "<Code>x<y/></Code>", "<Code/>", "<"])
async def test_codes_that_are_none_are_not_told(
    code: str, fake: FakeStorage, session: aiohttp.ClientSession
) -> None:
    async def hook(request: web.Request) -> web.Response:
        return web.Response(status=403, text=f"<Error>{code}</Error>")

    fake.hook = hook
    with pytest.raises(Refused, match=r"answered 403( \(x\))?$"):
        await everything(store_of("s3", URL(f"http://{fake.endpoint}"), session))


async def test_a_body_that_breaks_off_is_fetched_again(
    make: Make, fake: FakeStorage, tmp_path: Path
) -> None:
    fake.put("app", "x" * 1000)
    store = make()
    index = await everything(store)
    broken = [1]

    async def hook(request: web.Request) -> web.StreamResponse | None:
        if not broken:
            return None
        broken.clear()
        response = web.StreamResponse(headers={"Content-Length": "1000", "ETag": '"x"'})
        await response.prepare(request)
        await response.write(b"x" * 500)
        assert request.transport is not None
        request.transport.abort()
        return response

    fake.hook = hook
    limits = Limits(max_object=1000, max_total=1000)
    assert await download(store, index, tmp_path, limits) == index
    assert (tmp_path / "app").read_text() == "x" * 1000


async def test_no_more_is_asked_at_once_than_allowed(
    make: Make, fake: FakeStorage, tmp_path: Path
) -> None:
    for number in range(30):
        fake.put(f"{number}", "x")
    store = make()
    index = await everything(store)
    now, most = 0, 0

    async def hook(request: web.Request) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.001)
        now -= 1

    fake.hook = hook
    await download(store, index, tmp_path, Limits(parallel=4))
    assert most == 4
    assert len(list(tmp_path.iterdir())) == 30


async def test_a_list_without_end_is_left(make: Make, fake: FakeStorage) -> None:
    async def hook(request: web.Request) -> web.Response:
        if request.path.startswith("/storage"):
            return web.json_response({"items": [], "nextPageToken": "again"})
        return web.Response(
            text="<EnumerationResults><NextMarker>again</NextMarker></EnumerationResults>"
            if "restype" in request.query
            else "<ListBucketResult><IsTruncated>true</IsTruncated>"
            "<NextContinuationToken>again</NextContinuationToken></ListBucketResult>"
        )

    fake.hook = hook
    with pytest.raises(TooLarge, match="does not end"):
        await everything(make(limits=Limits(max_pages=5)))

    assert len(fake.requests) == 5


async def test_an_answer_without_end_is_left(make: Make, fake: FakeStorage) -> None:
    async def hook(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b"<" * 65536)
        except ConnectionError:
            return response

    fake.hook = hook
    with pytest.raises(TooLarge, match="more than 100000 bytes"):
        await everything(make(limits=Limits(max_answer=100_000)))


@pytest.mark.parametrize(
    ("etag", "size"), [("a\r\nX: y", "1"), ("", "1"), ('a"b', "1"), ("x", "-5"), ("x", "")]
)
async def test_objects_that_could_not_be_asked_for(
    etag: str, size: str, fake: FakeStorage, session: aiohttp.ClientSession
) -> None:
    async def hook(request: web.Request) -> web.Response:
        text = f"<Key>a</Key><ETag>{etag}</ETag><Size>{size}</Size>"
        return web.Response(
            text=f"<ListBucketResult><Contents>{text}</Contents></ListBucketResult>"
        )

    fake.hook = hook
    with pytest.raises(InvalidAnswer, match="cannot be read"):
        await everything(store_of("s3", URL(f"http://{fake.endpoint}"), session))


async def test_loopback_is_refused_unless_allowed(fake: FakeStorage) -> None:
    dialer = Dialer(AddressPolicy.build())
    async with await open_session(Access(), dialer) as session:
        for kind in KINDS:
            for host in (fake.endpoint, f"localhost:{fake.port}"):
                with pytest.raises(Unreachable, match="a loopback address, are not allowed"):
                    await everything(store_of(kind, URL(f"http://{host}"), session))

    assert fake.requests == []


async def test_the_environment_decides_nothing(
    make: Make, fake: FakeStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
    fake.put("a", "a")

    assert set(await everything(make())) == {"a"}
    assert not any("Credential" in str(headers) for headers in fake.headers)


@pytest.mark.parametrize(
    ("answer", "region"),
    [
        ((200, {}, "<LocationConstraint>eu-west-3</LocationConstraint>"), "eu-west-3"),
        ((200, {}, "<LocationConstraint>EU</LocationConstraint>"), "eu-west-1"),
        ((200, {}, "<LocationConstraint/>"), "us-east-1"),
        ((403, {}, "<Error><Code>AccessDenied</Code></Error>"), "us-east-1"),
        ((403, {"x-amz-bucket-region": "ap-south-1"}, ""), "ap-south-1"),
        ((400, {}, "<Error><Code>Wrong</Code><Region>local</Region></Error>"), "local"),
        ((400, {}, "<Error><Code>Wrong</Code><Region>a/b.c</Region></Error>"), "us-east-1"),
        ((501, {}, ""), "us-east-1"),
    ],
)
async def test_a_region_is_asked_for(
    answer: tuple[int, dict[str, str], str],
    region: str,
    fake: FakeStorage,
    session: aiohttp.ClientSession,
) -> None:
    status, headers, text = answer

    async def hook(request: web.Request) -> web.Response | None:
        if "location" not in request.query:
            return None
        return web.Response(status=status, headers=headers, text=text)

    async def keys() -> AwsCredentials:
        return AwsCredentials("AKIA", "s3cret")

    fake.hook = hook
    clock = QuickClock()
    store = S3Store(
        Requests(session, clock=clock, limits=DEFAULTS),
        endpoint=URL(f"http://{fake.endpoint}"),
        bucket="bucket",
        region="",
        keys=keys,
        clock=clock,
    )
    await everything(store)

    assert [
        f"/{name}/s3/" in shown["Authorization"]
        for shown, name in zip(fake.headers, ("us-east-1", region), strict=True)
    ] == [True, True]


# --- names of hosts -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("endpoint", "region", "bucket", "url"),
    [
        ("s3.amazonaws.com", "us-east-1", "bkt", "https://bkt.s3.amazonaws.com/k/1%20"),
        ("s3.amazonaws.com", "eu-west-1", "bkt", "https://bkt.s3.eu-west-1.amazonaws.com/k/1%20"),
        ("s3.eu-west-1.amazonaws.com", "", "bkt", "https://bkt.s3.eu-west-1.amazonaws.com/k/1%20"),
        ("s3-eu-west-1.amazonaws.com", "", "bkt", "https://bkt.s3-eu-west-1.amazonaws.com/k/1%20"),
        ("s3.amazonaws.com", "eu-west-1", "b.c", "https://s3.eu-west-1.amazonaws.com/b.c/k/1%20"),
        (
            "s3.cn-north-1.amazonaws.com.cn",
            "cn-north-1",
            "bkt",
            "https://bkt.s3.cn-north-1.amazonaws.com.cn/k/1%20",
        ),
        (
            "s3-accelerate.amazonaws.com",
            "us-east-1",
            "bkt",
            "https://bkt.s3-accelerate.amazonaws.com/k/1%20",
        ),
        (
            "s3.dualstack.us-west-2.amazonaws.com",
            "",
            "bkt",
            "https://bkt.s3.dualstack.us-west-2.amazonaws.com/k/1%20",
        ),
        ("minio.example:9000", "eu-west-1", "b", "https://minio.example:9000/b/k/1%20"),
        ("s3.amazonaws.com.example", "us-east-1", "b", "https://s3.amazonaws.com.example/b/k/1%20"),
        ("[2001:db8::1]:9000", "us-east-1", "b", "https://[2001:db8::1]:9000/b/k/1%20"),
    ],
)
async def test_where_a_bucket_of_s3_is(
    endpoint: str, region: str, bucket: str, url: str, session: aiohttp.ClientSession
) -> None:
    clock = QuickClock()
    store = S3Store(
        Requests(session, clock=clock, limits=Limits()),
        endpoint=parse_endpoint(endpoint, insecure=False),
        bucket=bucket,
        region=region,
        keys=_keys,
        clock=clock,
    )

    assert str((await store._maker("k/1 ", {}, what="")()).url) == url


@pytest.mark.parametrize(
    "text", ["", "a b", "a/b", "ftp://a", "http://a", "u:p@a", "a:x", "a?b", "https://", "a\n"]
)
def test_endpoints_that_are_none(text: str) -> None:
    with pytest.raises(InvalidEndpoint, match=r"^spec\.endpoint is not valid"):
        parse_endpoint(text, insecure=False)
