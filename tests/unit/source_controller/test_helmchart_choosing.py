"""Which version of a chart is meant, and where it is in an index of megabytes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from source_controller.helm import index
from source_controller.helm.choosing import Candidate, choose, is_concrete, with_metadata
from source_controller.helm.errors import NoSuchChart
from source_controller.helm.lookup import look_up

VERSIONS = ["2.0.0-rc.1", "1.10.0", "1.9.3", "1.2", "v1.9.4", "one", "0.1.0"]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("", "1.10.0"),
        ("*", "1.10.0"),
        ("1.2", "1.2"),
        ("one", "one"),
        ("^1", "1.10.0"),
        ("~1.9", "v1.9.4"),
        (">=1.0.0-0", "2.0.0-rc.1"),
        ("<1", "0.1.0"),
        ("1.9.x || 0.x", "v1.9.4"),
    ],
)
def test_the_exact_version_first_then_the_highest(wanted: str, found: str) -> None:
    assert VERSIONS[choose(map(Candidate, VERSIONS), wanted)] == found


@pytest.mark.parametrize("wanted", ["^3", "two", "2.0.0", ">"])
def test_what_no_version_is(wanted: str) -> None:
    with pytest.raises(NoSuchChart):
        choose(map(Candidate, VERSIONS), wanted)


def test_the_newest_of_equal_precedence() -> None:
    """Build metadata does not count, so the time does; without one it is the first."""
    times = ["2026-01-01T00:00:00Z", "2026-01-03T00:00:00+02:00", "2026-01-02", "never"]
    candidates = [Candidate(f"1.0.0+{n}", time) for n, time in enumerate(times)]

    assert choose(candidates, "") == 1
    assert choose([Candidate("1.0.0+b"), Candidate("1.0.0+a")], "") == 0


def test_build_metadata_is_set_on_the_full_version() -> None:
    assert with_metadata("v1.2", "7") == "1.2.0+7"
    assert with_metadata("1.2.3-rc.1+old", "ab.7") == "1.2.3-rc.1+ab.7"
    assert with_metadata("v1.2", "") == "v1.2"


def test_what_names_one_version() -> None:
    assert all(map(is_concrete, ["1.2.3", "v1.2.3", "1.2.3-rc.1", "1.2.3+b"]))
    assert not any(map(is_concrete, ["1.2", "^1.2.3", "*", "", "latest", "1.2.x"]))


def written(folder: Path, entries: dict[str, list[dict[str, object]]], **more: object) -> Path:
    source, target = folder / "source", folder / "index.json"
    source.write_text(json.dumps({"apiVersion": "v1", "entries": entries, **more}))
    index.rewrite(source, target)
    return target


def test_a_chart_is_found_between_others(tmp_path: Path) -> None:
    """Names within names, brackets and quotes in texts, and what stands after the charts."""
    trap = '\n"app":[{"version":"6.6.6"}],\n"publicKeys":['
    entries: dict[str, list[dict[str, object]]] = {
        name: [
            {
                "name": name,
                "version": version,
                "description": trap,
                "urls": [f"{name}-{version}.tgz", "other"],
                "digest": version,
            }
            for version in ("1.0.0", "2.0.0")
        ]
        for name in ("app", "app2", "my-app", "zz")
    }
    target = written(tmp_path, {**entries, "none": []}, publicKeys=["a"], annotations={"b": "c"})

    for name in entries:
        found = look_up(target, name=name, version="1.x")
        assert (found.name, found.version, found.url, found.digest) == (
            name,
            "1.0.0",
            f"{name}-1.0.0.tgz",
            "1.0.0",
        )
    for name in ("none", "ap", "publicKeys", "entries", "annotations", 'x":[', ""):
        with pytest.raises(NoSuchChart, match="has no chart"):
            look_up(target, name=name, version="")


def test_an_index_without_charts(tmp_path: Path) -> None:
    with pytest.raises(NoSuchChart):
        look_up(written(tmp_path, {}), name="app", version="")
