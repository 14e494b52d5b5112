"""Which tag of many."""

from __future__ import annotations

import pytest

from source_controller.oci.errors import InvalidReference, NoMatch
from source_controller.oci.tags import choose_version

TAGS = ["latest", "6.1.3", "6.1.4", "v6.1.5", "6.1.6-rc.1", "6.2", "6.10.0-beta", "7.0.0", "x6.1.9"]


@pytest.mark.parametrize(
    ("wanted", "pattern", "tag"),
    [
        ("*", "", "7.0.0"),
        ("6.1.x", "", "v6.1.5"),
        (">=6.1.0-0 <6.2.0-0", "", "6.1.6-rc.1"),
        ("6.x-0", "", "6.10.0-beta"),
        (">=6.0.0-0", ".*-rc.*", "6.1.6-rc.1"),
        (">=6.0.0-0", "-rc", "6.1.6-rc.1"),
        ("*", "^6", "6.1.4"),
    ],
)
def test_the_highest_in_the_range(wanted: str, pattern: str, tag: str) -> None:
    assert choose_version(TAGS, wanted, pattern=pattern) == tag


@pytest.mark.parametrize(
    ("wanted", "pattern"), [(">=8.0.0", ""), ("6.2.x", ""), ("*", "^nothing"), ("6.1.9", "")]
)
def test_nothing_fits(wanted: str, pattern: str) -> None:
    with pytest.raises(NoMatch):
        choose_version(TAGS, wanted, pattern=pattern)


@pytest.mark.parametrize(
    ("wanted", "pattern"),
    [("", ""), ("abc", ""), ("*", "("), ("*", "(?=x)"), ("*", "x" * 5000), ("*", "a{1000}{1000}")],
)
def test_what_cannot_be_read(wanted: str, pattern: str) -> None:
    with pytest.raises(InvalidReference):
        choose_version(TAGS, wanted, pattern=pattern)


def test_a_pattern_that_explodes_in_a_backtracking_engine() -> None:
    tags = ["a" * 100 + "!" for _ in range(100)]

    with pytest.raises(NoMatch):
        choose_version(tags, "*", pattern="^(a+)+$")


def test_chart_tags_have_an_underscore_for_plus() -> None:
    tags = ["1.0.0_1", "1.0.0_2", "0.9.0"]

    assert choose_version(tags, "*") == "0.9.0"
    assert choose_version(tags, "*", plus_as_underscore=True) == "1.0.0_2"


def test_equal_versions_have_an_order() -> None:
    assert choose_version(["1.0.0", "v1.0.0"], "*") == choose_version(["v1.0.0", "1.0.0"], "*")
