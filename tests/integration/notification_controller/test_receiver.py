"""Receivers: their addresses, their statuses, and what calls do."""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
from pathlib import Path
from typing import Any

import orjson
import pytest

from fluvial.kube import kinds
from fluvial.net.policy import parse_networks
from fluvial.objects import ObjectKey
from harness.receivers import TOKEN, ReceiverWorld, ready_of
from notification_controller.assemble import Settings

PUSH = {"ref": "refs/heads/main", "commits": [{"id": "abc"}, {"id": "def"}]}


def _signed(body: Any = PUSH, token: str = TOKEN, event: str = "push") -> dict[str, str]:
    digest = hmac.new(token.encode(), orjson.dumps(body), hashlib.sha256).hexdigest()
    return {"X_Hub_Signature_256": f"sha256={digest}", "X_GitHub_Event": event}


async def _until_limited(world: ReceiverWorld, url: str, forwarded: str = "") -> None:
    """Call, under another invented address each time, until that is too often.

    One refusal a second is forgiven, so how many it takes depends on how fast calls are.
    """
    for number in range(1000):
        told = f"2001:db8:{number:x}::1{forwarded}"
        if await world.call(url, X_Forwarded_For=told) == 429:
            assert number >= 50
            return
    raise AssertionError("nobody is limited")


# --- what must not wake anything ----------------------------------------------------------------------


async def test_nothing_wakes_without_a_valid_signature(world: ReceiverWorld) -> None:
    await world.secret()
    await world.git("app")
    url = await world.receiver()

    assert await world.call(url, PUSH) == 400
    assert await world.call(url, PUSH, **_signed(token="other")) == 400
    assert await world.call(url, {**PUSH, "ref": "x"}, **_signed()) == 400
    assert await world.call(url + "0", PUSH, **_signed()) == 404
    assert await world.call(url + "?x=1", PUSH, **_signed()) == 404
    assert await world.call(world.url + "/hook/", PUSH, **_signed()) == 404
    assert await world.call(world.url + "/", PUSH, **_signed()) == 404
    assert await world.woken() == ""


async def test_a_body_that_is_too_large_is_refused(world: ReceiverWorld) -> None:
    await world.secret()
    await world.git("app")
    url = await world.receiver()

    for address in (url, world.url + "/hook/none"):
        body = io.BytesIO(b" " * ((3 << 20) + 1))
        assert await world.call(address, body) == 413
    assert await world.woken() == ""


@pytest.mark.shows("field:Receiver/spec.suspend")
async def test_a_suspended_receiver_refuses_calls(world: ReceiverWorld) -> None:
    await world.secret()
    await world.git("app")
    url = await world.receiver()
    await world.make(suspend=True)
    await world.until(lambda obj: obj["spec"].get("suspend"))
    while await world.call(url, PUSH, **_signed()) != 503:
        pass  # the server hears of it a moment later

    await world.until(lambda obj: "webhookPath" in obj["status"])


async def test_an_old_token_is_worth_nothing_at_once(world: ReceiverWorld) -> None:
    await world.secret()
    await world.git("app")
    url = await world.receiver()
    await world.secret("new")

    assert await world.call(url, PUSH, **_signed()) == 404

    done = await world.until(lambda obj: world.url + obj["status"]["webhookPath"] != url)
    new = world.url + done["status"]["webhookPath"]
    while await world.call(new, PUSH, **_signed(token="new")) != 200:
        pass  # the server hears of it a moment later
    assert await world.call(url, PUSH, **_signed()) == 404


async def test_other_namespaces_are_out_of_reach_where_the_operator_says_so(tmp_path: Path) -> None:
    async with ReceiverWorld.start(tmp_path, settings=Settings(cross_namespace=False)) as world:
        await world.secret()
        await world.git("app", "other")
        resources = [{"kind": "GitRepository", "name": "app", "namespace": "other"}]
        url = await world.receiver(resources=resources)

        assert await world.call(url, PUSH, **_signed()) == 500
        assert await world.woken(namespace="other") == ""


async def test_a_kind_of_another_group_is_refused(world: ReceiverWorld) -> None:
    await world.secret()
    await world.git("app")
    resources = [{"apiVersion": "apps/v1", "kind": "GitRepository", "name": "app"}]
    url = await world.receiver(resources=resources)

    assert await world.call(url, PUSH, **_signed()) == 500
    assert await world.woken() == ""


async def test_who_is_refused_too_often_has_to_wait(world: ReceiverWorld) -> None:
    await world.secret()
    await world.git("app")
    url = await world.receiver()
    for address in (world.url + "/hook/guess", url):
        await _until_limited(world, address)

        assert await world.call(url, PUSH, **_signed()) == 200, "the limit is for strangers"


async def test_callers_behind_a_trusted_proxy_are_told_apart(tmp_path: Path) -> None:
    settings = Settings(trusted_proxies=parse_networks("127.0.0.0/8"))
    async with ReceiverWorld.start(tmp_path, settings=settings) as world:
        url = world.url + "/hook/guess"
        await _until_limited(world, url, ", 203.0.113.9")

        assert await world.call(url, X_Forwarded_For="203.0.113.10") == 404


async def test_callers_who_are_no_proxies_share_what_they_invent(world: ReceiverWorld) -> None:
    await _until_limited(world, world.url + "/hook/guess")


# --- two Receivers with one path ----------------------------------------------------------------------


async def test_a_path_is_that_of_the_receiver_that_has_it(world: ReceiverWorld) -> None:
    """``token`` + ``hook`` + ``team`` is also ``tokenh`` + ``ook`` + ``team``."""
    await world.secret()
    await world.git("app")
    await world.git("spy")
    data = {"token": base64.b64encode(b"tokenh").decode()}
    await world.apply(kinds.SECRET, "team", "other", data=data)
    url = await world.receiver(events=["push"])
    resources = [{"kind": "GitRepository", "name": "spy"}]
    await world.make("ook", type="generic", secretRef={"name": "other"}, resources=resources)
    refused = await world.until(lambda obj: ready_of(obj).get("status") == "False", "ook")

    assert ready_of(refused)["reason"] == "ValidationFailed"
    assert "choose another name or token" in ready_of(refused)["message"]
    assert "webhookPath" not in refused["status"]
    assert await world.call(url, PUSH) == 400, "no other Receiver answers for a call without proof"
    assert await world.call(url, PUSH, **_signed()) == 200
    assert await world.woken()
    assert await world.woken("spy") == ""


# --- what calls do ------------------------------------------------------------------------------------


@pytest.mark.shows(
    "Receiver/Ready/Succeeded",
    "event:Receiver/Succeeded",
    "field:Receiver/spec.type",
    "field:Receiver/spec.secretRef.name",
    "field:Receiver/spec.resources[].kind",
    "field:Receiver/spec.resources[].name",
)
async def test_a_push_wakes_its_source(world: ReceiverWorld) -> None:
    await world.secret()
    await world.git("app")
    await world.git("bystander")
    url = await world.receiver()

    path = "/hook/" + hashlib.sha256(b"token" + b"hook" + b"team").hexdigest()
    assert url == world.url + path, "the address that Flux derives"
    assert await world.call(url, PUSH, **_signed()) == 200
    assert await world.woken()
    assert await world.woken("bystander") == ""
    obj = await world.client.get(kinds.GIT_REPOSITORY, ObjectKey("team", "app"))
    assert obj["metadata"]["generation"] == 1, "nothing but an annotation"
    while ("Normal", "Succeeded") not in await world.reasons():
        pass


@pytest.mark.shows("field:Receiver/spec.events[]")
async def test_only_events_that_are_listed_wake(world: ReceiverWorld) -> None:
    await world.secret()
    await world.git("app")
    url = await world.receiver(events=["Push"])

    assert await world.call(url, PUSH, **_signed(event="ping")) == 200
    unnamed = _signed() | {"X_GitHub_Event": ""}
    assert await world.call(url, PUSH, **unnamed) == 200
    assert await world.woken() == ""
    assert await world.call(url, PUSH, **_signed(event="push")) == 200
    assert await world.woken()


async def test_a_delivery_wakes_once(world: ReceiverWorld) -> None:
    await world.secret()
    await world.git("app")
    url = await world.receiver()
    delivery = {"X_GitHub_Delivery": "one"}

    assert await world.call(url, PUSH, **_signed(), **delivery) == 200
    first = await world.woken()
    assert await world.call(url, PUSH, **_signed(), **delivery) == 200
    assert await world.woken() == first
    assert await world.call(url, PUSH, **_signed(), X_GitHub_Delivery="two") == 200
    assert await world.woken() != first


async def test_a_delivery_that_failed_is_taken_when_it_comes_again(world: ReceiverWorld) -> None:
    await world.secret()
    url = await world.receiver()
    delivery = {"X_GitHub_Delivery": "one"}

    assert await world.call(url, PUSH, **_signed(), **delivery) == 500
    await world.git("app")
    assert await world.call(url, PUSH, **_signed(), **delivery) == 200
    assert await world.woken()


@pytest.mark.shows(
    "field:Receiver/spec.resources[].apiVersion",
    "field:Receiver/spec.resources[].matchLabels",
    "field:Receiver/spec.resources[].namespace",
)
async def test_all_objects_with_labels(world: ReceiverWorld) -> None:
    await world.secret()
    for name, labels in (("one", {"team": "a"}), ("two", {"team": "a"}), ("three", {"team": "b"})):
        await world.git(name, "other", labels)
    await world.git("app", labels={"team": "a"})
    resource = {
        "apiVersion": "source.toolkit.fluxcd.io/v1beta2",
        "kind": "GitRepository",
        "name": "*",
        "namespace": "other",
        "matchLabels": {"team": "a"},
    }
    url = await world.receiver(resources=[resource])

    assert await world.call(url, PUSH, **_signed()) == 200
    assert [bool(await world.woken(n, "other")) for n in ("one", "two", "three")] == [
        True,
        True,
        False,
    ]
    assert await world.woken() == ""


async def test_what_is_there_is_woken_though_something_is_missing(world: ReceiverWorld) -> None:
    await world.secret()
    await world.git("app")
    names = ("none", "app", "*")
    url = await world.receiver(
        resources=[{"kind": "GitRepository", "name": name} for name in names]
    )

    assert await world.call(url, PUSH, **_signed()) == 500
    assert await world.woken()


@pytest.mark.shows("field:Receiver/spec.resourceFilter", "field:Receiver/spec.resources[].filter")
@pytest.mark.slow
async def test_filters_see_the_request_and_the_object(world: ReceiverWorld) -> None:
    await world.secret()
    for name in ("main", "dev"):
        await world.git(name, labels={"app": "shop", "branch": name})
    every = {"kind": "GitRepository", "name": "*", "matchLabels": {"app": "shop"}}
    url = await world.receiver(
        resourceFilter="req.commits.size() > 1",
        resources=[
            {**every, "filter": "req.ref == 'refs/heads/' + res.metadata.labels.branch"},
        ],
    )

    short = {**PUSH, "commits": []}
    assert await world.call(url, short, **_signed(short)) == 200
    assert await world.woken("main") == ""
    assert await world.call(url, PUSH, **_signed()) == 200
    assert await world.woken("main")
    assert await world.woken("dev") == ""
    odd = {"ref": "refs/heads/main"}
    assert await world.call(url, odd, **_signed(odd)) == 500, (
        "a filter that fails lets nothing through"
    )
    assert await world.woken("dev") == ""


# --- statuses -----------------------------------------------------------------------------------------


@pytest.mark.shows("Receiver/Ready/TokenNotFound", "event:Receiver/TokenNotFound")
async def test_a_missing_token_is_said_and_comes_later(world: ReceiverWorld) -> None:
    await world.git("app")
    await world.make()
    failed = await world.until(lambda obj: ready_of(obj).get("reason") == "TokenNotFound")
    assert ready_of(failed)["message"] == "Secret 'team/token' does not exist"
    await world.secret("")
    await world.until(lambda obj: "empty" in ready_of(obj).get("message", ""))
    await world.secret()
    await world.until(lambda obj: ready_of(obj).get("status") == "True")
    while ("Warning", "TokenNotFound") not in await world.reasons():
        pass


@pytest.mark.shows(
    "Receiver/Ready/InvalidCELExpression",
    "Receiver/Stalled/InvalidCELExpression",
    "event:Receiver/InvalidCELExpression",
)
@pytest.mark.slow
@pytest.mark.parametrize(
    ("expression", "said"),
    [("req.", "Syntax error"), ("1 + 1", "must be true or false"), ("claims.x == 1", "claims")],
)
async def test_an_expression_that_is_none_stalls(
    world: ReceiverWorld, expression: str, said: str
) -> None:
    await world.secret()
    await world.make(resourceFilter=expression)
    stalled = await world.until(lambda obj: ready_of(obj, "Stalled"))

    assert ready_of(stalled)["reason"] == "InvalidCELExpression"
    assert said in ready_of(stalled)["message"]
    assert stalled["status"]["observedGeneration"] == stalled["metadata"]["generation"]
    while ("Warning", "InvalidCELExpression") not in await world.reasons():
        pass
    await world.make()
    await world.until(lambda obj: ready_of(obj).get("status") == "True")


@pytest.mark.shows(
    "Receiver/Ready/ValidationFailed",
    "Receiver/Stalled/ValidationFailed",
    "event:Receiver/ValidationFailed",
)
async def test_an_issuer_over_http_stalls(world: ReceiverWorld) -> None:
    provider = {
        "issuerURL": "http://issuer.example.com",
        "validations": [{"expression": "true", "message": "never"}],
    }
    await world.make(type="generic-oidc", secretRef=None, oidcProviders=[provider])
    stalled = await world.until(lambda obj: ready_of(obj, "Stalled"))

    assert ready_of(stalled)["reason"] == "ValidationFailed"
    assert "https" in ready_of(stalled)["message"]
    while ("Warning", "ValidationFailed") not in await world.reasons():
        pass


@pytest.mark.shows("field:Receiver/spec.interval")
async def test_it_is_looked_at_again_after_its_interval(world: ReceiverWorld) -> None:
    """A Secret that nobody watches is noticed by the timer."""
    await world.secret()
    first = await world.receiver(interval="200ms")
    await world.apply(kinds.SECRET, "team", "token", data={"token": "bmV3"})
    key = ObjectKey("team", "token")
    await world.client.patch(
        kinds.SECRET,
        key,
        {"metadata": {"labels": None}},
        patch_type="merge",
        field_manager="test",
    )

    await world.until(lambda obj: world.url + obj["status"]["webhookPath"] != first)


async def test_a_request_is_answered(world: ReceiverWorld) -> None:
    await world.secret()
    await world.receiver()
    await world.client.patch(
        kinds.RECEIVER,
        ObjectKey("team", "hook"),
        {"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": "now"}}},
        patch_type="merge",
        field_manager="test",
    )

    await world.until(lambda obj: obj["status"].get("lastHandledReconcileAt") == "now")


async def test_metrics_tell_calls_apart(world: ReceiverWorld) -> None:
    await world.call(world.url + "/hook/none")
    await world.call(world.url + "/other", method="PROPFIND")

    text = world.metrics.render().decode()
    name = "gotk_receiver_http_request_duration_seconds_count"
    assert f'{name}{{code="404",handler="/hook/",method="POST"}} 1.0' in text
    assert f'{name}{{code="404",handler="/",method="other"}} 1.0' in text
