"""SIGKILL of source-controller at every call by which it changes its storage.

``deaths/sitecustomize.py`` kills the process instead of the call. Whenever it dies, what a status
names is whole; and the next process comes to the same end as one that was never killed. (What a
power failure leaves of files that were not synced cannot be shown by killing a process.)
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest

from devcluster import DevCluster, Options
from fluvial_cli.processes import Processes
from gitservers.http import GitHttpServer
from gitservers.repos import Repo
from harness.sources import Charts, Commits, OneSource, SourceProcess, connected, until
from harness.webserver import FileHost

pytestmark = [pytest.mark.slow]

DEATHS = Path(__file__).parent / "deaths"
MOST_CALLS = 16


@dataclass
class Life:
    """One controller that is killed again and again, and one source.

    Attributes:
        orders: the file that tells it when to die.
        deaths: the calls that it did not make, in order.

    """

    controller: SourceProcess
    source: OneSource
    orders: Path
    deaths: list[str]

    @property
    def folder(self) -> Path:
        """What is stored of the source."""
        return self.controller.storage / self.source.kind.lower() / "default" / self.source.key.name

    @property
    def calls(self) -> set[str]:
        """The calls that it was killed at."""
        return {death.split()[0] for death in self.deaths}

    async def killed_at_every_call(
        self,
        act: Callable[[], Awaitable[None]],
        reached: Callable[[], Awaitable[bool]],
        *,
        first: Callable[[int], Awaitable[None]],
        most: int = 0,
    ) -> None:
        """Do ``act`` as often as there are calls to be killed at.

        Args:
            act: what makes it write.
            reached: what must come of it.
            first: done before with the number of the call, in peace.
            most: calls; 0 for all.

        """
        for nth in range(1, (most or MOST_CALLS) + 1):
            await first(nth)
            self.orders.write_text(str(nth))
            await act()
            if not await self._killed_before(reached):
                self.orders.unlink()
                return
            await self.nothing_is_half()
            await self.controller.start()
            await until(reached)
            await self.nothing_is_half()
            assert not list(self.controller.storage.rglob(".tmp-*"))
        assert most, f"there is no end to the calls: {self.deaths}"

    async def _killed_before(self, reached: Callable[[], Awaitable[bool]]) -> bool:
        async def either() -> bool:
            return not self.orders.read_text().isdigit() or await reached()

        await until(either)
        order = self.orders.read_text()
        if order.isdigit():
            return False
        self.deaths.append(order)
        self.orders.unlink()
        return True

    async def nothing_is_half(self) -> None:
        """What the status names, and what the link leads to, is whole, or it is to be deleted."""
        artifact = await self.source.artifact()
        path = self.controller.storage / artifact.get("path", "none")
        if artifact and (path.exists() or not await self.source.is_leaving()):
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            assert f"sha256:{digest}" == artifact["digest"]
        if (self.folder / "index.yaml").exists():
            assert orjson.loads((self.folder / "index.yaml").read_bytes())["entries"]


@dataclass
class Lives:
    """One controller, and a source of each way to be stored."""

    charts: Life
    commits: Life


@pytest.fixture
async def lives(tmp_path: Path) -> AsyncIterator[Lives]:
    async with AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(DevCluster(Options()))
        kubeconfig, client = await stack.enter_async_context(
            connected(tmp_path, cluster.kubeconfig())
        )
        (tmp_path / "host").mkdir()
        host = await stack.enter_async_context(FileHost(tmp_path / "host"))
        processes = await stack.enter_async_context(Processes())
        orders, storage = tmp_path / "orders", tmp_path / "storage"
        env = {
            "PYTHONPATH": str(DEATHS),
            "FLUVIAL_TEST_DEATHS": str(orders),
            "FLUVIAL_TEST_STORAGE": str(storage),
        }
        controller = SourceProcess(
            processes,
            "source-controller",
            kubeconfig,
            storage,
            tmp_path / "logs",
            flags=("--artifact-retention-ttl=0s", "--artifact-retention-records=1"),
            env=env,
        )
        git = await stack.enter_async_context(GitHttpServer(tmp_path / "repos"))
        await controller.start()
        yield Lives(
            Life(controller, Charts(client, host, "charts"), orders, []),
            Life(
                controller,
                Commits(client, Repo(tmp_path / "repos", "app.git"), git.url),
                orders,
                [],
            ),
        )


async def changes(life: Life) -> None:
    """Kill it at every call that a new revision makes."""
    source = life.source

    async def something_old(nth: int) -> None:
        source.publish(f"2.0.{nth}")

    async def change() -> None:
        await source.request(source.revision)

    await life.killed_at_every_call(change, source.is_ready, first=something_old)


async def test_killed_while_an_index_is_stored(lives: Lives) -> None:
    """It is a further name of a file that is whole, and a link leads to the newest."""
    life = lives.charts
    charts = life.source

    async def nothing(nth: int) -> None:
        if nth > 1:
            await charts.delete()
            await until(charts.is_gone)
        charts.publish(f"1.0.{nth}")

    async def something(nth: int) -> None:
        charts.publish(f"3.0.{nth}")
        await charts.apply()
        await charts.request(f"{nth}")
        await until(charts.is_ready)

    # Beyond its folders a new object is stored as a changed one.
    await life.killed_at_every_call(charts.apply, charts.is_ready, first=nothing, most=2)
    await changes(life)
    await life.killed_at_every_call(charts.delete, charts.is_gone, first=something, most=3)

    assert not life.folder.exists()
    assert life.calls >= {"mkdir", "rename", "symlink", "remove", "rmdir"}


async def test_killed_while_a_tree_is_archived(lives: Lives) -> None:
    """It is a further name of an archive that was finished elsewhere, put in place by a rename."""
    life = lives.commits
    life.source.publish("1.0.0")
    await life.source.apply()
    await until(life.source.is_ready)
    await changes(life)

    assert life.calls >= {"link", "fsync", "rename"}
