"""Real kustomizations build to the objects, and in the order, that Flux would give.

About forty cases by default; ``FLUVIAL_CORPUS=all`` runs every one. The numbers are in the summary
of a run with ``-rA`` or in the count of passed tests.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

import corpus
from fluvial.build import yaml
from fluvial.build.builder import Builder, BuildResult, BuildSpec
from fluvial.build.cache import BuildCache
from fluvial.build.errors import BuildError
from fluvial.build.kustomize import KubectlEngine
from fluvial.clock import RealClock

pytestmark = pytest.mark.slow

_EVERY = {"kustomize": 10, "krusty": 14, "errors": 7}
# The build succeeds where the plain program fails, because Flux's does: a folder without a
# kustomization gets one, files of the artifact may be anywhere in it, and nothing is no error.
_FLUX_BUILDS = frozenset(
    {
        "kustomize__accumulation__TestTargetMustHaveKustomizationFile",
        "kustomize__baseandoverlaysmall__TestSharedPatchDisAllowed",
        "kustomize__diamondcomposition__TestIssue1251-Patches-ProdVsDev-Failure",
    }
)
_EMPTY = "empty-kustomization"
# Flux refuses objects without apiVersion.
_FLUX_REFUSES = frozenset({"kustomize__transformersimage__TestTransfomersImageDefaultConfig"})
_ORIGIN = "config.kubernetes.io/origin"


def _cases(folder: str) -> Iterator[Path]:
    cases = sorted(corpus.require(folder).iterdir())
    yield from cases if os.environ.get("FLUVIAL_CORPUS") == "all" else cases[:: _EVERY[folder]]


_CASES = [case for folder in _EVERY for case in _cases(folder)]


@pytest.fixture
async def builder(tmp_path: Path) -> AsyncIterator[Builder]:
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    yield Builder(KubectlEngine(home), BuildCache(), RealClock(), work_dir=work)
    assert not list(work.iterdir())


def _whole(value: Any) -> Any:
    """Floats without a fraction as integers, as the expectations have them."""
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _without_origin(obj: dict[str, Any]) -> dict[str, Any]:
    """Flux adds this annotation where a kustomization has no resources of its own."""
    metadata = obj["metadata"]
    annotations = metadata.get("annotations") or {}
    if annotations.pop(_ORIGIN, None) and not annotations:
        metadata.pop("annotations")
    return obj


def _line(obj: dict[str, Any]) -> str:
    return orjson.dumps(_whole(obj), option=orjson.OPT_SORT_KEYS).decode()


def _identity(obj: dict[str, Any]) -> str:
    metadata = obj["metadata"]
    namespace = metadata.get("namespace", "")
    return f"{obj['apiVersion']}/{obj['kind']}/{namespace}/{metadata['name']}"


@pytest.mark.parametrize("case", _CASES, ids=lambda case: f"{case.parent.name}-{case.name}")
async def test_case(builder: Builder, case: Path) -> None:
    source = yaml.load_one((case / "SOURCE").read_bytes())
    path = str(Path(source.get("root", "tree")).relative_to("tree"))
    build = builder.build(case / "tree", BuildSpec(path=path), cache_key="", timeout=60)
    expected = case / "expected.jsonl"
    if case.name in _FLUX_BUILDS or source.get("error_class") == _EMPTY:
        assert bool((await build).objects) == (source["error_class"] != _EMPTY)
    elif case.name in _FLUX_REFUSES or not expected.exists():
        await _assert_refused(build, case)
    else:
        _assert_equal((await build).objects, expected.read_text(), source.get("order_fifo"))


async def _assert_refused(build: Awaitable[BuildResult], case: Path) -> None:
    with pytest.raises(BuildError) as caught:
        await build

    assert str(case) not in str(caught.value)
    assert "build-" not in str(caught.value)


def _assert_equal(objects: tuple[dict[str, Any], ...], expected: str, order: Any) -> None:
    if _ORIGIN not in expected:
        objects = tuple(_without_origin(obj) for obj in objects)

    assert sorted(map(_line, objects)) == sorted(expected.splitlines())
    if isinstance(order, list):
        assert [_identity(obj) for obj in objects] == order
