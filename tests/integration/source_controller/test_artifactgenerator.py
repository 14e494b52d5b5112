"""ArtifactGenerator from spec to ExternalArtifacts, condition by condition."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fluvial.kube import kinds
from harness.generator import GeneratorWorld, Shelf
from harness.source import condition

SOURCE = {"alias": "repo", "kind": "ExternalArtifact", "name": "mono"}
FILES = {
    "apps/web/app.yaml": "web: 1\n",
    "apps/api/app.yaml": "api: 1\n",
    "apps/api/run.sh*": "#!/bin/sh\n",
    "README.md": "read me\n",
}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[GeneratorWorld]:
    async with GeneratorWorld.start(tmp_path) as world:
        assert isinstance(world, GeneratorWorld)
        yield world


@pytest.fixture
async def shelf(world: GeneratorWorld, tmp_path: Path) -> AsyncIterator[Shelf]:
    async with Shelf.open(tmp_path / "shelf", world.client) as shelf:
        yield shelf


async def test_folders_become_artifacts(world: GeneratorWorld, shelf: Shelf) -> None:
    await shelf.put("mono", FILES)
    await world.generator(
        sources=[SOURCE],
        artifacts=[
            {"name": "web", "copy": [{"from": "@repo/apps/web/**", "to": "@artifact/"}]},
            {"name": "api", "copy": [{"from": "@repo/apps/api/**", "to": "@artifact/"}]},
        ],
    )
    obj = await world.until_ready()

    assert condition(obj, "Ready")["reason"] == "Succeeded"
    assert await world.made_files("web") == {"app.yaml": "web: 1\n"}
    assert await world.made_files("api") == {"app.yaml": "api: 1\n", "run.sh": "#!/bin/sh\n"}
    print(obj, await world.made("web"))
