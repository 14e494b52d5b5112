"""Secrets do not stand in errors."""

from __future__ import annotations

import base64

import pytest

from fluvial.build.helm.masking import masked


@pytest.mark.parametrize(
    "text",
    [
        "error at correct-horse: no",
        f"error at {base64.b64encode(b'correct-horse').decode()}",
        "values: {password: correct-horse}",
    ],
)
def test_every_form_is_masked(text: str) -> None:
    said = masked(text, ["correct-horse"])

    assert "correct-horse" not in said
    assert "***" in said


def test_quoted_and_broken_lines() -> None:
    secret = 'first "line"\nsecond line\n'
    said = masked('a "first \\"line\\"\\nsecond line" and second line', [secret])

    assert "line" not in said


def test_the_longest_secret_goes_first() -> None:
    assert masked("x abcdef y", ["abc", "abcdef"]) == "x *** y"


def test_what_is_no_secret_stays() -> None:
    assert masked("plain text", []) == "plain text"
    assert masked("a b c", ["a", ""]) == "a b c"
