"""An informer under a server that forgets, refuses, stalls and lies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson
import pytest
from aiohttp import web

from fluvial.clock import RealClock
from fluvial.kube.errors import Forbidden, Gone
from fluvial.kube.http import HttpKubeClient
from fluvial.kube.informer import Informer, InformerFactory, NotSynced
from fluvial.kube.reflector import ReflectorTiming
from fluvial.kube.resource import Resource
from fluvial.log import get_logger
from fluvial.objects import JsonObject, ObjectKey, key_of

from .conftest import Scripted, answer, cut, refusal

CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap", namespaced=True)
QUICK = ReflectorTiming(backoff=0.01, backoff_cap=0.02, inactivity=5.0)
SECONDS = 5.0


def obj(name: str, version: int, **more: Any) -> JsonObject:
    metadata = {
        "namespace": "ns",
        "name": name,
        "uid": name,
        "resourceVersion": str(version),
    }
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {**metadata, **more}}


def listing(version: int, *objects: JsonObject, token: str = "") -> web.Response:
    metadata = {"resourceVersion": str(version), "continue": token}
    return answer({"metadata": metadata, "items": list(objects)})


def event(kind: str, body: JsonObject) -> bytes:
    return orjson.dumps({"type": kind, "object": body}) + b"\n"


def watching(*chunks: bytes, then: str = "stay") -> Callable[..., Any]:
    """A watch that sends chunks and then stays silent, ends, or is cut."""

    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_type = "application/json"
        await response.prepare(request)
        for chunk in chunks:
            await response.write(chunk)
            await asyncio.sleep(0)
        if then == "stay":
            assert request.transport is not None
            while not request.transport.is_closing():
                await asyncio.sleep(0.01)
        elif then == "cut":
            assert request.transport is not None
            request.transport.abort()
        return response

    return handle


class Seen:
    """What a subscriber was told."""

    def __init__(self) -> None:
        self.changes: list[tuple[str, str]] = []

    def __call__(self, old: JsonObject | None, new: JsonObject | None) -> None:
        kind = "added" if old is None else "deleted" if new is None else "modified"
        body = new or old
        assert body is not None
        name = f"{key_of(body).name}@{body['metadata']['resourceVersion']}"
        self.changes.append((kind, name))


@asynccontextmanager
async def running(
    client: HttpKubeClient, *, timing: ReflectorTiming = QUICK, **options: Any
) -> AsyncIterator[tuple[Informer, Seen, list[Exception]]]:
    errors: list[Exception] = []
    factory = InformerFactory(
        client,
        RealClock(),
        get_logger("test"),
        on_error=lambda _, error: errors.append(error),
        timing=timing,
        verify=True,
    )
    seen = Seen()
    informer = factory.informer(CONFIG_MAPS, **options)
    informer.subscribe(seen)
    async with factory:
        yield informer, seen, errors


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS):
        while not condition():
            await asyncio.sleep(0.002)


def versions(server: Scripted) -> list[str]:
    """The versions that watches were asked from; ``list`` for lists."""
    found = []
    for _, path in server.asked:
        query = parse_qs(urlsplit(path).query)
        found.append(query["resourceVersion"][0] if "watch" in query else "list")
    return found


async def test_an_expired_version_is_listed_anew_and_never_asked_again(
    server: Scripted, client: HttpKubeClient
) -> None:
    gone = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}
    server.will(
        listing(5, obj("a", 1), obj("b", 2), obj("c", 3)),
        watching(event("MODIFIED", obj("b", 6)), event("ERROR", gone)),
        listing(9, obj("b", 8), obj("c", 3), obj("d", 9)),
        watching(),
    )
    async with running(client) as (informer, seen, _):
        await until(lambda: len(server.asked) == 4)

        assert {str(key) for key in informer.store.keys()} == {"ns/b", "ns/c", "ns/d"}  # noqa: SIM118 - no dict
    assert versions(server) == ["list", "5", "list", "9"]
    assert seen.changes == [
        ("added", "a@1"),
        ("added", "b@2"),
        ("added", "c@3"),
        ("modified", "b@6"),
        ("modified", "b@8"),
        ("added", "d@9"),
        ("deleted", "a@1"),
    ]


async def test_410_as_an_answer_is_listed_anew(server: Scripted, client: HttpKubeClient) -> None:
    server.will(
        listing(5),
        watching(event("ADDED", obj("a", 6)), then="end"),
        refusal(410, "Expired"),
        listing(9, obj("a", 6)),
        watching(),
    )
    timing = ReflectorTiming(backoff=60.0, server_timeout=(0, 0))
    async with running(client, timing=timing) as (_, seen, errors):
        await until(lambda: len(server.asked) == 5)

        assert versions(server) == ["list", "5", "6", "list", "9"]
        assert not any(isinstance(error, Gone) for error in errors)
        assert seen.changes == [("added", "a@6")]


async def test_a_store_is_behind_until_the_list_after_410_is_there(
    server: Scripted, client: HttpKubeClient
) -> None:
    gone = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}
    go_on = asyncio.Event()

    async def late(_: web.Request) -> web.StreamResponse:
        await go_on.wait()
        return listing(9, obj("a", 8))

    server.will(
        listing(5),
        watching(event("ADDED", obj("a", 6)), event("ERROR", gone)),
        late,
        watching(),
    )
    async with running(client) as (informer, _, _):
        await until(lambda: len(server.asked) == 3)
        error = informer.error
        go_on.set()
        await until(lambda: informer.error is None)

        assert isinstance(error, Gone)
        assert informer.store.list() == [obj("a", 8)]


async def test_a_server_that_always_says_410_is_asked_slowly(
    server: Scripted, client: HttpKubeClient
) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        if "watch" in request.query:
            return refusal(410, "Expired")
        return listing(5)

    server.will(handle)
    slow = ReflectorTiming(backoff=60.0, backoff_cap=60.0)
    async with running(client, timing=slow) as (_, _, errors):
        await until(lambda: bool(errors))
        await asyncio.sleep(0.02)

        assert len(server.asked) == 2


async def test_a_server_that_wants_to_be_left_alone_is(
    server: Scripted, client: HttpKubeClient
) -> None:
    server.will(refusal(429, Retry_After="3600"))
    async with running(client) as (_, _, errors):
        await until(lambda: bool(errors))
        await asyncio.sleep(0.1)

        assert len(server.asked) == 1


async def test_bookmarks_move_the_version_and_reach_nobody(
    server: Scripted, client: HttpKubeClient
) -> None:
    bookmark = {"metadata": {"resourceVersion": "77"}}
    server.will(listing(5), watching(event("BOOKMARK", bookmark), then="end"), watching())
    timing = ReflectorTiming(server_timeout=(0, 0))
    async with running(client, timing=timing) as (_, seen, _):
        await until(lambda: len(server.asked) == 3)

        assert versions(server) == ["list", "5", "77"]
        assert seen.changes == []


async def test_a_silent_watch_is_dropped_and_what_it_missed_is_listed(
    server: Scripted, client: HttpKubeClient
) -> None:
    server.will(
        listing(5),
        watching(event("ADDED", obj("a", 6))),
        listing(7, obj("a", 6), obj("b", 7)),
        watching(),
    )
    impatient = ReflectorTiming(backoff=0.01, inactivity=0.1)
    async with running(client, timing=impatient) as (_, seen, _):
        await until(lambda: len(server.asked) >= 4)

        assert versions(server)[:4] == ["list", "5", "list", "7"]
        assert seen.changes == [("added", "a@6"), ("added", "b@7")]


@pytest.mark.parametrize("then", ["cut", "end"])
@pytest.mark.parametrize("now", [20, 5001, 5002], ids=["behind", "level", "ahead"])
async def test_a_history_that_began_anew_is_listed(
    then: str, now: int, server: Scripted, client: HttpKubeClient
) -> None:
    """A restored server may have come past our version by the time that it answers again."""
    server.will(
        listing(5000, obj("a", 4000), obj("b", 4001)),
        watching(event("MODIFIED", obj("a", 5001)), then=then),
        listing(now, obj("b", 7)),
        watching(),
    )
    async with running(client) as (_, seen, _):
        await until(lambda: len(server.asked) == 4)

    assert versions(server) == ["list", "5000", "list", str(now)]
    assert seen.changes[3:] == [("modified", "b@7"), ("deleted", "a@5001")]


async def test_an_object_of_another_history_is_taken_though_its_version_is_known(
    server: Scripted, client: HttpKubeClient
) -> None:
    there, restored = obj("a", 5001), obj("a", 5001, labels={"is": "another"})
    server.will(
        listing(5000),
        watching(event("ADDED", there), event("ADDED", obj("b", 5002)), then="cut"),
        listing(5003, restored, obj("b", 5002)),
        watching(),
    )
    async with running(client) as (informer, seen, _):
        await until(lambda: len(server.asked) == 4)

        assert informer.store.list() == [restored, obj("b", 5002)]
    assert seen.changes == [("added", "a@5001"), ("added", "b@5002"), ("modified", "a@5001")]


@pytest.mark.parametrize("then", ["cut", "end"])
async def test_a_store_is_behind_until_the_list_after_a_break_is_there(
    then: str, server: Scripted, client: HttpKubeClient
) -> None:
    go_on = asyncio.Event()

    async def late(_: web.Request) -> web.StreamResponse:
        await go_on.wait()
        return listing(9, obj("a", 8))

    server.will(listing(5), watching(event("ADDED", obj("a", 6)), then=then), late, watching())
    async with running(client) as (informer, _, _):
        await until(lambda: len(server.asked) == 3)
        error = informer.error
        go_on.set()
        await until(lambda: informer.error is None)

        assert error is not None
        assert informer.store.list() == [obj("a", 8)]


@pytest.mark.parametrize("kind", ["BOOKMARK", "ADDED"])
async def test_an_event_of_another_history_is_not_taken(
    kind: str, server: Scripted, client: HttpKubeClient
) -> None:
    server.will(
        listing(5000),
        watching(event(kind, obj("a", 21))),
        listing(22, obj("b", 22)),
        watching(),
    )
    async with running(client) as (_, seen, errors):
        await until(lambda: len(server.asked) == 4)

    assert versions(server) == ["list", "5000", "list", "22"]
    assert seen.changes == [("added", "b@22")]
    assert [type(error) for error in errors] == [Gone]


async def test_a_watch_that_ends_as_agreed_is_continued_at_once(
    server: Scripted, client: HttpKubeClient
) -> None:
    server.will(
        listing(5), watching(event("ADDED", obj("a", 6)), then="end"), watching(), watching()
    )
    timing = ReflectorTiming(backoff=0.01, server_timeout=(0, 0))
    async with running(client, timing=timing):
        await until(lambda: len(server.asked) == 3)

    assert versions(server) == ["list", "5", "6"]


async def test_a_watch_that_the_server_ends_at_once_is_not_a_hot_loop(
    server: Scripted, client: HttpKubeClient
) -> None:
    server.will(listing(5), watching(then="end"))
    slow = ReflectorTiming(backoff=60.0, backoff_cap=60.0)
    async with running(client, timing=slow) as (informer, _, errors):
        await until(lambda: bool(errors))

        assert len(server.asked) == 2
        assert "ended the watch at once" in str(informer.error)


async def test_forbidden_is_reported_and_tried_again(
    server: Scripted, client: HttpKubeClient
) -> None:
    server.will(refusal(403, "Forbidden", "user x cannot list"))
    async with running(client) as (informer, _, errors):
        with pytest.raises(NotSynced, match="user x cannot list"):
            await informer.wait_synced(0.05)
        server.will(listing(5, obj("a", 1)), watching())
        await informer.wait_synced(SECONDS)

        assert isinstance(errors[0], Forbidden)
        assert informer.error is None
        assert informer.store.get(ObjectKey("ns", "a")) is not None


async def test_what_was_known_is_kept_while_the_server_refuses(
    server: Scripted, client: HttpKubeClient
) -> None:
    server.will(listing(5, obj("a", 1)), watching(then="cut"), refusal(404, "NotFound"))
    async with running(client) as (informer, seen, errors):
        await until(lambda: len(errors) >= 3)

        assert len(informer.store) == 1
        assert seen.changes == [("added", "a@1")]
        assert informer.error is not None


async def test_a_watch_that_is_always_forbidden_lists_ever_more_slowly(
    server: Scripted, client: HttpKubeClient
) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        return refusal(403) if "watch" in request.query else listing(5)

    server.will(handle)
    timing = ReflectorTiming(backoff=0.001, backoff_cap=60.0)
    async with running(client, timing=timing) as (_, _, errors):
        await until(lambda: len(errors) == 7)

        assert len(server.asked) == 14


async def test_network_faults_are_followed_by_a_list(
    server: Scripted, client: HttpKubeClient
) -> None:
    server.will(
        cut,
        listing(5),
        watching(event("ADDED", obj("a", 6)), then="cut"),
        cut,
        refusal(503),
        listing(6, obj("a", 6)),
        watching(event("MODIFIED", obj("a", 7)), then="cut"),
        listing(7, obj("a", 7)),
        watching(),
    )
    async with running(client) as (_, seen, _):
        await until(lambda: len(server.asked) == 9)

        lists = ["list", "list", "list", "6", "list", "7"]
        assert versions(server) == ["list", "list", "5", *lists]
        assert seen.changes == [("added", "a@6"), ("modified", "a@7")]


async def test_pages_are_read_to_the_end(server: Scripted, client: HttpKubeClient) -> None:
    server.will(
        listing(5, obj("a", 1), token="t"),
        refusal(410, "Expired"),
        listing(6, obj("a", 1), token="t"),
        listing(6, obj("b", 2)),
        watching(),
    )
    async with running(client) as (informer, _, _):
        await informer.wait_synced(SECONDS)
        await until(lambda: len(server.asked) == 5)

        assert len(informer.store) == 2
        assert "continue=t" in server.asked[3][1]


async def test_a_subscriber_that_fails_stops_nothing(
    server: Scripted, client: HttpKubeClient
) -> None:
    server.will(listing(5), watching(event("ADDED", obj("a", 6)), event("ADDED", obj("b", 7))))

    def broken(old: JsonObject | None, new: JsonObject | None) -> None:
        raise ZeroDivisionError

    async with running(client) as (informer, seen, errors):
        unsubscribe = informer.subscribe(broken)
        late = Seen()
        informer.subscribe(late)
        await until(lambda: len(late.changes) == 2)
        unsubscribe()
        unsubscribe()

        assert seen.changes == late.changes == [("added", "a@6"), ("added", "b@7")]
        assert [type(error) for error in errors] == [ZeroDivisionError, ZeroDivisionError]


async def test_a_late_subscriber_hears_what_is_there(
    server: Scripted, client: HttpKubeClient
) -> None:
    server.will(listing(5, obj("a", 1)), watching())
    async with running(client) as (informer, _, _):
        await informer.wait_synced(SECONDS)
        late = Seen()
        informer.subscribe(late)

        assert late.changes == [("added", "a@1")]


async def test_a_relist_finds_what_the_watch_lost(server: Scripted, client: HttpKubeClient) -> None:
    server.will(
        listing(5, obj("a", 1), obj("b", 2)), watching(), listing(9, obj("a", 8)), watching()
    )
    async with running(client) as (informer, seen, _):
        await until(lambda: len(server.asked) == 2)
        await informer.relist(SECONDS)

        assert seen.changes[2:] == [("modified", "a@8"), ("deleted", "b@2")]
        await until(lambda: len(server.asked) == 4)
    assert versions(server) == ["list", "5", "list", "9"]


async def test_a_failed_informer_can_be_told_to_try_at_once(
    server: Scripted, client: HttpKubeClient
) -> None:
    server.will(refusal(404))
    slow = ReflectorTiming(backoff=60.0, backoff_cap=60.0)
    async with running(client, timing=slow) as (informer, _, errors):
        await until(lambda: bool(errors))
        server.will(listing(5, obj("a", 1)), watching())
        informer.retry_now()
        await informer.wait_synced(SECONDS)

        assert len(informer.store) == 1
        informer.retry_now()
    assert versions(server).count("list") == 2


async def test_a_transform_decides_what_is_stored(server: Scripted, client: HttpKubeClient) -> None:
    def ours(each: JsonObject) -> JsonObject | None:
        if each["metadata"].get("labels", {}).get("owner") != "me":
            return None
        each["metadata"].pop("annotations", None)
        return each

    mine = {"labels": {"owner": "me"}, "annotations": {"big": "x"}}
    server.will(
        listing(5, obj("a", 1, **mine), obj("b", 2)),
        watching(
            event("ADDED", obj("c", 6)),
            event("MODIFIED", obj("a", 7, labels={"owner": "other"})),
            event("MODIFIED", obj("b", 8, **mine)),
        ),
    )
    async with running(client, transform=ours) as (informer, seen, _):
        await until(lambda: len(seen.changes) == 3)

        assert seen.changes == [("added", "a@1"), ("deleted", "a@1"), ("added", "b@8")]
        assert "annotations" not in informer.store.list()[0]["metadata"]


async def test_lines_of_any_length_and_cut_anywhere_are_read(
    server: Scripted, client: HttpKubeClient
) -> None:
    large = obj("large", 6, annotations={"x": "y" * (5 * 1024 * 1024)})
    stream = (
        event("ADDED", large) + b"\n" + event("ADDED", obj("b", 7)) + event("ADDED", obj("c", 8))
    )
    parts = [stream[:-90], stream[-90:-45], stream[-45:]]
    server.will(listing(5), watching(*parts))
    async with running(client) as (_, seen, _):
        await until(lambda: len(seen.changes) == 3)

        assert [name for _, name in seen.changes] == ["large@6", "b@7", "c@8"]


async def test_informers_are_shared_and_stop_with_their_last_user(
    server: Scripted, client: HttpKubeClient
) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        if "watch" in request.query:
            found: web.StreamResponse = await watching()(request)
            return found
        return listing(5, obj("a", 1))

    server.will(handle)
    async with InformerFactory(client, RealClock(), get_logger("test")) as factory:
        first = factory.informer(CONFIG_MAPS, indexes={"name": lambda o: [o["metadata"]["name"]]})
        second = factory.informer(CONFIG_MAPS)
        other = factory.informer(CONFIG_MAPS, metadata_only=True)
        await factory.wait_synced(SECONDS)

        assert first is second is not other
        assert len(second.store.by_index("name", "a")) == 1
        factory.release(first)
        assert factory.informer(CONFIG_MAPS) is first
        factory.release(first)
        factory.release(first)
        await until(lambda: len(factory._tasks) == 1)
        again = factory.informer(CONFIG_MAPS)
        assert again is not first
        await again.wait_synced(SECONDS)


async def test_a_hundred_watches_do_not_delay_a_request(
    server: Scripted, client: HttpKubeClient
) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        if "watch" in request.query:
            found: web.StreamResponse = await watching()(request)
            return found
        return listing(5) if request.path.endswith("configmaps") else answer({"kind": "Lease"})

    server.will(handle)
    async with InformerFactory(client, RealClock(), get_logger("test")) as factory:
        for number in range(120):
            factory.informer(CONFIG_MAPS, label_selector=f"n={number}")
        await factory.wait_synced(SECONDS)
        await until(lambda: sum("watch=1" in path for _, path in server.asked) == 120)
        async with asyncio.timeout(1):
            assert await client.request("GET", "/lease") == {"kind": "Lease"}


async def test_a_pool_of_its_own_never_waits_behind_slow_requests(
    server: Scripted, client: HttpKubeClient
) -> None:
    stop = asyncio.Event()

    async def handle(request: web.Request) -> web.StreamResponse:
        if request.path == "/slow":
            await stop.wait()
        return answer({})

    server.will(handle)
    lease = client.own_pool(1)
    async with asyncio.TaskGroup() as group:
        for number in range(110):
            group.create_task(client.request("GET", "/slow"), name=f"slow-{number}")
        await until(lambda: len(server.asked) == 100)
        async with asyncio.timeout(1):
            assert await lease.request("GET", "/lease") == {}
        stop.set()
