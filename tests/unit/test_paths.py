"""Nothing that somebody else wrote leaves the root."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fluvial.paths import secure_join


@pytest.mark.parametrize(
    ("unsafe", "expected"),
    [
        ("a/b", "a/b"),
        ("./a//b/", "a/b"),
        ("", ""),
        ("/", ""),
        ("/etc/passwd", "etc/passwd"),
        ("../../etc/passwd", "etc/passwd"),
        ("a/../../..", ""),
        ("a/../b", "b"),
        ("..", ""),
    ],
)
def test_dots_and_slashes_stop_at_the_root(tmp_path: Path, unsafe: str, expected: str) -> None:
    assert secure_join(tmp_path, unsafe) == tmp_path / expected


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/etc", "etc/file"),
        ("../../../../etc", "etc/file"),
        ("real", "dir/real/file"),
        ("../real", "real/file"),
        (".", "dir/file"),
    ],
)
def test_links_are_followed_inside_the_root(tmp_path: Path, target: str, expected: str) -> None:
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir" / "link").symlink_to(target)

    assert secure_join(tmp_path, "dir/link/file") == tmp_path / expected


def test_dots_after_a_link_leave_the_links_target(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "link").symlink_to("a/b")

    assert secure_join(tmp_path, "link/../c") == tmp_path / "a" / "c"


def test_links_in_a_circle_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(ValueError, match="too many symbolic links"):
        secure_join(tmp_path, "a")


def test_a_nul_byte_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="NUL"):
        secure_join(tmp_path, "a\0b")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.lists(st.sampled_from(["..", ".", "", "a", "up", "abs", "x", "/"]), max_size=8))
def test_whatever_is_joined_is_inside(tmp_path: Path, parts: list[str]) -> None:
    if not (tmp_path / "up").is_symlink():
        (tmp_path / "a").mkdir()
        (tmp_path / "up").symlink_to("../../..")
        (tmp_path / "abs").symlink_to("/tmp")  # noqa: S108 - a target that must not be reached
    joined = secure_join(tmp_path, "/".join(parts))

    assert Path(os.path.realpath(joined)).is_relative_to(tmp_path.resolve())
