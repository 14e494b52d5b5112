"""What a Git server sends back of the credentials is hidden, however it is written."""

from __future__ import annotations

import base64
from urllib.parse import quote

import pytest

from source_controller.git.model import Auth
from source_controller.git.remote import _clean

PASSWORD = "p@ss/wörd+hunter2"
AUTH = Auth(username="me", password=PASSWORD)


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "text",
    [
        PASSWORD,
        quote(PASSWORD, safe=""),
        b64(PASSWORD),
        b64(PASSWORD).rstrip("="),
        base64.urlsafe_b64encode(PASSWORD.encode()).decode(),
        f"Basic {b64(f'me:{PASSWORD}')}",
        b64(f"a{PASSWORD}b"),
        b64(f"ab{PASSWORD}"),
        b64(f"abc{PASSWORD}de"),
    ],
)
def test_the_password_is_in_no_spelling(text: str) -> None:
    shown = _clean(f"bad header: {text} !", AUTH)

    assert "*****" in shown
    assert "hunter2" not in shown
    rest = shown.removeprefix("bad header: ").removesuffix(" !").removeprefix("Basic ")
    assert len(rest.replace("*****", "")) <= 8, "the ends at most, which others share"


def test_short_secrets_hide_no_other_words() -> None:
    assert _clean("status code: 401", Auth(username="u", password="x")) == "status code: 401"


def test_a_bearer_token_is_hidden_too() -> None:
    assert "hunter2" not in _clean("Bearer hunter2hunter2", Auth(bearer="hunter2hunter2"))
