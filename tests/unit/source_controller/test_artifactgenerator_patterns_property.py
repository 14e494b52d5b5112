"""Deep patterns against a matcher that is slow, short and plain."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from source_controller.artifactgenerator.patterns import DeepPattern

_WORDS = st.text(alphabet="ab*?", min_size=1, max_size=3)
_ALTERNATIVES = st.lists(st.sampled_from(["a", "b", "a/b", "", "ab", "b?"]), min_size=1, max_size=3)
_NAMES = st.one_of(_WORDS, st.just("**"), _ALTERNATIVES.map(lambda them: f"{{{','.join(them)}}}"))
_PATTERNS = st.lists(_NAMES, min_size=1, max_size=4).map("/".join)
_PATHS = st.lists(st.sampled_from(["a", "b", "ab", "ba", "aab"]), min_size=1, max_size=4).map(
    "/".join
)


def _expanded(pattern: str) -> Iterator[str]:
    """Without braces, one pattern for each choice."""
    before, opened, rest = pattern.partition("{")
    if not opened:
        yield pattern
        return
    inside, _, after = rest.partition("}")
    for choice in inside.split(","):
        for end in _expanded(after):
            yield before + choice + end


def _matches(names: list[str], path: list[str]) -> bool:
    if not names:
        return not path
    if names[0] == "**":
        return any(_matches(names[1:], path[skipped:]) for skipped in range(len(path) + 1))
    return bool(path) and _is_named(names[0], path[0]) and _matches(names[1:], path[1:])


def _is_named(pattern: str, name: str) -> bool:
    if not pattern:
        return not name
    if pattern[0] == "*":
        return any(_is_named(pattern[1:], name[skipped:]) for skipped in range(len(name) + 1))
    return bool(name) and pattern[0] in {"?", name[0]} and _is_named(pattern[1:], name[1:])


@given(pattern=_PATTERNS, path=_PATHS)
def test_both_say_the_same(pattern: str, path: str) -> None:
    expected = any(_matches(one.split("/"), path.split("/")) for one in _expanded(pattern))

    assert DeepPattern(pattern).matches(path) == expected
