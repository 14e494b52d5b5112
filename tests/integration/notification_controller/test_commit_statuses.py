"""From an event to the status of a commit, at a service that takes nothing but what it documents."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Self

import pytest
from aiohttp import web

from fluvial.kube import kinds
from fluvial.objects import ObjectKey
from gitservers.certs import TestCA
from harness.receivers import ReceiverWorld
from harness.talks import COMMIT
from notification_controller.alert.lanes import LaneTimes
from notification_controller.assemble import Settings

TOKEN = "s3cr3t-token"
GROUP = "kustomize.toolkit.fluxcd.io"


class Statuses:
    """``/repos/{owner}/{repo}/statuses/{sha}`` of a GitHub Enterprise server."""

    def __init__(self, tls: Any = None) -> None:
        self.there: list[dict[str, Any]] = []
        self.listed = 0
        self.refused = 0
        self.url = ""
        self._tls = tls
        self._runner: web.AppRunner

    async def __aenter__(self) -> Self:
        app = web.Application()
        base = "/api/v3/repos/org/app"
        app.router.add_get(f"{base}/commits/{COMMIT}/statuses", self._list)
        app.router.add_post(f"{base}/statuses/{COMMIT}", self._create)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._tls).start()
        scheme = "https" if self._tls else "http"
        self.url = f"{scheme}://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _list(self, request: web.Request) -> web.Response:
        if not self._knows(request):
            return web.json_response({"message": f"Bad credentials {TOKEN}"}, status=401)
        self.listed += 1
        # More than one read of a socket, as a busy commit has.
        filler = [{"context": f"ci/{number}", "description": "x" * 900} for number in range(150)]
        return web.json_response([*reversed(self.there), *filler])

    async def _create(self, request: web.Request) -> web.Response:
        if not self._knows(request):
            return web.json_response({"message": "Bad credentials"}, status=401)
        body = await request.json()
        valid = set(body) <= {"state", "target_url", "description", "context"}
        if not valid or body["state"] not in {"error", "failure", "pending", "success"}:
            return web.json_response({"message": "Validation Failed"}, status=422)
        self.there.append(body)
        return web.json_response(body, status=201)

    def _knows(self, request: web.Request) -> bool:
        known = request.headers.get("Authorization") == f"Bearer {TOKEN}"
        self.refused += not known
        return known and request.headers["Accept"] == "application/vnd.github+json"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[ReceiverWorld]:
    times = LaneTimes(patience=0.0)
    async with ReceiverWorld.start(tmp_path, settings=Settings(lanes=times)) as world:
        yield world


async def _set_up(world: ReceiverWorld, address: str, expression: str = "", **secret: str) -> None:
    data = {
        name: base64.b64encode(value.encode()).decode()
        for name, value in ({"token": TOKEN} | secret).items()
    }
    await world.apply(kinds.SECRET, "team", "git", data=data)
    spec = {"type": "github", "address": f"{address}/org/app", "secretRef": {"name": "git"}}
    spec |= {"commitStatusExpr": expression} if expression else {}
    await world.apply(kinds.PROVIDER, "team", "git", spec=spec)
    sources = [{"kind": "Kustomization", "name": "*"}]
    await world.apply(
        kinds.ALERT,
        "team",
        "git",
        spec={"providerRef": {"name": "git"}, "eventSources": sources},
    )
    await world.controller.wait_followed()


async def _report(world: ReceiverWorld, number: int, **fields: Any) -> None:
    about = {"apiVersion": f"{GROUP}/v1", "kind": "Kustomization", "name": "app"}
    metadata = {
        f"{GROUP}/revision": f"main@sha1:{COMMIT}",
        f"{GROUP}/commit_status": "update",
    }
    given = {"involvedObject": {**about, "namespace": "team"}, "metadata": metadata} | fields
    given = {"reason": "ReconciliationSucceeded"} | given
    assert await world.report(number, **given) == 202


async def _warning(world: ReceiverWorld) -> str:
    async with asyncio.timeout(20):
        while not (found := await world.warnings("git")):
            await asyncio.sleep(0.01)
    return str(found[0]["message"])


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.005)


async def test_a_token_that_is_not_known(world: ReceiverWorld) -> None:
    async with Statuses() as service:
        await _set_up(world, service.url, token="s3cr3t-other")
        await _report(world, 1)

        said = await _warning(world)
        assert "answers 401" in said
        assert "s3cr3t-other" not in said
        assert (service.there, service.refused) == ([], 1)


async def test_an_event_about_no_commit(world: ReceiverWorld) -> None:
    async with Statuses() as service:
        await _set_up(world, service.url)
        await _report(world, 1, severity="error", metadata={})

        assert "names no commit" in await _warning(world)
        assert service.listed == 0


async def test_a_status_is_written_once_for_what_is_new(world: ReceiverWorld) -> None:
    async with Statuses() as service:
        await _set_up(world, service.url)
        for number in (1, 2):
            await _report(world, number)
        await _report(world, 3, severity="error", reason="HealthCheckFailed")
        await _until(lambda: service.listed == 3 and len(service.there) == 2)

        provider = await world.client.get(kinds.PROVIDER, ObjectKey("team", "git"))
        name = f"kustomization/app/{provider['metadata']['uid'].split('-')[0]}"
        assert service.there == [
            {"state": "success", "context": name, "description": "reconciliation succeeded"},
            {"state": "failure", "context": name, "description": "health check failed"},
        ]


async def test_the_authority_may_be_in_the_secret(world: ReceiverWorld, tmp_path: Path) -> None:
    ca = TestCA("git")
    async with Statuses(tls=ca.server_context(tmp_path)) as service:
        await _set_up(world, service.url, **{"ca.crt": ca.pem})
        await _report(world, 1)

        await _until(lambda: len(service.there) == 1)
        assert service.there[0]["state"] == "success"


@pytest.mark.shows("field:Provider/spec.commitStatusExpr")
async def test_the_name_of_a_status_is_the_provider_s(world: ReceiverWorld) -> None:
    expression = (
        "event.involvedObject.kind + '/' + alert.metadata.name + '/' + provider.spec.type"
        " + '/' + event.metadata.revision.split(':')[1].substring(0, 4)"
    )
    async with Statuses() as service:
        await _set_up(world, service.url, expression)
        await _report(world, 1)

        await _until(lambda: len(service.there) == 1)
        assert service.there[0]["context"] == f"Kustomization/git/github/{COMMIT[:4]}"
