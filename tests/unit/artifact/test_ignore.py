"""The ignore dialect, quirk by quirk."""

from __future__ import annotations

from pathlib import Path

import pytest

from fluvial.artifact.ignore import (
    Matcher,
    Pattern,
    glob_match,
    load_patterns,
    parse_lines,
    source_filter,
)


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("abc", "abc", True),
        ("abc", "abcd", False),
        ("*", "abc", True),
        ("*", "", True),
        ("*c", "abc", True),
        ("a*", "a", True),
        ("a*b*c*d*e*", "axbxcxdxe", True),
        ("a*b*c*d*e*x", "axbxcxdxexxx", True),
        ("a*b?c*x", "abxbbxdbxebxczzx", True),
        ("a*b?c*x", "abxbbxdbxebxczzy", False),
        ("ab[c]", "abc", True),
        ("ab[b-d]", "abc", True),
        ("ab[e-g]", "abc", False),
        ("ab[^c]", "abc", False),
        ("ab[^e-g]", "abc", True),
        ("ab[!c]", "ab!", True),
        ("ab[!c]", "abd", False),
        ("a\\*b", "a*b", True),
        ("a\\*b", "ab", False),
        ("a?b", "a☺b", True),
        ("a[^a]b", "a☺b", True),
        ("[a-ζ]*", "δ", True),
        ("*[a-ζ]", "A", False),
        ("[\\]a]", "]", True),
        ("[\\-]", "-", True),
        ("[x\\-]", "x", True),
        ("[x\\-]", "-", True),
        ("[]a]", "]", False),
        ("[-]", "-", False),
        ("[x-]", "x", False),
        ("[-x]", "x", False),
        ("\\", "a", False),
        ("[a-b-c]", "a", False),
        ("[", "a", False),
        ("[^", "a", False),
        ("[^bc", "a", False),
        ("a[", "a", False),
        ("a[", "ab", False),
        ("*x", "xxx", True),
        ("", "", True),
        ("?", "", False),
    ],
)
def test_wildcards_are_those_of_go(pattern: str, name: str, *, expected: bool) -> None:
    assert glob_match(pattern, name) is expected


def test_wildcards_take_no_exponential_time() -> None:
    assert not glob_match("*a" * 200 + "b", "a" * 4000)


@pytest.mark.parametrize(
    ("line", "path", "is_folder", "expected"),
    [
        # Without a slash: any component, so a folder's match covers what is below it.
        ("vul?ano", "value/vulkano/tail", False, True),
        ("value", "value", False, True),
        ("value", "a/value/b", False, True),
        ("value/", "value", False, False),
        ("value/", "value", True, True),
        ("value/", "a/value/b.txt", False, True),
        ("v[vou]l[", "value", False, False),
        # With a slash: from the domain's root, and a prefix is enough.
        ("/value", "value/tail", False, True),
        ("/value", "head/value", False, False),
        ("value/volcano", "value/volcano/tail", False, True),
        ("value/volcano", "head/value/volcano", False, False),
        ("value/volcano/", "value/volcano", False, False),
        ("value/volcano/", "value/volcano", True, True),
        ("value/volcano/", "value/volcano/x", False, True),
        ("value/*/tail", "value/any/tail", False, True),
        ("value/*/tail", "value/any/more/tail", False, False),
        # ** as a whole component only.
        ("**/value/volcano", "head/value/volcano/tail", False, True),
        ("**/value", "value", False, True),
        ("**/*.yml", "a/b/c.yml", False, True),
        ("head/**/tail", "head/tail", False, True),
        ("head/**/tail", "head/a/b/tail", False, True),
        ("head/**", "head/a/b", False, True),
        ("head/**", "head", False, True),
        ("**", "anything", False, True),
        ("va**ue/x", "vanue/x", False, False),
        ("va**ue", "vanue", False, True),
        ("**/value/", "a/value", False, False),
        ("**/value/", "a/value", True, True),
        # The first component that fits is taken; there is no second try.
        ("**/value/volcano", "value/x/value/volcano", False, False),
        ("a//b", "a/b", False, True),
        # Spaces at the end.
        ("value  ", "value", False, True),
        ("value\\ ", "value ", False, True),
    ],
)
def test_one_pattern(line: str, path: str, *, is_folder: bool, expected: bool) -> None:
    matcher = Matcher([Pattern.parse(line)])

    assert matcher.excludes(path, is_folder=is_folder) is expected


def test_the_last_match_decides_and_reaches_below_excluded_folders() -> None:
    matcher = Matcher(parse_lines("/*\n!/deploy/prod\ndeploy/prod/*.txt\n"))

    assert matcher.excludes("README.md", is_folder=False)
    assert matcher.excludes("deploy", is_folder=True)
    assert not matcher.excludes("deploy/prod/app.yaml", is_folder=False)
    assert matcher.excludes("deploy/prod/notes.txt", is_folder=False)
    assert matcher.excludes("deploy/dev/app.yaml", is_folder=False)


def test_comments_and_blank_lines_are_no_patterns() -> None:
    patterns = parse_lines("# all\n\n   \n\r\n*.txt\r\n\\#name\n")

    assert [p.parts for p in patterns] == [("*.txt",), ("\\#name",)]
    assert Matcher(patterns).excludes("#name", is_folder=False)


def test_ignore_files_count_below_their_folder_only(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git/.sourceignore").write_text("everything\n")
    (tmp_path / "a/.sourceignore").write_text("/only-here\n*.txt\n")
    (tmp_path / "a/b/.sourceignore").write_text("!keep.txt\n")
    matcher = Matcher(load_patterns(tmp_path))

    assert matcher.excludes("a/only-here", is_folder=False)
    assert not matcher.excludes("only-here", is_folder=False)
    assert not matcher.excludes("x.txt", is_folder=False)
    assert matcher.excludes("a/b/x.txt", is_folder=False)
    assert not matcher.excludes("a/b/keep.txt", is_folder=False)
    assert matcher.excludes("a/keep.txt", is_folder=False)
    assert not matcher.excludes("everything", is_folder=False)


def test_a_linked_ignore_file_is_not_read(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "outside").write_text("*\n")
    (root / ".sourceignore").symlink_to(tmp_path / "outside")

    assert load_patterns(root) == []


def test_defaults_hold_where_there_is_no_pattern(tmp_path: Path) -> None:
    keep = source_filter(tmp_path, None)

    assert [
        p for p in (".gitignore", "a/x.png", ".github/x", "b/.sops.yaml") if keep(p, False)
    ] == []
    assert keep("a/x.yaml", False)
    assert keep(".sourceignore", False)
    assert not keep(".git", True)


@pytest.mark.parametrize("where", ["spec", "file", "nested file"])
def test_any_pattern_drops_the_defaults_but_not_the_vcs_list(tmp_path: Path, where: str) -> None:
    (tmp_path / "deep/er").mkdir(parents=True)
    if where != "spec":
        folder = tmp_path if where == "file" else tmp_path / "deep/er"
        (folder / ".sourceignore").write_text("nothing\n")
    keep = source_filter(tmp_path, "nothing\n" if where == "spec" else None)

    assert keep("x.png", False)
    assert not keep(".gitmodules", False)
    assert not keep(".git/config", False)


def test_the_spec_beats_the_files(tmp_path: Path) -> None:
    (tmp_path / ".sourceignore").write_text("*.txt\n")
    keep = source_filter(tmp_path, "!a.txt\n!.gitignore")

    assert keep("a.txt", False)
    assert keep(".gitignore", False)
    assert not keep("b.txt", False)
