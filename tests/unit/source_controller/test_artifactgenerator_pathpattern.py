"""Folders that make artifacts of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from fluvial.api.codec import decode
from fluvial.api.source_extensions import OutputArtifact
from source_controller.artifactgenerator import pathpattern
from source_controller.artifactgenerator.pathpattern import PathPatternError, Request
from source_controller.artifactgenerator.tree import SourceTree


def tree(root: Path, *folders: str) -> SourceTree:
    for folder in folders:
        (root / folder).mkdir(parents=True)
    return SourceTree(root)


def output(name: str, from_: str = "@r/{app}/**") -> OutputArtifact:
    copy = [{"from": from_, "to": "@artifact/{app}/"}]
    return decode({"name": name, "copy": copy}, OutputArtifact)


def render(
    pattern: str, outputs: list[OutputArtifact], found: list[tuple[str, dict[str, str]]]
) -> list[Request]:
    return list(pathpattern.render(pattern, outputs, found))


@pytest.mark.parametrize(
    "pattern",
    ["{", "a}", "{}", "{a", "{a b}", "{1a}", "{a}/{a}", "{_a}", "{a_}", "{a-b}", f"{{{'a' * 64}}}"],
)
def test_a_pattern_with_bad_captures_is_refused(pattern: str) -> None:
    with pytest.raises(PathPatternError):
        pathpattern.check_pattern(pattern)


@pytest.mark.parametrize(
    "folder", [".hidden", "has space", "x" * 64, "-a", "a_", "über", "a\nb"], ids=ascii
)
def test_a_name_that_is_no_label_is_refused(tmp_path: Path, folder: str) -> None:
    found = pathpattern.discover(tree(tmp_path, f"apps/{folder}"), "apps/{app}")

    with pytest.raises(PathPatternError, match="value of a label"):
        render("apps/{app}", [output("{app}")], found)


@pytest.mark.parametrize(
    ("outputs", "problem"),
    [
        ([output("{other}")], "no capture 'other'"),
        ([output("{app")], "no closing one"),
        ([output("{app}", "@r/{env}/**")], "no capture 'env'"),
        ([output("{app}_x")], "not the name of an object"),
        ([output("../{app}")], "not the name of an object"),
        ([output("same")], "both make an artifact 'same'"),
    ],
    ids=["unknown", "brace", "path", "name", "traversal", "collision"],
)
def test_what_cannot_be_rendered_is_refused(outputs: list[OutputArtifact], problem: str) -> None:
    found = [("apps/a", {"app": "a"}), ("apps/b", {"app": "b"})]

    with pytest.raises(PathPatternError, match=problem):
        render("apps/{app}", outputs, found)


def test_names_that_differ_by_case_alone_collide(tmp_path: Path) -> None:
    found = pathpattern.discover(tree(tmp_path, "apps/Auth", "apps/auth"), "apps/{app}")

    with pytest.raises(PathPatternError, match="'apps/Auth' and 'apps/auth' both make"):
        render("apps/{app}", [output("{app}")], found)


def test_the_number_of_artifacts_is_limited(tmp_path: Path) -> None:
    found = [(f"a{n}", {"app": f"a{n}"}) for n in range(600)]

    with pytest.raises(PathPatternError, match="makes more than 1000 artifacts"):
        render("{app}", [output("{app}"), output("{app}-2")], found)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("apps/{app}", {"apps/web": {"app": "web"}, "apps/api": {"app": "api"}}),
        ("apps/{app}/envs/{env}", {"apps/web/envs/Prod": {"app": "web", "env": "Prod"}}),
        ("{top}", {"apps": {"top": "apps"}, "v1.x": {"top": "v1.x"}}),
        ("v{major}.x", {"v1.x": {"major": "1"}}),
        ("v{major}_x", {}),
        ("apps", {"apps": {}}),
        ("apps/*", {}),
        ("apps/{app}/", {}),
        ("../{x}", {}),
        ("", {}),
    ],
)
def test_folders_that_match(
    tmp_path: Path, pattern: str, expected: dict[str, dict[str, str]]
) -> None:
    source = tree(tmp_path, "apps/web/envs/Prod", "apps/api", "v1.x")
    (tmp_path / "apps/file.yaml").write_text("no folder")
    pathpattern.check_pattern(pattern)

    assert dict(pathpattern.discover(source, pattern)) == expected


def test_names_and_labels_are_lower_case_and_paths_are_not() -> None:
    (request,) = render("{app}", [output("x-{app}")], [("Auth", {"app": "Auth"})])

    assert request.output.name == "x-auth"
    assert request.labels == {"app": "auth"}
    assert request.output.copy[0].from_ == "@r/Auth/**"
    assert request.output.copy[0].to == "@artifact/Auth/"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a", True),
        ("a.b-c", True),
        ("a..b", False),
        ("A", False),
        ("a/b", False),
        (".a", False),
        ("a" * 253, True),
        ("a" * 254, False),
        ("", False),
        ("a\n", False),
    ],
)
def test_names_of_objects(name: str, *, expected: bool) -> None:
    assert pathpattern.is_object_name(name) is expected
