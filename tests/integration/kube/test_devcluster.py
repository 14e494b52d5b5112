"""The client against devcluster."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any

import orjson
import pytest

from devcluster import DevCluster, Options
from devcluster_fixtures import devcluster  # noqa: F401 - a fixture
from fluvial.clock import RealClock
from fluvial.kube.auth import StaticAuth
from fluvial.kube.client import WatchEvent
from fluvial.kube.connection import Connection, tls_context
from fluvial.kube.errors import ApiError, Gone, NotFound, Unreachable
from fluvial.kube.http import HttpKubeClient
from fluvial.kube.informer import InformerFactory
from fluvial.kube.reflector import ReflectorTiming
from fluvial.kube.remote import client_from_kubeconfig
from fluvial.kube.resource import Resource
from fluvial.log import get_logger
from fluvial.objects import JsonObject, ObjectKey, key_of

from .scenarios import CONFIG_MAPS, ApiServerScenarios, config_map


class TestDevcluster(ApiServerScenarios):
    @pytest.fixture
    def kubeconfig(self, devcluster: DevCluster) -> JsonObject:  # noqa: F811 - the fixture
        return devcluster.kubeconfig()


async def test_a_version_that_the_server_forgot_is_gone() -> None:
    async with DevCluster(Options(history_changes=3)) as cluster:
        client = await client_from_kubeconfig(
            orjson.dumps(cluster.kubeconfig()),
            allow_exec=False,
            allow_insecure_tls=False,
            user_agent="t",
        )
        async with client:
            page = await client.list_page(CONFIG_MAPS)
            for number in range(8):
                body = config_map("default", f"c{number}")
                await client.create(CONFIG_MAPS, body, field_manager="m")
            with pytest.raises(Gone):
                async with client.watch(
                    CONFIG_MAPS, resource_version=page.resource_version
                ) as events:
                    assert [event async for event in events] == []


async def test_a_server_with_another_ca_is_not_trusted_and_not_asked_again() -> None:
    async with DevCluster() as cluster, DevCluster() as other:
        counted: list[str] = []
        client = HttpKubeClient(
            Connection(cluster.url, tls=tls_context(ca=other.ca_pem)),
            user_agent="t",
            on_request=lambda code, method, host: counted.append(code),
        )
        async with client:
            with pytest.raises(Unreachable, match="certificate is not trusted") as caught:
                await client.list_page(CONFIG_MAPS)

    assert caught.value.permanent
    assert counted == ["<error>"]


async def test_the_tls_name_may_be_another_than_the_host() -> None:
    async with DevCluster() as cluster:
        tls = tls_context(ca=cluster.ca_pem)
        port = cluster.url.rpartition(":")[2]
        connections = {
            "localhost": Connection(f"https://127.0.0.1:{port}", tls=tls, server_name="localhost"),
            "wrong": Connection(f"https://127.0.0.1:{port}", tls=tls, server_name="wrong.test"),
        }
        async with (
            HttpKubeClient(connections["localhost"], user_agent="t") as good,
            HttpKubeClient(connections["wrong"], user_agent="t") as bad,
        ):
            with pytest.raises(Unreachable, match="certificate is not trusted"):
                await bad.request("GET", "/version")
            assert "gitVersion" in await good.request("GET", "/version")


async def test_a_proxy_is_gone_through_and_sees_no_token() -> None:
    seen: list[bytes] = []

    async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        seen.append(head)
        host, _, port = head.split()[1].decode().rpartition(":")
        up_reader, up_writer = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        async with asyncio.TaskGroup() as group:
            group.create_task(pump(reader, up_writer), name="up")
            group.create_task(pump(up_reader, writer), name="down")

    async with DevCluster() as cluster:
        proxy = await asyncio.start_server(tunnel, "127.0.0.1", 0)
        async with proxy:
            kubeconfig = cluster.kubeconfig()
            port = proxy.sockets[0].getsockname()[1]
            kubeconfig["clusters"][0]["cluster"]["proxy-url"] = f"http://u:p@127.0.0.1:{port}"
            client = await client_from_kubeconfig(
                orjson.dumps(kubeconfig),
                allow_exec=False,
                allow_insecure_tls=False,
                user_agent="t",
            )
            async with client:
                page = await client.list_page(CONFIG_MAPS, limit=1)

    assert page.resource_version
    assert len(seen) == 1
    assert b"Basic dTpw" in seen[0]
    assert cluster.admin_token.encode() not in seen[0]


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy until the end."""
    while chunk := await reader.read(65536):
        writer.write(chunk)
        await writer.drain()
    writer.close()


class Fragile(HttpKubeClient):
    """Its watches begin late and end early, cleanly or not."""

    chance = random.Random(11)  # noqa: S311 - a repeatable disorder
    gone = 0
    writes = 0
    over = False

    def watch(
        self, resource: Resource, **options: Any
    ) -> AbstractAsyncContextManager[AsyncIterator[WatchEvent]]:
        return self._fragile(super().watch(resource, **options))

    @asynccontextmanager
    async def _fragile(
        self, whole: AbstractAsyncContextManager[AsyncIterator[WatchEvent]]
    ) -> AsyncIterator[AsyncIterator[WatchEvent]]:
        begin = self.writes + self.chance.choice([0, 0, 3, 12])
        while self.writes < begin and not self.over:
            await asyncio.sleep(0.001)
        try:
            async with whole as events:
                yield self._some(events)
        except Gone:
            self.gone += 1
            raise

    async def _some(self, events: AsyncIterator[WatchEvent]) -> AsyncIterator[WatchEvent]:
        left = self.chance.randrange(5)
        async for event in events:
            yield event
            left -= 1
            if left < 0:
                break
        if self.chance.random() < 0.5:
            raise Unreachable("cut")


@pytest.mark.slow
async def test_whatever_breaks_an_informer_ends_with_what_the_server_has() -> None:
    """A server that forgets quickly, and watches that begin late and end early."""
    chance = random.Random(7)  # noqa: S311 - a repeatable disorder
    mirror: dict[ObjectKey, JsonObject] = {}
    errors: list[Exception] = []

    def follow(old: JsonObject | None, new: JsonObject | None) -> None:
        if new is None:
            assert old is not None
            del mirror[key_of(old)]
        else:
            assert (key_of(new) in mirror) is (old is not None)
            mirror[key_of(new)] = new

    async with DevCluster(Options(history_changes=6)) as cluster:
        connection = Connection(
            cluster.url,
            tls=tls_context(ca=cluster.ca_pem),
            auth=StaticAuth(f"Bearer {cluster.admin_token}"),
        )
        async with Fragile(connection, user_agent="t") as client:
            factory = InformerFactory(
                client,
                RealClock(),
                get_logger("t"),
                timing=ReflectorTiming(backoff=0.001, backoff_cap=0.005),
                verify=True,
                on_error=lambda _, error: errors.append(error),
            )
            informer = factory.informer(CONFIG_MAPS, namespace="default", label_selector="test=yes")
            informer.subscribe(follow)
            async with factory:
                await informer.wait_synced()
                for step in range(200):
                    client.writes = step
                    await disturb(client, chance, f"c{chance.randrange(6)}", step)
                client.over = True
                lists = informer.lists
                await informer.relist()
                informer.store.verify()
                truth = await client.list_all(
                    CONFIG_MAPS, namespace="default", label_selector="test=yes"
                )

                wanted = {key_of(each): each for each in truth.items}
                assert wanted == mirror
                assert {key_of(each): each for each in informer.store.list()} == wanted
            assert min(client.gone, lists, len(errors)) >= 3
            assert not [error for error in errors if not isinstance(error, ApiError)]


async def disturb(client: HttpKubeClient, chance: random.Random, name: str, step: int) -> None:
    """Make, change, unlabel or delete one object, whatever it is now."""
    key = ObjectKey("default", name)
    verb = chance.choice(["apply", "apply", "hide", "delete", "again"])
    body = config_map("default", name, step=str(step))
    if verb in {"delete", "again"}:
        with suppress(NotFound):
            await client.delete(CONFIG_MAPS, key)
    if verb == "hide":
        body["metadata"]["labels"] = {"test": "no"}
    if verb != "delete":
        await client.apply(CONFIG_MAPS, key, body, field_manager="m")
    if chance.random() < 0.2:
        await asyncio.sleep(0.015)
