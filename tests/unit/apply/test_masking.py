"""Secret strings leave no text unmasked."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluvial.apply import Masker
from fluvial.apply.masking import secret_strings
from fluvial.disguises import MOST

WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=4, max_size=12)


@given(WORDS.filter(lambda text: bool(text.strip()) and "*" not in text), WORDS, WORDS)
def test_string_is_gone_raw_quoted_and_encoded(secret: str, before: str, after: str) -> None:
    masker = Masker([secret])
    encoded = base64.b64encode(secret.encode()).decode()

    assert secret not in masker.text(f"{before} {secret} {after}")
    assert json.dumps(secret)[1:-1] not in masker.text(f"value: {json.dumps(secret)}")
    assert encoded not in masker.text(f"{before} {encoded} {after}")


@pytest.mark.parametrize(
    ("text", "masked"),
    [("replicas: 12 of 120", "replicas: *** of 120"), ("a12b 12", "a12b ***")],
)
def test_short_strings_are_masked_where_they_stand_alone(text: str, masked: str) -> None:
    assert Masker(["12"]).text(text) == masked


def test_longer_secret_goes_first() -> None:
    assert Masker(["abcd", "abcdefgh"]).text("x abcdefgh y") == "x *** y"


def test_each_line_of_a_key_is_masked() -> None:
    key = "-----BEGIN KEY-----\nMIIEvQIBADANBg\nkqhkiG9w0BAQEF\n-----END KEY-----"

    assert "kqhkiG9w0BAQEF" not in Masker([key]).text("cannot parse kqhkiG9w0BAQEF here")


def test_empty_and_blank_strings_mask_nothing() -> None:
    assert Masker(["", " ", "\n"]).text("a b c") == "a b c"


def test_message_about_a_secret_quotes_no_value() -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "data": {"a": "aHVudGVyMjI="}}
    text = 'Secret "p" is invalid: type: Invalid value: "hunter23": must be this, not hunter22'

    masked = Masker().message(text, secret)
    assert "hunter" not in masked
    assert masked.startswith('Secret "p" is invalid: type: Invalid value')


def test_message_about_others_keeps_its_values() -> None:
    config = {"apiVersion": "v1", "kind": "ConfigMap"}
    text = 'metadata.labels: Invalid value: "no label!": must match'

    assert Masker().message(text, config, None) == text


def test_strings_of_a_secret() -> None:
    secret = {"data": {"a": "aHVudGVyMjI=", "b": "%%"}, "stringData": {"c": "plain"}}

    assert secret_strings(secret) == {"aHVudGVyMjI=", "hunter22", "%%", "plain"}


def test_strings_of_a_misshapen_secret() -> None:
    secret = {"data": [{"a": "first"}, "second", None], "stringData": "third"}

    assert secret_strings(secret) >= {"first", "second", "third"}


async def test_a_prepared_masker_is_one() -> None:
    strings = [f"secret-{number}" for number in range(1000)]

    assert (await Masker.prepared(strings)).text("a secret-999 b") == "a *** b"
    assert (await Masker.prepared(["one-secret"])).text("a one-secret b") == "a *** b"


def test_where_there_are_too_many_secrets_nothing_is_shown() -> None:
    masker = Masker(f"secret-{number}" for number in range(MOST + 1))

    assert "plain" not in masker.text("plain text")
