"""Versions and ranges; the oracle table, where it is at hand, holds Masterminds' own answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fluvial.semver import InvalidVersion, Range, Version

ORACLE = Path(__file__).parents[3] / "shared/reference/data/semver-masterminds-oracle.json"


@pytest.mark.skipif(not ORACLE.exists(), reason="the oracle table is not beside this checkout")
def test_every_row_of_the_oracle() -> None:
    rows = json.loads(ORACLE.read_text())
    wrong = []
    for constraint, version, expected in rows:
        try:
            got: bool | str = Version.parse(version) in Range.parse(constraint)
        except InvalidVersion:
            got = "error"
        if got != expected:
            wrong.append((constraint, version, expected, got))

    assert wrong == []
    assert len(rows) > 1500


ORDER = [
    "0.0.1",
    "1.0.0-alpha",
    "1.0.0-alpha.1",
    "1.0.0-alpha.beta",
    "1.0.0-beta",
    "1.0.0-beta.2",
    "1.0.0-beta.11",
    "1.0.0-rc.1",
    "1.0.0",
    "1.0.1",
    "1.10.0",
    "2.0.0",
]


def test_precedence_is_that_of_the_specification() -> None:
    versions = [Version.parse(text) for text in ORDER]

    assert sorted([*versions[5:], *versions[:5]]) == versions
    assert Version.parse("1.0.0+a") == Version.parse("v1.0.0+b")
    assert hash(Version.parse("1.0.0+a")) == hash(Version.parse("1.0.0"))


@pytest.mark.parametrize(
    ("constraint", "inside", "outside"),
    [
        ("*", "1.2.3", "1.2.3-rc.1"),
        (">=1.0.0-0", "1.2.3-rc.1", "0.9.0"),
        ("^1.2", "1.9.0", "2.0.0"),
        ("^0.2.3", "0.2.9", "0.3.0"),
        ("^0.0.3", "0.0.3", "0.0.4"),
        ("~1.2.3", "1.2.9", "1.3.0"),
        (">2", "3.0.0", "2.9.9"),
        ("<=2.1", "2.1.9", "2.2.0"),
        ("1.2 - 2", "2.9.0", "3.0.0"),
        ("!=1.x", "2.0.0", "1.5.0"),
        (">1.0.0 <1.5.0 || 3.x", "3.1.0", "1.5.0"),
        ("=> 1.0.0,\t<2.0.0", "1.5.0", "2.0.0"),
    ],
)
def test_ranges(constraint: str, inside: str, outside: str) -> None:
    parsed = Range.parse(constraint)

    assert Version.parse(inside) in parsed
    assert Version.parse(outside) not in parsed


@pytest.mark.parametrize(
    "text",
    ["", "latest", "1.2.3.4", ">", "1.2.3 ||", ">=1.0.0-01", "1 2 3 !", "9" * 30, "1" * 2000],
)
def test_what_is_no_range(text: str) -> None:
    with pytest.raises(InvalidVersion):
        Range.parse(text)


@pytest.mark.parametrize("text", ["", "x", "1.2.3-", "1.2.3-01", "1.2.3+", "-1.0.0", "1.2.3\n"])
def test_what_is_no_version(text: str) -> None:
    with pytest.raises(InvalidVersion):
        Version.parse(text)


def test_candidates_need_three_numbers() -> None:
    assert Version.parse_full("v01.2.3").major == 1
    for text in ("1", "v1.2", "1.2-rc"):
        with pytest.raises(InvalidVersion):
            Version.parse_full(text)


def test_hostile_ranges_cost_no_time() -> None:
    with pytest.raises(InvalidVersion):
        Range.parse("1" + " " * 1000 + "!")
    with pytest.raises(InvalidVersion):
        Range.parse("1 " * 500 + "!")
