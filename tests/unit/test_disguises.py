"""Secrets are found in every form that programs give them, and fast."""

from __future__ import annotations

import base64
import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluvial.build.helm.masking import masked
from fluvial.disguises import MOST, Search, forms_of

SECRETS = st.text(min_size=8, max_size=20).filter(lambda text: len(text.strip()) >= 8)


@pytest.mark.parametrize(
    ("secret", "said"),
    [
        ("sw<ord>&fish", r'"sw\u003cord\u003e\u0026fish"'),
        ("corr\x01ect-horseé", r'"corr\x01ect-horseé"'),
        ("correct-horse\"'battery", r"""'correct-horse"\'battery' does not match"""),
        ("back\\slash-horse", r'"back\\slash-horse"'),
        ("it's a horse", "'it''s a horse'"),
        ("correct horse/battery", "?pw=correct+horse%2Fbattery"),
        ("correct horse/battery", "correct%20horse%2Fbattery"),
        ("two\nlines of it", r"'two\nlines of it'"),
        ("é-horse-battery", r'"\u00e9-horse-battery"'),
        ("\U000e0001correct-horse", r'"\U000e0001correct-horse"'),
    ],
)
def test_a_form_is_found(secret: str, said: str) -> None:
    assert any(form in said for form in forms_of(secret))
    shown = masked(said, [secret])
    assert "***" in shown
    assert not {"horse", "fish", "lines"} & set(shown.replace("'", " ").replace("\\", " ").split())


@given(SECRETS, st.binary(max_size=5), st.binary(max_size=5))
def test_base64_is_found_wherever_it_stands(secret: str, before: bytes, after: bytes) -> None:
    data = before + secret.encode(errors="replace") + after
    search = Search(forms_of(secret))

    assert search.found(f"x {base64.b64encode(data).decode()} y")
    assert search.found(f"x {base64.urlsafe_b64encode(data).decode()} y")


@given(SECRETS.filter(lambda text: text.encode(errors="replace").decode() == text))
def test_json_is_found(secret: str) -> None:
    search = Search(forms_of(secret))

    assert search.found(json.dumps([secret]))
    assert search.found(json.dumps([secret], ensure_ascii=False))


@given(st.sets(st.text("ab", min_size=1, max_size=6), max_size=40), st.text("abc", max_size=200))
def test_both_ways_find_the_same(forms: set[str], text: str) -> None:
    expected = sorted((form for form in forms if form in text), key=lambda one: (-len(one), one))

    assert Search(forms).found(text) == expected
    # So many others that the text is taken apart instead.
    others = {f"{number:07d}" for number in range(2000)}
    assert Search(forms | others).found(text) == expected


def test_very_many_take_no_time() -> None:
    """Counted, not measured: tenants decide how many there are."""
    search = Search(f"v{number:05d}" for number in range(MOST))

    assert search.work("x" * 30_000) < 10_000_000
    assert search.found("a v00042 b") == ["v00042"]


@pytest.mark.parametrize(("count", "length"), [(200, 5_000), (3_000, 300)])
def test_long_ones_in_a_long_text_take_no_memory(count: int, length: int) -> None:
    """Parts of a text that have the length of a secret are many times as long as the text."""
    forms = [f"v{number:05d}".ljust(length, "s") for number in range(count)]
    filling = "".join(f"{number:05d}" for number in range(2_000))
    search, text = Search(forms), f"{filling}{forms[7]}{filling}"
    tracemalloc.start()
    try:
        assert search.found(text) == [forms[7]]
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert most < 1_000_000


def test_long_ones_are_more_work_than_short_ones() -> None:
    """Each part of the text is read: a thousand of 500 characters in a MiB would take seconds."""
    forms = [f"v{number:05d}" for number in range(2000)]
    short, long = Search(forms), Search(form.ljust(500, "s") for form in forms)

    assert long.work("x" * 2**20) > 5 * short.work("x" * 2**20)


def test_of_too_many_nothing_is_told() -> None:
    said = masked("plain text", [f"v{number:05d}" for number in range(MOST + 1)])

    assert "plain" not in said
    assert said.startswith("***")
