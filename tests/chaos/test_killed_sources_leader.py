"""Two source-controllers with one volume: one leads, and the other serves whatever happens to it.

The Lease keeps both from writing to the cluster, the volume's lock from writing to the volume.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

from controlplane.start import ControlPlane
from devcluster import DevCluster, Options
from fluvial.kube.client import KubeClient
from fluvial.kube.kinds import HELM_REPOSITORY, LEASE
from fluvial.objects import JsonObject, ObjectKey
from fluvial_cli.processes import ChildFailed, Processes
from harness.sources import Charts, SourceProcess, connected, until
from harness.webserver import FileHost

pytestmark = [pytest.mark.slow]

ELECTION = (
    "--enable-leader-election",
    "--leader-election-lease-duration=3s",
    "--leader-election-renew-deadline=2500ms",
    "--leader-election-retry-period=200ms",
)
WAITING = "waiting for the process that writes to the storage folder"


@dataclass
class Pair:
    """A leader, a standby, a source and somebody who loads it all the time.

    Attributes:
        answers: statuses that the standby's file server answered with.

    """

    leader: SourceProcess
    standby: SourceProcess
    charts: Charts
    client: KubeClient
    http: aiohttp.ClientSession
    answers: list[int] = field(default_factory=list)

    async def get(self, process: SourceProcess, path: str) -> int:
        """What a process answers; 0 if it does not."""
        try:
            async with self.http.get(f"{process.url}/{path}") as response:
                await response.read()
                return response.status
        except aiohttp.ClientError:
            return 0

    async def standby_serves(self) -> bool:
        """Whether it has seen that the volume is its leader's."""
        return await self.get(self.standby, "") == 200

    async def holder(self) -> str:
        """Who has the lease."""
        lease = await self.client.get(LEASE, LEASE_KEY)
        return str(lease["spec"]["holderIdentity"])

    @asynccontextmanager
    async def loading(self) -> AsyncIterator[None]:
        """Load what the status says from the standby, again and again."""

        async def load() -> None:
            while True:
                artifact = await self.charts.artifact()
                self.answers.append(await self.get(self.standby, artifact["path"]))
                await asyncio.sleep(0.01)

        task = asyncio.create_task(load(), name="loading")
        try:
            yield
        finally:
            assert not task.done(), task
            task.cancel()
            await asyncio.wait((task,))


LEASE_KEY = ObjectKey("flux-system", "source-controller-leader-election")


@asynccontextmanager
async def a_pair(
    folder: Path,
    kubeconfig: JsonObject,
    *,
    shared: bool = True,
    election: tuple[str, ...] = ELECTION,
) -> AsyncIterator[Pair]:
    async with AsyncExitStack() as stack:
        path, client = await stack.enter_async_context(connected(folder, kubeconfig))
        (folder / "host").mkdir()
        host = await stack.enter_async_context(FileHost(folder / "host"))
        processes = await stack.enter_async_context(Processes())
        http = await stack.enter_async_context(aiohttp.ClientSession())
        both = [
            SourceProcess(
                processes,
                name,
                path,
                folder / ("storage" if shared else name),
                folder / "logs",
                flags=(*election, "--storage-adv-addr=artifacts.example"),
                env={"RUNTIME_NAMESPACE": LEASE_KEY.namespace, "HOSTNAME": name},
            )
            for name in ("first", "second")
        ]
        pair = Pair(both[0], both[1], Charts(client, host, "charts"), client, http)
        await pair.leader.start()
        pair.charts.publish("1.0.0")
        await pair.charts.apply()
        await until(pair.charts.is_ready)
        await pair.standby.start(until="lease is held by another" if election else WAITING)
        try:
            yield pair
        finally:
            pair.leader.resume()
            await client.delete(HELM_REPOSITORY, pair.charts.key)
            await until(pair.charts.is_gone)
            if election:
                await client.delete(LEASE, LEASE_KEY)


class Standby:
    """The same on both control planes."""

    @pytest.fixture
    def kubeconfig(self) -> JsonObject:
        raise NotImplementedError

    async def test_it_serves_while_it_takes_over(
        self, tmp_path: Path, kubeconfig: JsonObject
    ) -> None:
        async with a_pair(tmp_path, kubeconfig) as pair:
            await until(pair.standby_serves)
            first = await pair.holder()
            async with pair.loading():
                pair.leader.signal(signal.SIGKILL)
                pair.charts.publish("2.0.0")
                await pair.charts.request("now")
                await until(pair.charts.is_ready)

            assert await pair.holder() != first
            assert len(pair.answers) > 10
            assert set(pair.answers) == {200}
            assert len(pair.standby.said("ready")) == 1


class TestDevcluster(Standby):
    @pytest.fixture
    async def kubeconfig(self) -> AsyncIterator[JsonObject]:
        async with DevCluster(Options()) as cluster:
            yield cluster.kubeconfig()

    async def test_a_leader_that_was_frozen_writes_nothing_any_more(
        self, tmp_path: Path, kubeconfig: JsonObject
    ) -> None:
        async with a_pair(tmp_path, kubeconfig) as pair:
            await until(pair.standby_serves)
            first = await pair.holder()
            async with pair.loading():
                pair.leader.signal(signal.SIGSTOP)
                pair.charts.publish("2.0.0")
                await pair.charts.request("now")

                async def waits() -> bool:
                    return bool(pair.standby.said(WAITING))

                await until(waits)
                assert await pair.holder() != first, "the lease is the new one's"
                assert not await pair.charts.is_ready(), "the volume is the old one's"
                pair.leader.resume()
                await until(pair.charts.is_ready)

            assert set(pair.answers) == {200}
            assert pair.leader.said("leader election lost")
            stored = {entry["revision"] for entry in pair.leader.said("stored artifact")}
            assert pair.charts.revision not in stored, "the old one did not store it"
            ended = await pair.leader.processes.failed()
            assert ended.startswith("first ended with status 1")

    async def test_without_a_shared_volume_it_serves_nothing(
        self, tmp_path: Path, kubeconfig: JsonObject
    ) -> None:
        """Or consumers would be told that there are no artifacts."""
        async with a_pair(tmp_path, kubeconfig, shared=False) as pair:
            path = (await pair.charts.artifact())["path"]
            for asked in ("", path):
                assert await pair.get(pair.standby, asked) == 503
                assert await pair.get(pair.leader, asked) == 200
            pair.leader.signal(signal.SIGTERM)
            await until(pair.standby_serves)
            pair.charts.publish("2.0.0")
            await pair.charts.request("now")
            await until(pair.charts.is_ready)
            path = (await pair.charts.artifact())["path"]

            assert await pair.get(pair.standby, path) == 200

    async def test_without_election_a_second_one_waits_for_the_volume(
        self, tmp_path: Path, kubeconfig: JsonObject
    ) -> None:
        async with a_pair(tmp_path, kubeconfig, election=()) as pair:
            assert await pair.standby_serves(), "it can read"
            waiting = pair.standby.said(WAITING)
            assert [entry["folder"] for entry in waiting] == [str(pair.standby.storage)]
            async with pair.loading():
                pair.leader.signal(signal.SIGKILL)
                pair.charts.publish("2.0.0")
                await pair.charts.request("now")
                await until(pair.charts.is_ready)

            assert set(pair.answers) == {200}
            assert pair.standby.said("stored artifact")

    async def test_a_volume_that_cannot_be_written_ends_the_process_and_is_named(
        self, tmp_path: Path, kubeconfig: JsonObject
    ) -> None:
        (tmp_path / "file").write_text("")
        async with connected(tmp_path, kubeconfig) as (path, _), Processes() as processes:
            folder = tmp_path / "file/storage"
            process = SourceProcess(processes, "source", path, folder, tmp_path / "logs")
            with pytest.raises(ChildFailed, match="ended with status 1"):
                await process.start(until="never")
            (failed,) = process.said("runnable failed")

            assert failed["error"] == f"the storage folder {folder} cannot be used: Not a directory"


@pytest.mark.real
class TestReal(Standby):
    @pytest.fixture
    def kubeconfig(self, real_control_plane: ControlPlane) -> JsonObject:
        return real_control_plane.kubeconfig()
