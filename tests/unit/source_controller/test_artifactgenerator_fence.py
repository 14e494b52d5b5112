"""A generator's process reads the trees of its own sources, and no other's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fluvial.artifact.tar import UnpackLimits
from fluvial.log import get_logger
from fluvial.workers.landlock import landlock_version
from fluvial.workers.pool import WorkerPool
from source_controller.artifactgenerator.client import GeneratorJobs
from source_controller.artifactgenerator.trees import Tree

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(landlock_version() == 0, reason="the kernel has no Landlock"),
]
HERE = Path(__file__).parent


class World:
    """Trees beside each other, and processes that look at all of them."""

    def __init__(self, folder: Path, pool: WorkerPool) -> None:
        self.folder = folder
        self.pool = pool
        self._jobs = GeneratorJobs(pool, UnpackLimits())

    def tree(self, name: str) -> Tree:
        folder = self.folder / "trees" / name
        (folder / "app").mkdir(parents=True)
        (folder / "app" / "file").write_text(f"of {name}")
        return Tree(folder, ())

    async def seen(self, namespace: str, **trees: Tree) -> dict[str, str]:
        """What a process can read of which tree, by the tree's name."""
        work = self.folder / "work" / namespace / "run"
        work.mkdir(parents=True, exist_ok=True)
        alias = next(iter(trees))
        found = await self._jobs.discover(work, trees, alias, pattern="{name}", namespace=namespace)
        return {Path(file).parts[-3]: text for file, text in found[0][1].items()}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    files = [tmp_path / "trees" / name / "app" / "file" for name in ("own", "second", "foreign")]
    pool = WorkerPool(
        target="generator_fence_jobs:run",
        size=4,
        memory_bytes=0,
        keep_spare=False,
        log=get_logger("test"),
        env={"PYTHONPATH": str(HERE), "PROBE": ":".join(map(str, files))},
    )
    async with pool:
        yield World(tmp_path, pool)


async def test_other_trees_are_closed_to_it(world: World) -> None:
    own, second, _ = (world.tree(name) for name in ("own", "second", "foreign"))
    seen = await world.seen("team", a=own, b=second)

    assert seen == {"own": "of own", "second": "of second", "foreign": "PermissionError"}


async def test_a_process_serves_one_set_of_trees(world: World) -> None:
    own, second, foreign = (world.tree(name) for name in ("own", "second", "foreign"))
    await world.seen("team", a=own)
    first = world.pool.pids
    await world.seen("team", other=own)
    assert world.pool.pids == first, "the same trees by another name"
    seen = await world.seen("team", a=second)
    assert seen == {"own": "PermissionError", "second": "of second", "foreign": "PermissionError"}
    seen = await world.seen("other", a=foreign)

    assert seen["own"] == seen["second"] == "PermissionError"
    assert len(world.pool.pids) == 3


async def test_a_tree_that_was_unpacked_again_can_be_read(world: World) -> None:
    own = world.tree("own")
    await world.seen("team", a=own)
    own.path.rename(world.folder / "before")
    world.tree("own")

    assert (await world.seen("team", a=own))["own"] == "of own"
