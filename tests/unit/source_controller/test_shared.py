"""Files that are shared by name: there while somebody holds them, made again when touched."""

from __future__ import annotations

import ast
import gc
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from fluvial.artifact import tar
from fluvial.artifact.digest import Digest
from fluvial.clock import RealClock
from source_controller.source.once import Once
from source_controller.source.shared import SharedFile

ROOT = Path(__file__).parents[3]


def made(folder: Path, name: str) -> SharedFile:
    file = folder / name
    file.write_bytes(b"content")
    digest = Digest("sha256", hashlib.sha256(b"content").hexdigest())
    return SharedFile(file, tar.PackResult(7, digest, ()))


def longer(file: Path) -> None:
    file.write_bytes(b"content and more")


def other(file: Path) -> None:
    written = file.stat().st_mtime_ns
    file.write_bytes(b"altered")
    os.utime(file, ns=(written + 1_000_000, written + 1_000_000))  # clocks of disks are coarse


@pytest.mark.parametrize("touch", [Path.unlink, longer, other])
async def test_a_file_that_somebody_touched_is_made_again(
    tmp_path: Path, touch: Callable[[Path], None]
) -> None:
    once: Once[str, SharedFile] = Once(RealClock(), keep=1000.0, size=9, valid=SharedFile.is_whole)
    numbers = iter("abc")

    async def make() -> SharedFile:
        return made(tmp_path, next(numbers))

    first = await once.get("key", make)
    assert await once.get("key", make) is first
    touch(first.file)
    second = await once.get("key", make)

    assert second is not first
    assert second.file.read_bytes() == b"content"
    assert await once.get("key", make) is second


def test_a_file_goes_with_its_value(tmp_path: Path) -> None:
    held = made(tmp_path, "a")
    file = held.file
    assert file.exists()
    del held
    gc.collect()

    assert not file.exists()


def test_one_function_says_whether_a_file_is_whole() -> None:
    """What kinds share differs in what they know of a file, not in how they trust it."""
    defined = [
        path.name
        for path in (ROOT / "source-controller" / "src").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name == "is_whole"
    ]

    assert defined == ["shared.py"]
