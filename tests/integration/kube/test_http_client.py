"""What the client sends, what it repeats, and what it makes of the answers."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import weakref
from typing import Any

import orjson
import pytest
from aiohttp import web

from fluvial.kube.connection import Connection
from fluvial.kube.errors import (
    AlreadyExists,
    ApiError,
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    NotFound,
    ServerError,
    TooManyRequests,
    Unauthorized,
    Unreachable,
)
from fluvial.kube.http import HttpKubeClient
from fluvial.kube.resource import Resource
from fluvial.kube.retry import RetryPolicy
from fluvial.kube.urls import UnsafeName
from fluvial.objects import ObjectKey

from .conftest import Scripted, answer, cut, make_client, refusal

CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap", namespaced=True)
SECRETS = Resource("", "v1", "secrets", "Secret", namespaced=True)
KEY = ObjectKey("ns", "name")
OBJECT: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"namespace": "ns", "name": "name"},
}


@pytest.mark.parametrize("status", [500, 502, 503, 504, 429])
async def test_a_read_is_repeated_after(
    status: int, server: Scripted, client: HttpKubeClient
) -> None:
    server.will(refusal(status), refusal(status), answer(OBJECT))

    assert await client.get(CONFIG_MAPS, KEY) == OBJECT
    assert len(server.asked) == 3


@pytest.mark.parametrize("status", [400, 403, 404, 409, 410, 422, 501])
async def test_a_read_is_not_repeated_after(
    status: int, server: Scripted, client: HttpKubeClient
) -> None:
    server.will(refusal(status))

    with pytest.raises(ApiError) as caught:
        await client.get(CONFIG_MAPS, KEY)

    assert caught.value.status == status
    assert len(server.asked) == 1


async def test_what_a_caller_had_is_gone_after_a_refusal(
    server: Scripted, client: HttpKubeClient
) -> None:
    """Without the garbage collector, which a controller lets run rarely."""

    class Large:
        """What a caller has in hand."""

    had: list[weakref.ref[Large]] = []

    async def call() -> None:
        large = Large()
        had.append(weakref.ref(large))
        await client.get(CONFIG_MAPS, KEY)

    server.will(refusal(404))
    gc.collect()
    gc.disable()
    try:
        with contextlib.suppress(NotFound):
            await call()
        left = [one() for one in had]
    finally:
        gc.enable()

    assert left == [None]


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_a_create_that_may_have_happened_is_not_repeated(
    status: int, server: Scripted, client: HttpKubeClient
) -> None:
    server.will(refusal(status))

    with pytest.raises(ServerError):
        await client.create(CONFIG_MAPS, OBJECT, field_manager="m")

    assert len(server.asked) == 1


async def test_a_create_on_a_cut_connection_is_not_repeated(
    server: Scripted, client: HttpKubeClient
) -> None:
    server.will(cut, answer(OBJECT))

    with pytest.raises(Unreachable) as caught:
        await client.create(CONFIG_MAPS, OBJECT, field_manager="m")

    assert caught.value.may_have_happened
    assert len(server.asked) == 1


async def test_a_create_that_was_surely_not_processed_is_repeated(
    server: Scripted, client: HttpKubeClient
) -> None:
    server.will(refusal(429), refusal(503, Retry_After="0"), answer(OBJECT, 201))

    assert await client.create(CONFIG_MAPS, OBJECT, field_manager="m") == OBJECT
    assert len(server.asked) == 3


async def test_a_dry_run_create_is_repeated(server: Scripted, client: HttpKubeClient) -> None:
    server.will(cut, refusal(500), answer(OBJECT))

    await client.create(CONFIG_MAPS, OBJECT, field_manager="m", dry_run=True)

    assert len(server.asked) == 3
    assert "dryRun=All" in server.asked[0][1]


async def test_an_apply_is_repeated_on_a_cut_connection(
    server: Scripted, client: HttpKubeClient
) -> None:
    server.will(cut, answer(OBJECT))

    await client.apply(CONFIG_MAPS, KEY, OBJECT, field_manager="m")

    assert server.asked[0] == server.asked[1]
    assert server.bodies[0] == server.bodies[1] == orjson.dumps(OBJECT)
    assert server.headers[1]["Content-Type"] == "application/apply-patch+yaml"
    assert server.asked[1][1] == ("/api/v1/namespaces/ns/configmaps/name?fieldManager=m&force=true")


async def test_a_json_patch_is_not_repeated(server: Scripted, client: HttpKubeClient) -> None:
    server.will(cut, answer(OBJECT))
    body = [{"op": "add", "path": "/data/x", "value": "y"}]

    with pytest.raises(Unreachable):
        await client.patch(CONFIG_MAPS, KEY, body, patch_type="json", field_manager="m")

    assert len(server.asked) == 1


async def test_a_server_that_is_not_there_is_tried_until_the_budget_ends(
    unused_tcp_port: int,
) -> None:
    connection = Connection(f"http://127.0.0.1:{unused_tcp_port}")
    counted: list[tuple[str, str, str]] = []
    client = HttpKubeClient(
        connection,
        user_agent="t",
        retry=RetryPolicy(budget=0.05, base=0.01, cap=0.01),
        on_request=lambda *seen: counted.append(seen),
    )
    async with client:
        with pytest.raises(Unreachable, match="cannot reach") as caught:
            await client.create(CONFIG_MAPS, OBJECT, field_manager="m")

    assert not caught.value.may_have_happened
    assert len(counted) >= 3
    assert counted[0] == ("<error>", "POST", f"127.0.0.1:{unused_tcp_port}")


async def test_a_long_retry_after_is_handed_to_the_caller(
    server: Scripted, client: HttpKubeClient
) -> None:
    server.will(refusal(429, Retry_After="3600"))

    with pytest.raises(TooManyRequests) as caught:
        await client.get(CONFIG_MAPS, KEY)

    assert caught.value.retry_after == 3600
    assert len(server.asked) == 1


async def test_a_slow_answer_is_an_error(server: Scripted) -> None:
    async def never(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(30)
        return web.Response()

    server.will(never)
    async with make_client(server, timeout=0.05, retry=RetryPolicy(budget=0)) as client:
        with pytest.raises(Unreachable, match="no answer in time"):
            await client.get(CONFIG_MAPS, KEY)


class Renewing:
    """Credentials that become good after one refresh."""

    def __init__(self, *, better: bool) -> None:
        self.better = better
        self.refreshed = 0

    async def header(self) -> str:
        return f"Bearer t{self.refreshed}"

    async def refresh(self) -> bool:
        self.refreshed += 1
        return self.better


async def test_credentials_are_refreshed_once_after_a_401(server: Scripted) -> None:
    auth = Renewing(better=True)
    server.will(refusal(401), answer(OBJECT), refusal(401))
    async with make_client(server, connection=Connection(server.url, auth=auth)) as client:
        await client.create(CONFIG_MAPS, OBJECT, field_manager="m")
        with pytest.raises(Unauthorized):
            await client.get(CONFIG_MAPS, KEY)

    assert [each["Authorization"] for each in server.headers] == [
        "Bearer t0",
        "Bearer t1",
        "Bearer t1",
        "Bearer t2",
    ]


async def test_credentials_that_cannot_be_refreshed_are_not_tried_again(server: Scripted) -> None:
    server.will(refusal(401))
    auth = Renewing(better=False)
    async with make_client(server, connection=Connection(server.url, auth=auth)) as client:
        with pytest.raises(Unauthorized):
            await client.get(CONFIG_MAPS, KEY)

    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("status", "reason", "kind"),
    [
        (403, "Forbidden", Forbidden),
        (404, "NotFound", NotFound),
        (409, "Conflict", Conflict),
        (409, "AlreadyExists", AlreadyExists),
        (410, "Expired", Gone),
        (422, "Invalid", Invalid),
    ],
)
async def test_refusals_become_errors(
    status: int, reason: str, kind: type[ApiError], server: Scripted, client: HttpKubeClient
) -> None:
    server.will(refusal(status, reason, "because"))

    with pytest.raises(kind, match="because") as caught:
        await client.get(CONFIG_MAPS, KEY)

    assert caught.value.reason == reason


async def test_a_refusal_that_is_no_status_keeps_a_short_text(
    server: Scripted, client: HttpKubeClient
) -> None:
    server.will(web.Response(body=b"404 page not found\n", status=404))

    with pytest.raises(NotFound, match="404 page not found") as caught:
        await client.get(CONFIG_MAPS, KEY)

    assert caught.value.is_resource


async def test_nothing_that_was_in_a_secret_is_in_the_error(
    server: Scripted, client: HttpKubeClient
) -> None:
    message = (
        'Secret "name" is invalid: data: Invalid value: "hunter2-plain": bad; '
        "also aHVudGVyMi1kYXRh and hunter2-data and 4711471147 expected string, "
        'got &value.valueUnstructured{Value:map[string]interface {}{"x":"hunter3"}}'
    )
    body = refusal(422, "Invalid", message)
    server.will(body)
    secret = {
        "metadata": {"name": "name", "namespace": "ns"},
        "stringData": {"a": "hunter2-plain", "n": 4711471147},
        "data": {"b": "aHVudGVyMi1kYXRh"},
    }

    with pytest.raises(Invalid) as caught:
        await client.apply(SECRETS, KEY, secret, field_manager="m")

    text = repr(caught.value) + str(caught.value) + str(caught.value.details)
    assert "hunter" not in text
    assert "aHVudGVy" not in text
    assert "4711471147" not in text
    assert 'Secret "name" is invalid' in text


async def test_a_refusal_that_is_no_status_is_not_shown_for_a_secret(
    server: Scripted, client: HttpKubeClient
) -> None:
    server.will(web.Response(body=b"hunter2", status=400))

    with pytest.raises(ApiError) as caught:
        await client.get(SECRETS, KEY)

    assert "hunter2" not in str(caught.value)


async def test_redirects_are_not_followed(server: Scripted, client: HttpKubeClient) -> None:
    server.will(web.Response(body=b"", status=307, headers={"Location": "http://169.254.169.254/"}))

    with pytest.raises(ApiError) as caught:
        await client.get(CONFIG_MAPS, KEY)

    assert caught.value.status == 307
    assert len(server.asked) == 1


async def test_a_view_acts_as_somebody_else(server: Scripted, client: HttpKubeClient) -> None:
    server.will(answer(OBJECT))
    tenant = client.impersonate("system:serviceaccount:ns:deployer", ("a", "b"))

    await tenant.get(CONFIG_MAPS, KEY)
    await client.get(CONFIG_MAPS, KEY)
    await tenant.aclose()
    await client.get(CONFIG_MAPS, KEY)

    assert server.headers[0]["Impersonate-User"] == "system:serviceaccount:ns:deployer"
    assert server.headers[0].getall("Impersonate-Group") == ["a", "b"]
    assert "Impersonate-User" not in server.headers[1]


@pytest.mark.parametrize("user", ["", "a\r\nImpersonate-Group: system:masters", "a\nb", "a\0"])
async def test_a_user_that_could_end_the_header_is_refused(
    user: str, client: HttpKubeClient
) -> None:
    with pytest.raises(UnsafeName, match="invalid user"):
        client.impersonate(user)
    with pytest.raises(UnsafeName, match="invalid group"):
        client.impersonate("fine", (user,))


@pytest.mark.parametrize("path", ["@evil.example/", "", "/a/../b", "/a b", "/a\r\nX: y", "/a#b"])
async def test_a_ready_path_cannot_leave_the_server(
    path: str, server: Scripted, client: HttpKubeClient
) -> None:
    server.will(answer({}))

    with pytest.raises(UnsafeName):
        await client.request("GET", path)

    assert server.asked == []


async def test_a_create_needs_a_namespace(server: Scripted, client: HttpKubeClient) -> None:
    with pytest.raises(UnsafeName, match="namespace"):
        await client.create(CONFIG_MAPS, {"metadata": {"name": "x"}}, field_manager="m")


async def test_a_delete_carries_its_preconditions(server: Scripted, client: HttpKubeClient) -> None:
    server.will(answer({"kind": "Status"}))

    await client.delete(CONFIG_MAPS, KEY, uid="u", resource_version="7", dry_run=True)

    assert orjson.loads(server.bodies[0]) == {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "propagationPolicy": "Background",
        "preconditions": {"uid": "u", "resourceVersion": "7"},
        "dryRun": ["All"],
    }


async def test_metadata_only_asks_for_it_and_drops_managed_fields(
    server: Scripted, client: HttpKubeClient
) -> None:
    item = {"metadata": {"name": "a", "managedFields": [{}]}, "kind": "PartialObjectMetadata"}
    server.will(answer({"metadata": {"resourceVersion": "9"}, "items": [item]}))

    page = await client.list_page(SECRETS, metadata_only=True, limit=2)

    accept = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
    assert server.headers[0]["Accept"] == accept
    assert page.items == [{"metadata": {"name": "a"}, "kind": "Secret", "apiVersion": "v1"}]
    assert page.resource_version == "9"
    assert server.asked[0][1] == "/api/v1/secrets?limit=2"


async def test_a_list_that_expires_on_the_way_starts_again(
    server: Scripted, client: HttpKubeClient
) -> None:
    first = answer(
        {"metadata": {"continue": "t/+", "resourceVersion": "1"}, "items": [{"metadata": {}}]}
    )
    last = answer({"metadata": {"resourceVersion": "2"}, "items": [{"metadata": {}}]})
    server.will(first, refusal(410, "Expired"), first, last)

    page = await client.list_all(CONFIG_MAPS)

    assert len(page.items) == 2
    assert page.resource_version == "2"
    assert page.items[0]["kind"] == "ConfigMap"
    assert server.asked[1][1].endswith("&continue=t%2F%2B")


async def test_a_list_that_always_expires_is_given_up(
    server: Scripted, client: HttpKubeClient
) -> None:
    server.will(refusal(410, "Expired"))

    with pytest.raises(Gone):
        await client.list_all(CONFIG_MAPS)

    assert len(server.asked) == 3


async def test_warnings_and_counts_are_handed_on(server: Scripted) -> None:
    warnings: list[str] = []
    counts: list[tuple[str, str, str]] = []
    server.will(answer(OBJECT, Warning='299 - "it is \\"old\\"", 299 - "really"'))
    client = make_client(
        server, on_warning=warnings.append, on_request=lambda *seen: counts.append(seen)
    )
    async with client:
        await client.get(CONFIG_MAPS, KEY)

    assert warnings == ['it is "old"', "really"]
    assert counts == [("200", "GET", client.host)]


async def test_the_limit_goes_where_the_server_is_fair(server: Scripted) -> None:
    server.will(answer(OBJECT, X_Kubernetes_PF_FlowSchema_UID="u"))
    async with make_client(server, qps=0.001, burst=1) as client:
        assert await client.use_server_side_limits()
        async with asyncio.timeout(5):
            for _ in range(3):
                await client.get(CONFIG_MAPS, KEY)

    assert len(server.asked) == 4


async def test_a_closed_client_says_so(server: Scripted) -> None:
    server.will(answer(OBJECT))
    client = make_client(server, retry=RetryPolicy(budget=0))
    await client.get(CONFIG_MAPS, KEY)
    await client.aclose()

    with pytest.raises(Unreachable, match="closed"):
        await client.get(CONFIG_MAPS, KEY)


async def test_a_refused_address_is_not_connected(server: Scripted) -> None:
    def refuse(address: str, port: int) -> None:
        raise PermissionError(1, f"{address} is not allowed")

    server.will(answer(OBJECT))
    connection = Connection(server.url, check_address=refuse)
    async with make_client(server, connection=connection, retry=RetryPolicy(budget=0)) as client:
        with pytest.raises(Unreachable, match=r"127\.0\.0\.1 is not allowed"):
            await client.get(CONFIG_MAPS, KEY)

    assert server.asked == []


async def test_a_path_prefix_of_the_server_is_kept(server: Scripted) -> None:
    server.will(answer(OBJECT))
    connection = Connection(server.url + "/k8s/clusters/c-1")
    async with make_client(server, connection=connection) as client:
        await client.get(CONFIG_MAPS, ObjectKey("ns", "a:b"))

    assert server.asked[0][1] == "/k8s/clusters/c-1/api/v1/namespaces/ns/configmaps/a:b"


async def test_a_log_is_cut_and_asked_for_once(server: Scripted, client: HttpKubeClient) -> None:
    """A server that does not keep to the limit costs no memory, one that fails no time."""
    server.will(web.Response(body=b"one\ntw\xff" + b"o" * 5_000_000), refusal(500, message="s3"))

    text = await client.pod_log(KEY, container="a b", tail_lines=3, limit_bytes=7)
    assert text == "one\ntw\ufffd"
    path = "/api/v1/namespaces/ns/pods/name/log?container=a%20b&tailLines=3&limitBytes=7"
    assert server.asked == [("GET", path)]

    with pytest.raises(ServerError):
        await client.pod_log(KEY, tail_lines=3, limit_bytes=7)
    assert len(server.asked) == 2
    with pytest.raises(UnsafeName):
        await client.pod_log(ObjectKey("ns", "../x"), tail_lines=3, limit_bytes=7)
