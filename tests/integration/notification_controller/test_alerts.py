"""From an event that a controller posts to a request that a service gets."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Self

import pytest
from aiohttp import web

from fluvial.kube import kinds
from fluvial.kube.errors import NotFound
from fluvial.objects import ObjectKey
from gitservers.certs import TestCA
from harness.receivers import ReceiverWorld
from harness.webserver import requiring_certificate
from notification_controller.alert.lanes import LaneTimes
from notification_controller.assemble import Settings

FAST = LaneTimes(patience=20.0, first_pause=0.02, longest_pause=0.1)


class Service:
    """Takes messages.

    Attributes:
        got: bodies of the requests that were answered by 200.
        tries: all requests.
        answers: statuses of the next answers; 200 when there are no more.
        hold: while it is not set, requests wait.

    """

    def __init__(self, tls: Any = None) -> None:
        self.got: list[Any] = []
        self.headers: list[dict[str, str]] = []
        self.tries = 0
        self.answers: list[int] = []
        self.body = ""
        self.hold = asyncio.Event()
        self.hold.set()
        self.url = ""
        self._tls = tls
        self._runner: web.AppRunner

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._take)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._tls).start()
        scheme = "https" if self._tls else "http"
        self.url = f"{scheme}://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.hold.set()
        await self._runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        self.tries += 1
        await self.hold.wait()
        status = self.answers.pop(0) if self.answers else 200
        if status == 302:
            return web.Response(status=302, headers={"Location": f"{self.url}/elsewhere"})
        if status != 200:
            return web.Response(status=status, text=self.body)
        self.got.append(await request.json())
        self.headers.append(dict(request.headers))
        return web.Response()

    async def until(self, holds: Callable[[Self], bool]) -> None:
        """Wait until something holds."""
        async with asyncio.timeout(20):
            while not holds(self):
                await asyncio.sleep(0.005)

    @property
    def messages(self) -> list[str]:
        return [body["message"] for body in self.got]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[ReceiverWorld]:
    async with ReceiverWorld.start(tmp_path, settings=Settings(lanes=FAST)) as world:
        await world.git("app", labels={"team": "a"})
        yield world


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with Service() as service:
        yield service


async def _provider(world: ReceiverWorld, service: Service | None, **spec: Any) -> None:
    fields = {"type": "generic"} | ({"address": service.url} if service else {}) | spec
    given = {name: value for name, value in fields.items() if value is not None}
    await world.apply(kinds.PROVIDER, "team", "chat", spec=given)
    await _follow(world)


async def _alert(world: ReceiverWorld, name: str = "all", **spec: Any) -> None:
    fields = {
        "providerRef": {"name": "chat"},
        "eventSources": [{"kind": "GitRepository", "name": "*"}],
    } | spec
    await world.apply(kinds.ALERT, "team", name, spec=fields)
    await _follow(world)


async def _follow(world: ReceiverWorld) -> None:
    """Until the controller knows what was written before."""
    await world.controller.wait_followed()


async def _secret(world: ReceiverWorld, name: str, **values: str) -> None:
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    await world.apply(kinds.SECRET, "team", name, data=data)


async def _warned(world: ReceiverWorld, reason: str, name: str = "all") -> str:
    """The message of a warning about an Alert."""
    async with asyncio.timeout(20):
        while True:
            for event in await world.warnings(name):
                if (event["type"], event["reason"]) == ("Warning", reason):
                    return str(event["message"])
            await asyncio.sleep(0.01)


# --- what is not told ---------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [b"", b"{}", b"[1]", b"\xff"])
async def test_what_is_no_event_is_refused(world: ReceiverWorld, body: bytes) -> None:
    async with world.http.post(world.events_url, data=body) as answer:
        assert answer.status == 400


async def test_an_event_is_told_once(world: ReceiverWorld, service: Service) -> None:
    await _provider(world, service)
    await _alert(world)

    assert await world.report(1) == 202
    assert await world.report(1) == 429
    assert await world.report(1, severity="error") == 429
    assert await world.report(2) == 202
    await service.until(lambda s: len(s.got) == 2)
    assert service.messages == ["message 1", "message 2"]


@pytest.mark.shows("event:Alert/NotificationDispatchFailed")
async def test_other_namespaces_are_out_of_reach_where_the_operator_says_so(
    tmp_path: Path, service: Service
) -> None:
    settings = Settings(lanes=FAST, cross_namespace=False)
    async with ReceiverWorld.start(tmp_path, settings=settings) as world:
        await _provider(world, service)
        await _alert(
            world, eventSources=[{"kind": "GitRepository", "name": "*", "namespace": "other"}]
        )
        about = {"kind": "GitRepository", "name": "app", "namespace": "other"}

        assert await world.report(1, involvedObject=about) == 202
        assert "cross-namespace" in await _warned(world, "NotificationDispatchFailed")
        assert service.tries == 0


@pytest.mark.shows("field:Provider/spec.suspend")
async def test_a_suspended_provider_tells_nobody(world: ReceiverWorld, service: Service) -> None:
    await _provider(world, service, suspend=True)
    await _alert(world)
    await world.report(1)
    await _provider(world, service)
    await world.report(2)

    await service.until(lambda s: bool(s.got))
    assert service.messages == ["message 2"]


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"type": "nats", "address": "http://127.0.0.1"}, "must be nats://"),
        ({"type": "github", "commitStatusExpr": "event.none"}, "spec.commitStatusExpr: "),
        ({"type": "github", "commitStatusExpr": "1"}, "spec.commitStatusExpr: must be a text"),
        ({"type": "github", "commitStatusExpr": "''"}, "spec.commitStatusExpr: the name must be"),
        ({"type": "slack", "address": None}, "needs an address"),
        ({"secretRef": {"name": "none"}, "timeout": "1s"}, "'team/none' of spec.secretRef"),
        ({"certSecretRef": {"name": "bad"}}, "spec.certSecretRef"),
        ({"proxySecretRef": {"name": "bad"}}, "the proxy cannot be used"),
        ({"secretRef": {"name": "half"}}, "a password without a username"),
        ({"secretRef": {"name": "headers"}}, "headers are not a YAML mapping"),
    ],
)
async def test_a_provider_that_cannot_be_used_is_said_at_the_alert(
    tmp_path: Path, service: Service, spec: dict[str, Any], said: str
) -> None:
    times = LaneTimes(patience=0.0)
    async with ReceiverWorld.start(tmp_path, settings=Settings(lanes=times)) as world:
        await _secret(world, "bad", **{"tls.crt": "x", "address": "nowhere://x"})
        await _secret(world, "half", password="p")
        await _secret(world, "headers", headers="- x")
        await _provider(world, service, **spec)
        await _alert(world)
        await world.report(1, severity="error")

        assert said in await _warned(world, "NotificationDispatchFailed")
        assert service.tries == 0


async def test_a_redirect_is_not_followed(world: ReceiverWorld, service: Service) -> None:
    service.answers = [302]
    await _provider(world, service)
    await _alert(world)
    await world.report(1)

    assert "redirects" in await _warned(world, "NotificationDispatchFailed")
    assert service.tries == 1


async def test_no_secret_is_in_what_is_said_of_a_failure(
    world: ReceiverWorld, service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    service.answers, service.body = [403], "token s3cr3t-tok of s3cr3t-head is not known"
    await _secret(
        world, "s", address=f"{service.url}/s3cr3t-path", token="s3cr3t-tok",
        headers="X-Key: s3cr3t-head",
    )  # fmt: skip
    await _provider(world, None, secretRef={"name": "s"})
    await _alert(world)
    await world.report(1)

    said = await _warned(world, "NotificationDispatchFailed")
    assert "answers 403: token *** of *** is not known" in said
    output = capsys.readouterr()
    assert "s3cr3t" not in output.out + output.err


@pytest.mark.shows("event:Alert/SourceFetchFailed")
async def test_labels_of_an_object_that_is_not_there(
    world: ReceiverWorld, service: Service
) -> None:
    source = {"kind": "GitRepository", "name": "*", "matchLabels": {"team": "a"}}
    await _provider(world, service)
    await _alert(world, eventSources=[source])
    about = {"kind": "GitRepository", "name": "none", "namespace": "team"}
    await world.report(1, involvedObject=about)

    assert "GitRepository/team/none" in await _warned(world, "SourceFetchFailed")
    assert service.tries == 0


@pytest.mark.shows("event:Alert/InvalidConfig")
async def test_an_expression_that_is_none_is_said(world: ReceiverWorld, service: Service) -> None:
    await _provider(world, service)
    await _alert(world, inclusionList=["(", "message"])
    await world.report(1)

    assert "'('" in await _warned(world, "InvalidConfig")
    await service.until(lambda s: bool(s.got))


# --- what is ------------------------------------------------------------------------------------------


@pytest.mark.shows(
    "field:Provider/spec.type", "field:Provider/spec.address", "field:Alert/spec.providerRef.name"
)
async def test_an_event_as_it_arrives(world: ReceiverWorld, service: Service) -> None:
    await _provider(world, service)
    await _alert(world)
    group = "source.toolkit.fluxcd.io"
    metadata = {f"{group}/revision": "main@sha1:x", f"{group}/token": "t", "other/x": "y"}
    await world.report(1, metadata=metadata)

    await service.until(lambda s: bool(s.got))
    assert service.got[0]["metadata"] == {"revision": "main@sha1:x"}
    assert service.got[0]["involvedObject"]["name"] == "app"
    assert service.headers[0]["Gotk-Component"] == "source-controller"


@pytest.mark.shows("field:Alert/spec.eventSources[].matchLabels")
async def test_labels_choose(world: ReceiverWorld, service: Service) -> None:
    await world.git("other", labels={"team": "b"})
    source = {"kind": "GitRepository", "name": "*", "matchLabels": {"team": "a"}}
    await _provider(world, service)
    await _alert(world, eventSources=[source])
    for number, name in enumerate(("other", "app"), start=1):
        about = {"kind": "GitRepository", "name": name, "namespace": "team"}
        await world.report(number, involvedObject=about)

    await service.until(lambda s: bool(s.got))
    assert service.messages == ["message 2"]


@pytest.mark.shows("event:Alert/MetadataAppendFailed")
async def test_facts_that_several_say(world: ReceiverWorld, service: Service) -> None:
    await _provider(world, service)
    await _alert(world, eventMetadata={"revision": "mine"})
    await world.report(1, metadata={"source.toolkit.fluxcd.io/revision": "theirs"})

    await service.until(lambda s: bool(s.got))
    assert service.got[0]["metadata"] == {"revision": "theirs"}
    assert "revision (" in await _warned(world, "MetadataAppendFailed")


async def test_a_provider_that_is_away_gets_everything_later_in_order(
    world: ReceiverWorld, service: Service
) -> None:
    service.answers = [503, 429, 500]
    await _provider(world, service)
    await _alert(world)
    for number in range(5):
        await world.report(number)

    await service.until(lambda s: len(s.got) == 5)
    assert service.messages == [f"message {number}" for number in range(5)]
    assert service.tries == 8


async def test_a_dead_provider_holds_nobody_up(world: ReceiverWorld, service: Service) -> None:
    async with Service() as dead:
        dead.hold.clear()
        await world.apply(
            kinds.PROVIDER, "team", "dead", spec={"type": "generic", "address": dead.url}
        )
        await _provider(world, service)
        await _alert(world)
        await _alert(world, "unheard", providerRef={"name": "dead"})
        for number in range(20):
            assert await world.report(number) == 202

        await service.until(lambda s: len(s.got) == 20)
        assert dead.got == []


@pytest.mark.shows(
    "field:Provider/spec.secretRef.name",
    "field:Provider/spec.channel",
    "field:Provider/spec.username",
)
async def test_what_the_secret_says_wins(world: ReceiverWorld, service: Service) -> None:
    await _secret(world, "s", address=f"{service.url}/path", token="tok")
    await _provider(
        world, None, type="slack", address="http://127.0.0.1:1", channel="ops", username="robot",
        secretRef={"name": "s"},
    )  # fmt: skip
    await _alert(world)
    await world.report(1)

    await service.until(lambda s: bool(s.got))
    assert (service.got[0]["channel"], service.got[0]["username"]) == ("ops", "robot")
    assert service.headers[0]["Authorization"] == "Bearer tok"


@pytest.mark.shows("field:Provider/spec.certSecretRef.name")
async def test_a_service_with_its_own_authority(world: ReceiverWorld, tmp_path: Path) -> None:
    ca = TestCA("chat")
    context = requiring_certificate(ca.server_context(tmp_path), ca.pem)
    certificate, key = ca.pair()
    async with Service(tls=context) as service:
        await _provider(world, service)
        await _alert(world)
        await world.report(1, severity="error")
        await service.until(lambda _: True)
        await _secret(world, "tls", **{"ca.crt": ca.pem, "tls.crt": certificate, "tls.key": key})
        await _provider(world, service, certSecretRef={"name": "tls"})

        await service.until(lambda s: bool(s.got))
        assert service.messages == ["message 1"], "it is tried again as the Provider is by then"


@pytest.mark.shows("field:Provider/spec.proxySecretRef.name", "field:Provider/spec.proxy")
async def test_a_service_behind_a_proxy(world: ReceiverWorld, service: Service) -> None:
    """The proxy is dead, so that a message that arrives did not take it."""
    await _secret(world, "proxy", address="http://127.0.0.1:1")
    await _provider(world, service, proxySecretRef={"name": "proxy"})
    await _alert(world)
    await world.report(1)
    await _provider(world, service, proxy="http://127.0.0.1:1")
    await world.report(2)
    await asyncio.sleep(0.2)
    assert service.tries == 0
    await _provider(world, service)

    await service.until(lambda s: len(s.got) == 2)


@pytest.mark.shows("field:Provider/spec.timeout")
async def test_a_service_that_is_too_slow(world: ReceiverWorld, service: Service) -> None:
    service.hold.clear()
    await _provider(world, service, timeout="50ms")
    await _alert(world)
    await world.report(1)

    await service.until(lambda s: s.tries > 1)
    service.hold.set()
    await service.until(lambda s: bool(s.got))


@pytest.mark.parametrize("resource", [kinds.PROVIDER, kinds.ALERT], ids=lambda one: one.kind)
async def test_finalizers_of_another_installation_are_taken_off(
    world: ReceiverWorld, service: Service, resource: Any
) -> None:
    await _provider(world, service)
    await _alert(world, "chat")
    key = ObjectKey("team", "chat")
    await world.client.patch(
        resource,
        key,
        {"metadata": {"finalizers": ["finalizers.fluxcd.io"]}},
        patch_type="merge",
        field_manager="flux",
    )
    await world.client.delete(resource, key)

    async with asyncio.timeout(20):
        while True:
            try:
                await world.client.get(resource, key)
            except NotFound:
                break
            await asyncio.sleep(0.01)


async def test_messages_are_counted(world: ReceiverWorld, service: Service) -> None:
    service.answers = [400]
    await _provider(world, service)
    await _alert(world)
    await world.report(1)
    await world.report(2)

    await service.until(lambda s: bool(s.got))
    async with asyncio.timeout(20):
        while True:
            text = world.metrics.render().decode()
            if 'fluvial_notifications_total{outcome="delivered"} 1.0' in text:
                break
            await asyncio.sleep(0.01)
    assert 'fluvial_notifications_total{outcome="failed"} 1.0' in text


# --- fewer messages, and the good news ----------------------------------------------------------------


async def _annotate(world: ReceiverWorld, **annotations: str) -> None:
    given = {f"fluvial.dev/{name.replace('_', '-')}": text for name, text in annotations.items()}
    await world.client.patch(
        kinds.ALERT,
        ObjectKey("team", "all"),
        {"metadata": {"annotations": given}},
        patch_type="merge",
        field_manager="test",
    )
    await _follow(world)


async def test_a_failure_is_told_once_and_so_is_its_end(
    world: ReceiverWorld, service: Service
) -> None:
    await _provider(world, service)
    await _alert(world, eventSeverity="error")
    await _annotate(world, failures="once", recovery="tell")
    await world.report(5, reason="Succeeded")
    for number in range(5):
        await world.report(number, severity="error", reason="GitOperationFailed")
    assert await world.report(5, reason="Succeeded") == 429, "as in Flux; yet it ends the failure"

    await service.until(lambda s: len(s.got) == 2)
    assert service.messages[0] == "message 0"
    assert service.messages[1].startswith("recovered from GitOperationFailed after ")
    assert service.messages[1].endswith(": message 5")
    assert service.got[1]["metadata"]["recoveredFrom"] == "GitOperationFailed"


async def test_an_annotation_that_is_wrong_is_said_and_the_event_is_told(
    world: ReceiverWorld, service: Service
) -> None:
    await _provider(world, service)
    await _alert(world)
    await _annotate(world, group_window="soon")
    await world.report(1)

    assert "group-window must be a duration from 1s to 1h" in await _warned(world, "InvalidConfig")
    await service.until(lambda s: bool(s.got))


async def test_an_open_group_is_told_when_the_controller_ends_and_nothing_is_taken_any_more(
    world: ReceiverWorld, service: Service
) -> None:
    await _provider(world, service)
    await _alert(world)
    await _annotate(world, group_window="1h")
    for number in range(3):
        assert await world.report(number) == 202
    for running in world.controller.everywhere:
        if running.name == "events":
            running.stop()

    await service.until(lambda s: bool(s.got))
    assert service.messages[0].startswith(
        "3 events in 1h0m0s\n- GitRepository/team/app NewArtifact"
    )
    assert service.got[0]["involvedObject"]["kind"] == "Alert"
    assert await world.report(4) == 503, "whoever reports tries again, and finds another replica"
