"""Reading charts that may be hostile, and writing them again."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from harness.helmcharts import chart, packed
from source_controller.helm import building, packing
from source_controller.helm import files as reading
from source_controller.helm.building import Wish
from source_controller.helm.errors import (
    ChartError,
    DependencyFailed,
    InvalidChart,
    NoSuchChart,
    ValuesFailed,
)
from source_controller.helm.files import read_archive, read_folder
from source_controller.helm.ignoring import HelmIgnore
from source_controller.helm.metadata import read_metadata


def lay(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


# --- .helmignore ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "left_out", "kept"),
    [
        ("", ["templates/.x"], [".x", "a", "templates/x"]),
        ("# no\n\n  *.md  \n", ["a.md", "deep/a.md"], ["a.mdx", "no"]),
        ("/a.txt", ["a.txt"], ["deep/a.txt"]),
        ("deep/*.txt", ["deep/a.txt"], ["a.txt", "deep/er/a.txt"]),
        ("a?c[0-9x]", ["abc1", "abcx"], ["abcd", "ac1", "a/c1"]),
        ("[^a]b\n[x]y", ["cb", "xy"], ["ab", "zy"]),
        ("folder/", [], ["folder"]),
        ("!keep.md", ["a", "b"], ["keep.md"]),
        (r"\*.md", ["*.md"], ["a.md"]),
    ],
    ids=["defaults", "names", "root", "path", "classes", "not", "folders", "negated", "escaped"],
)
def test_what_the_rules_leave_out(rules: str, left_out: list[str], kept: list[str]) -> None:
    ignore = HelmIgnore(rules)

    assert [path for path in left_out if not ignore.leaves_out(path, is_folder=False)] == []
    assert [path for path in kept if ignore.leaves_out(path, is_folder=False)] == []


def test_a_rule_for_folders() -> None:
    assert HelmIgnore("x/").leaves_out("deep/x", is_folder=True)


def test_a_rule_that_would_backtrack_for_ever() -> None:
    assert not HelmIgnore("a*" * 100 + "b").leaves_out("a" * 250, is_folder=False)
    assert HelmIgnore("*.md").leaves_out("\udcff.md", is_folder=False), "no text at all"


@pytest.mark.parametrize("rule", ["a/**/b", "[a", "[z-a]", "a" * 1000, "x\n" * 2000])
def test_rules_that_are_refused(rule: str) -> None:
    with pytest.raises(InvalidChart):
        HelmIgnore(rule)


# --- folders --------------------------------------------------------------------------------------


def test_a_link_inside_the_source_is_followed(tmp_path: Path) -> None:
    root = lay(tmp_path / "source", {"shared/x.tpl": "x", "app/Chart.yaml": "y"})
    (root / "app/templates").symlink_to("../shared")
    (root / "app/one").symlink_to("../shared/x.tpl")

    assert read_folder(root, root / "app") == {
        "Chart.yaml": b"y",
        "one": b"x",
        "templates/x.tpl": b"x",
    }


@pytest.mark.parametrize("target", ["../../secret", "/etc/passwd", "nowhere", "loop", ".."])
def test_a_link_that_leads_elsewhere(tmp_path: Path, target: str) -> None:
    lay(tmp_path, {"secret/key": "s"})
    root = lay(tmp_path / "source", {"app/Chart.yaml": "y"})
    (root / "app/loop").symlink_to(target)
    with pytest.raises(InvalidChart):
        read_folder(root, root / "app")


def test_a_values_file_does_not_leave_the_source(tmp_path: Path) -> None:
    lay(tmp_path, {"secret.yaml": "v: secret\n"})
    root = lay(tmp_path / "source", {f"app/{k}": v for k, v in chart().items()})
    (root / "app/link.yaml").symlink_to("../../secret.yaml")
    for name in ("../secret.yaml", "app/link.yaml", "app", "a\0b"):
        wish = Wish("app", tree="source", metadata="1", values_files=(name,))
        with pytest.raises(ChartError):
            building.package(tmp_path, wish, (), tmp_path / "out.tgz")


def test_what_is_neither_file_nor_folder(tmp_path: Path) -> None:
    root = lay(tmp_path, {"app/Chart.yaml": "y"})
    os.mkfifo(root / "app/pipe")
    with pytest.raises(InvalidChart, match="neither a file nor a folder"):
        read_folder(root, root / "app")


def test_limits_of_a_folder(tmp_path: Path) -> None:
    root = lay(tmp_path, {"app/Chart.yaml": "y" * 100})
    with pytest.raises(InvalidChart, match="has more than 99 bytes"):
        read_folder(root, root / "app", max_file=99)
    with pytest.raises(InvalidChart, match="has 100 bytes"):
        read_archive(io.BytesIO(packed({"x": "y" * 100})), tmp_path / "scratch", max_file=99)
    assert not (tmp_path / "scratch").exists()


def test_limits_of_entries_and_depth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_MAX_ENTRIES", 5)
    monkeypatch.setattr(reading, "_MAX_DEPTH", 3)
    monkeypatch.setattr(reading, "MAX_TOTAL", 50)
    wide = {f"{n}": "x" for n in range(6)}
    deep = {"1/2/3/4/5": "x"}
    large = {f"{n}": "x" * 20 for n in range(3)}
    for number, files in enumerate((wide, deep, large)):
        root = lay(tmp_path / str(number), files)
        with pytest.raises(InvalidChart):
            read_folder(root, root)
        with pytest.raises(InvalidChart):
            read_archive(io.BytesIO(packed(files)), tmp_path / "scratch")


# --- metadata -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        "name: a\nversion: 1.0\n",
        "name: a\n",
        "version: 1.0.0\n",
        "name: .a\nversion: 1.0.0\n",
        'name: "a\\\\b"\nversion: 1.0.0\n',
        "name: a\nversion: one\n",
        "name: a\nversion: 1.0.0\ntype: other\n",
        "name: a\nversion: 1.0.0\nappVersion: 1.0\n",
        "name: a\nversion: 1.0.0\ndependencies: [{name: b}, {name: b}]\n",
        "- a\n",
        "a: [\n",
    ],
    ids=[
        *("number", "no version", "no name", "hidden", "backslash", "no semver", "type"),
        *("app version", "twice", "list", "no YAML"),
    ],
)
def test_what_helm_would_not_take(fields: str) -> None:
    with pytest.raises(InvalidChart):
        read_metadata({"Chart.yaml": fields.encode()})


def test_requirements_of_old_charts() -> None:
    """Their own file, and its lock, which is stronger."""
    files = {
        "Chart.yaml": b"apiVersion: v1\nname: a\nversion: 1.0.0\nunknown: 1\nname: a\n",
        "requirements.yaml": b"dependencies: [{name: b, version: 1.x, repository: 'https://x'}]",
    }
    assert [item.version for item in read_metadata(files).requirements] == ["1.x"]
    files["requirements.lock"] = files["requirements.yaml"].replace(b"1.x", b"1.2.3")

    assert [item.version for item in read_metadata(files).requirements] == ["1.2.3"]


# --- packages -------------------------------------------------------------------------------------


def test_packages_are_reproducible(tmp_path: Path) -> None:
    files = {name: text.encode() for name, text in chart().items()}
    packing.write(files, "app", tmp_path / "one")
    packing.write(dict(reversed(files.items())), "app", tmp_path / "two")

    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    with (tmp_path / "one").open("rb") as stream:
        assert read_archive(stream, tmp_path / "scratch") == files


def test_values_are_merged_deeply() -> None:
    contents = {
        "a": b"map: {w: 1, x: {z: 1}}\nlist: [1, 2]\nkeep: true\n",
        "b": b"map: {x: {q: 2}}\nlist: [3]\nkeep: null\n",
        "empty": b"",
    }
    files: dict[str, bytes] = {}
    found = packing.merge_values(
        files, ["a", "none", "b", "empty"], contents.get, ignore_missing=True
    )

    assert found == ["a", "b", "empty"]
    assert files["values.yaml"] == (
        b"keep: null\nlist:\n- 3\nmap:\n  w: 1\n  x:\n    q: 2\n    z: 1\n"
    )
    with pytest.raises(ValuesFailed, match="'none'"):
        packing.merge_values(files, ["none"], contents.get, ignore_missing=False)


def test_dependencies_of_one_name_do_not_mix() -> None:
    files: dict[str, bytes] = {"charts/lib/Chart.yaml": b"there"}
    for data in (b"one", b"two"):
        packing.add_chart(files, "lib", {"Chart.yaml": data})

    assert files == {
        "charts/lib/Chart.yaml": b"there",
        "charts/lib-2/Chart.yaml": b"one",
        "charts/lib-3/Chart.yaml": b"two",
    }


def test_a_dependency_is_called_what_it_calls_itself(tmp_path: Path) -> None:
    """Not what another chart calls it: that may be a path."""
    needs = [{"name": "../../lib", "version": "", "repository": "file://../lib"}]
    tree = {f"app/{k}": v for k, v in chart(dependencies=needs).items()}
    lay(tmp_path / "source", tree | {f"lib/{k}": v for k, v in chart("lib").items()})
    building.package(tmp_path, Wish("app", tree="source"), (), tmp_path / "out.tgz")

    with (tmp_path / "out.tgz").open("rb") as stream:
        names = read_archive(stream, tmp_path / "scratch")
    assert {name.split("/")[1] for name in names if name.startswith("charts/")} == {"lib"}


def test_a_dependency_that_was_not_fetched(tmp_path: Path) -> None:
    needs = [{"name": "lib", "version": "1", "repository": "https://x.example"}]
    lay(tmp_path / "source", chart(dependencies=needs))
    with pytest.raises(DependencyFailed, match="'lib'"):
        building.package(tmp_path, Wish(".", tree="source"), (), tmp_path / "out.tgz")
    with pytest.raises(NoSuchChart):
        building.inspect(tmp_path, Wish("none", tree="source"))
