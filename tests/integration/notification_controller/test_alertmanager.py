"""Alerts at a real Alertmanager, over TLS and with a password; first what it refuses."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from fluvial.net.tls import Tls, tls_context
from gitservers.certs import TestCA
from harness.outbound import loopback_dialer
from harness.talks import about
from notification_controller.provider import hosts
from notification_controller.provider.message import Message
from notification_controller.provider.outgoing import SendFailed
from notification_controller.provider.sender import Sender, Way
from notification_controller.provider.settings import Settings
from notification_controller.provider.types import tell

PROGRAM = shutil.which("prometheus-alertmanager", path=f"{os.defpath}:/usr/local/bin")
_NEEDED = os.environ.get("FLUVIAL_REQUIRE_ALERTMANAGER") == "1"
pytestmark = [
    pytest.mark.skipif(
        PROGRAM is None and not _NEEDED, reason="no prometheus-alertmanager; see tests/setup.sh"
    ),
    pytest.mark.slow,
]
USER, PASSWORD = "teller", "secret"  # of a server that lives for a test
_HASH = "$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW"
_CONFIG = "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n"
_LISTENING = re.compile(r'msg="Listening on" address=(127\.0\.0\.1:[0-9]+)')


@asynccontextmanager
async def running(folder: Path, ca: TestCA) -> AsyncIterator[str]:
    """One that runs; its address."""
    assert PROGRAM is not None
    ca.server_context(folder)
    config, web = folder / "alertmanager.yml", folder / "web.yml"
    config.write_text(_CONFIG)
    tls = f"tls_server_config: {{cert_file: {folder}/server.pem, key_file: {folder}/server.pem}}\n"
    web.write_text(f"{tls}basic_auth_users: {{{USER}: {_HASH}}}\n")
    process = await asyncio.create_subprocess_exec(
        *(PROGRAM, f"--config.file={config}", f"--web.config.file={web}"),
        *("--web.listen-address=127.0.0.1:0", "--cluster.listen-address="),
        f"--storage.path={folder}/data",
        stdin=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(60):
            while not (found := _LISTENING.search((await process.stderr.readline()).decode())):
                assert process.returncode is None, "Alertmanager ended"
        drain = asyncio.create_task(process.stderr.read(), name="alertmanager's log")
        yield f"https://{found[1]}"
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    await drain


async def send(url: str, trust: ssl.SSLContext, message: Message, **fields: Any) -> None:
    """Tell a message as a Provider."""
    to = Settings(type="alertmanager", address=f"{url}/api/v2/alerts/", **fields)
    sender = Sender(loopback_dialer())
    await sender.send(partial(tell, message, to), Way(tls=trust), timeout=20.0, secrets=to.secrets)


def _past(message: Message) -> Message:
    """It happened before the machine's clock, whatever that says: what is to come is refused."""
    event = msgspec.structs.replace(message.event, timestamp="2020-01-01T00:00:00Z")
    return replace(message, event=event)


async def alerts(url: str, trust: ssl.SSLContext) -> list[dict[str, Any]]:
    """What it shows."""
    async with (
        aiohttp.ClientSession(headers=hosts.basic(USER, PASSWORD)) as session,
        session.get(f"{url}/api/v2/alerts", ssl=trust) as answer,
    ):
        found: list[dict[str, Any]] = await answer.json()
        return found


async def test_alerts_that_it_takes_and_shows(tmp_path: Path) -> None:
    """https://prometheus.io/docs/alerting/latest/clients/"""
    ca = TestCA("alertmanager")
    trust = tls_context(Tls(ca=ca.pem))
    login = {"username": USER, "password": PASSWORD}
    facts = {"app-version": "1.0", "9lives": "cat", "cluster/region": "eu", "empty": ""}
    failure = _past(about("HealthCheckFailed", error=True, summary="the shop is ill", **facts))
    async with running(tmp_path, ca) as url:
        for wrong in ({}, {"token": PASSWORD}, login | {"password": "other"}):
            with pytest.raises(SendFailed, match="answers 401"):
                await send(url, trust, failure, **wrong)
        with pytest.raises(SendFailed, match="not trusted"):
            await send(url, tls_context(Tls()), failure, **login)
        assert await alerts(url, trust) == []

        for message in (failure, failure, _past(about("ReconciliationSucceeded"))):
            await send(url, trust, message, **login)
        shown = {one["labels"]["alertname"]: one for one in await alerts(url, trust)}

    assert set(shown) == {
        "FluxKustomizationHealthcheckfailed",
        "FluxKustomizationReconciliationsucceeded",
    }
    labels = shown["FluxKustomizationHealthcheckfailed"]["labels"]
    assert (labels["app_version"], labels["_9lives"], labels["cluster_region"]) == (
        "1.0",
        "cat",
        "eu",
    )
    assert (labels["name"], labels["namespace"], labels["severity"]) == ("Shop", "team", "error")
    annotations = shown["FluxKustomizationHealthcheckfailed"]["annotations"]
    assert annotations["summary"] == "the shop is ill"
    assert annotations["message"] == failure.event.message
