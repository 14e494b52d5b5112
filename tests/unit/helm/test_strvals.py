"""``--set`` as Helm reads it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluvial.helm.strvals import StrvalsError, set_values
from unit.helm.helm_vectors import vectors


def _after(text: str, before: dict[str, Any], *, strings: bool) -> dict[str, Any] | None:
    values = copy.deepcopy(before)
    try:
        set_values(values, text, strings=strings)
    except StrvalsError:
        return None
    return values


def test_texts_are_read_as_helm_reads_them() -> None:
    cases = vectors("strvals")

    ours = [_after(text, before, strings=strings) for text, before, strings, _ in cases]
    differing = [case for case, after in zip(cases, ours, strict=True) if after != case[3]]
    assert differing == []


@pytest.mark.parametrize(
    "text",
    ["a[0]x=s3cr3t", "a=1,s3cr3t", "a={s3cr3t", "a[s3cr3t]=1", ".".join(["s3cr3t"] * 40) + "=1"],
)
def test_problems_do_not_quote_the_text(text: str) -> None:
    with pytest.raises(StrvalsError) as caught:
        set_values({}, text)

    assert "s3cr3t" not in str(caught.value)


def test_a_short_text_does_not_make_a_huge_list() -> None:
    text = ",".join(f"a{n}[65536]=1" for n in range(1000))

    with pytest.raises(StrvalsError, match="1,000,000 places"):
        set_values({}, text)


def test_a_text_that_nests_without_end_is_refused() -> None:
    with pytest.raises(StrvalsError, match="nests too deeply"):
        set_values({}, "a" + "[0]" * 100_000 + "=1")


def test_a_long_value_takes_no_longer_than_it_is() -> None:
    values: dict[str, Any] = {}
    set_values(values, "a=" + "x" * 200_000)

    assert len(values["a"]) == 200_000


@given(st.text(alphabet="ab=,.[]{}\\01- é", max_size=40), st.booleans())
@settings(max_examples=200, deadline=None)
def test_any_text_sets_or_is_refused(text: str, strings: bool) -> None:  # noqa: FBT001 - drawn
    values: dict[str, Any] = {}
    try:
        set_values(values, text, strings=strings)
    except StrvalsError:
        return
    assert all(isinstance(key, str) for key in values)
