"""The start of the cache; the rest is tested through the fetcher."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from fluvial.artifact import tar
from fluvial.artifact.cache import TreeCache


def make(folder: Path) -> TreeCache:
    limits = tar.UnpackLimits(max_bytes=2**20)
    return TreeCache(folder, max_bytes=2**20, limits=limits)


async def test_a_start_that_failed_is_tried_again(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    folder.write_text("in the way")
    cache = make(folder)
    with pytest.raises(FileExistsError):
        await cache.start()
    folder.unlink()
    await cache.start()

    assert cache.temporary().is_dir()


async def test_nobody_goes_on_while_the_folder_is_being_emptied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a hasty caller put there would be removed under its hands."""
    folder = tmp_path / "cache"
    (folder / "left").mkdir(parents=True)
    may_go_on = threading.Event()
    empty = TreeCache._empty

    def slowly(cache: TreeCache, stop: object) -> None:
        may_go_on.wait(10)
        empty(cache, stop)  # type: ignore[arg-type]  # the flag that the caller was given

    monkeypatch.setattr(TreeCache, "_empty", slowly)
    cache = make(folder)
    first = asyncio.create_task(cache.start(), name="first")
    second = asyncio.create_task(cache.start(), name="second")
    await asyncio.sleep(0.02)
    assert not second.done()
    may_go_on.set()
    await asyncio.gather(first, second)

    assert list(folder.iterdir()) == []
