"""Patterns mean what they mean in Flux, and cost what their length says."""

from __future__ import annotations

import pytest

from source_controller.artifactgenerator.patterns import (
    BadPattern,
    DeepPattern,
    PlainName,
    has_wildcards,
    literal_folder,
)


@pytest.mark.parametrize(
    "pattern",
    ["{a", "a}", "{a,{b}", "[a", "[]a]", "[a-]", "[-a]", "a\\", "[", "x" * 5000, "a\0b", "{" * 40],
    ids=lambda text: ascii(text[:10]),
)
def test_a_malformed_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(BadPattern):
        DeepPattern(pattern)


@pytest.mark.parametrize("name", ["[", "[]", "a\\", "[!", "[-a]"])
def test_a_malformed_name_is_refused(name: str) -> None:
    with pytest.raises(BadPattern):
        PlainName(name)


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("*", "a/b"),
        ("*.md", "a/x.md"),
        ("?", "/"),
        ("a?b", "a/b"),
        ("a[^x]b", "a/b"),
        ("a[+-9]b", "a/b"),
        ("a/**", "ab"),
        ("a/**", "ab/c"),
        ("**/b", "xb"),
        ("a**b", "a/x/b"),
        ("{a,b}", "{a,b}"),
        ("[z-a]", "m"),
        ("a.c", "abc"),
        ("", "a"),
    ],
)
def test_a_deep_pattern_does_not_match(pattern: str, path: str) -> None:
    assert not DeepPattern(pattern).matches(path)


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("**", "a"),
        ("**", "a/b/.c"),
        ("a/**", "a"),
        ("a/**", "a/b/c"),
        ("**/b", "b"),
        ("**/b", "x/y/b"),
        ("a/**/b", "a/b"),
        ("a/**/b", "a/x/y/b"),
        ("**/testdata/**", "testdata"),
        ("**/testdata/**", "x/testdata/f"),
        ("{a,b/c}.y", "b/c.y"),
        ("{a,{b,c}}", "c"),
        ("{**/a,b}", "x/y/a"),
        ("[!a]", "b"),
        ("[^a-c]", "d"),
        ("[a\\]]", "]"),
        ("a[+-9]b", "a5b"),
        ("\\*", "*"),
        ("a,b", "a,b"),
        ("é?", "éß"),
        ("*\n*", "a\nb"),
        ("*.yaml", "\udcff.yaml"),
    ],
    ids=ascii,
)
def test_a_deep_pattern_matches(pattern: str, path: str) -> None:
    assert DeepPattern(pattern).matches(path)


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("*", ".hidden", True),
        ("**", "abc", True),
        ("a*c", "abbc", True),
        ("{a,b}", "a", False),
        ("{a,b}", "{a,b}", True),
        ("[!a]", "!", True),
        ("[^a]", "b", True),
        ("[^a]", "a", False),
        ("a\\*", "a*", True),
        ("a\\*", "ab", False),
    ],
)
def test_a_plain_name(pattern: str, name: str, *, expected: bool) -> None:
    assert PlainName(pattern).matches(name) is expected


@pytest.mark.parametrize(
    "pattern",
    ["*a" * 200 + "b", "**/" * 500 + "b", "{a,aa}" * 30 + "b", "?*" * 300 + "b"],
    ids=["stars", "folders", "braces", "marks"],
)
def test_what_is_exponential_in_a_backtracking_engine_is_not_here(pattern: str) -> None:
    wanted = DeepPattern(pattern)

    assert not wanted.matches("a" * 3000)
    assert not wanted.matches("/".join("a" * 1000))


@pytest.mark.parametrize(
    ("pattern", "folder"),
    [
        ("a/b/*.yaml", "a/b"),
        ("*/b", ""),
        ("a/**", "a"),
        ("./a/b?", "a"),
        ("a/b", "a/b"),
    ],
)
def test_the_folder_before_the_first_wildcard(pattern: str, folder: str) -> None:
    assert literal_folder(pattern) == folder


def test_braces_and_backslashes_are_no_wildcards_by_themselves() -> None:
    assert [has_wildcards(text) for text in ("a/{b}", "a\\b", "a]", "a?")] == [
        False,
        False,
        True,
        True,
    ]
