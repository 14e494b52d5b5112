"""From a URL and a Secret to credentials."""

from __future__ import annotations

import base64

import pytest

from fluvial.kube.secrets import secret_data
from source_controller.git.model import Auth
from source_controller.gitrepository.auth import SCHEMES, auth_from_secret
from source_controller.source.address import Address
from source_controller.source.address import parse_address as parse
from source_controller.source.run import StepFailed

HTTPS = "https://git.example/app.git"
SSH = "ssh://git@git.example:2222/app.git"


def parse_address(url: str) -> Address:
    return parse(url, schemes=SCHEMES)


def auth(url: str, **values: str) -> Auth:
    renamed = {key.replace("__", "."): value.encode() for key, value in values.items()}
    return auth_from_secret(parse_address(url), renamed)


@pytest.mark.parametrize(
    ("url", "shown", "user", "password"),
    [
        (HTTPS, HTTPS, "", ""),
        (
            "https://u:p%40ss@git.example:8443/x?a=b#c",
            "https://git.example:8443/x?a=b",
            "u",
            "p@ss",
        ),
        (SSH, "ssh://git.example:2222/app.git", "git", ""),
        ("http://[2001:db8::1]:80/x", "http://[2001:db8::1]:80/x", "", ""),
    ],
)
def test_addresses(url: str, shown: str, user: str, password: str) -> None:
    address = parse_address(url)

    assert (address.url, address.user, address.password) == (shown, user, password)
    assert "p@ss" not in repr(address)


@pytest.mark.parametrize(
    "url",
    [
        "http://",
        "https:///x",
        "ftp://x/y",
        "https://x:port/y",
        "https://x:99999/y",
        "http://[::1/x",
        "https://a\\b/x",
        "https://x/a b",
        "https://bücher.example/x",
        "https://-x/y",
    ],
)
def test_urls_that_stall(url: str) -> None:
    with pytest.raises(StepFailed) as caught:
        parse_address(url)
    assert (caught.value.reason, caught.value.kind) == ("URLInvalid", "stalled")


def test_http_credentials() -> None:
    assert auth(HTTPS) == Auth()
    assert auth(HTTPS, username="u", password="p", ca__crt="C") == Auth(
        username="u", password="p", ca="C"
    )
    assert auth(HTTPS, caFile="old", username="u") == Auth(username="u", ca="old")
    assert auth(HTTPS, ca__crt="new", caFile="old") == Auth(ca="new")
    assert auth(HTTPS, bearerToken="t\n", username="u", password="p") == Auth(bearer="t")
    assert auth("https://u:p@git.example/x") == Auth(username="u", password="p")
    assert auth("https://u:p@git.example/x", username="s", password="t") == Auth(
        username="s", password="t"
    )


@pytest.mark.parametrize(
    ("url", "values", "message"),
    [
        (HTTPS, {"password": "p"}, "without 'username'"),
        ("https://u:p@git.example/x", {"bearerToken": "t"}, "exclude each other"),
        (HTTPS, {"bearerToken": "a\r\nX-Evil: b"}, "cannot be sent"),
        (SSH, {}, "'identity' is required"),
        (SSH, {"identity": "k"}, "'known_hosts' is required"),
        (SSH, {"identity": "k", "known_hosts": " \n"}, "'known_hosts' is required"),
        (
            SSH,
            {"identity": "-----BEGIN ENCRYPTED PRIVATE KEY-----\n", "known_hosts": "x"},
            "is encrypted",
        ),
    ],
)
def test_credentials_that_do_not_do(url: str, values: dict[str, str], message: str) -> None:
    with pytest.raises(StepFailed, match=message) as caught:
        auth(url, **values)
    assert caught.value.reason == "AuthenticationFailed"
    assert caught.value.kind == "retry"


def test_values_that_are_not_text_or_not_base64() -> None:
    with pytest.raises(StepFailed, match="not text"):
        auth_from_secret(parse_address(HTTPS), {"username": b"\xff"})
    with pytest.raises(ValueError, match="not base64"):
        secret_data({"data": {"x": "!!"}})
    assert secret_data({"data": {"x": base64.b64encode(b"y").decode()}}) == {"x": b"y"}
    assert secret_data({}) == {}
