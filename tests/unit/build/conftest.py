"""Trees of files, and builders on them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fluvial.build.builder import Builder
from fluvial.build.cache import BuildCache
from fluvial.build.kustomize import KubectlEngine
from fluvial.clock import RealClock

CONFIG_MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n"

MakeTree = Callable[[dict[str, str]], Path]


@pytest.fixture
def make_tree(tmp_path: Path) -> MakeTree:
    """Write files by path; ``cm:x`` stands for a ConfigMap called x."""

    def make(files: dict[str, str]) -> Path:
        tree = tmp_path / "tree"
        tree.mkdir()
        for path, content in files.items():
            file = tree / path
            file.parent.mkdir(parents=True, exist_ok=True)
            kind, _, name = content.partition(":")
            text = CONFIG_MAP.format(name=name) if kind == "cm" else content
            file.write_text(text, encoding="utf-8")
        return tree

    return make


@pytest.fixture
def engine(tmp_path: Path) -> KubectlEngine:
    home = tmp_path / "home"
    home.mkdir()
    return KubectlEngine(home)


@pytest.fixture
def builder(tmp_path: Path, engine: KubectlEngine) -> Builder:
    work = tmp_path / "work"
    work.mkdir()
    return Builder(engine, BuildCache(), RealClock(), work_dir=work)
