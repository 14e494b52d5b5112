"""Azure's Shared Key, by the example that Microsoft publishes; for Amazon's see unit/cloud."""

from __future__ import annotations

import pytest
from yarl import URL

from source_controller.bucket.stores.errors import BadCredentials
from source_controller.bucket.stores.sharedkey import (
    account_of,
    decode_key,
    string_to_sign,
    with_shared_key,
)


def test_what_azure_wants_signed() -> None:
    # https://learn.microsoft.com/en-us/rest/api/storageservices/authorize-with-shared-key
    url = URL(
        "https://myaccount.blob.core.windows.net/mycontainer?restype=container&comp=metadata"
        "&timeout=20"
    )
    headers = {"x-ms-date": "Fri, 26 Jun 2015 23:39:12 GMT", "x-ms-version": "2015-02-21"}

    assert string_to_sign("GET", url, headers, account="myaccount") == (
        "GET\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:Fri, 26 Jun 2015 23:39:12 GMT\n"
        "x-ms-version:2015-02-21\n/myaccount/mycontainer\ncomp:metadata\nrestype:container\n"
        "timeout:20"
    )


def test_repeated_fields_and_headers_of_a_condition_are_signed() -> None:
    url = URL("https://a.example/c/b%20c?x=2&X=1&comp=%2F", encoded=True)
    text = string_to_sign("GET", url, {"If-Match": '"1"'}, account="a")

    assert text == 'GET\n\n\n\n\n\n\n\n"1"\n\n\n\n/a/c/b%20c\ncomp:/\nx:1,2'
    signed = with_shared_key("GET", url, {"If-Match": '"1"'}, account="a", key=b"k")
    assert signed["Authorization"].startswith("SharedKey a:")
    assert signed["If-Match"] == '"1"'


@pytest.mark.parametrize(
    ("endpoint", "account"),
    [
        ("https://teama.blob.core.windows.net", "teama"),
        ("http://127.0.0.1:10000/devstoreaccount1", "devstoreaccount1"),
        ("http://localhost:10000/devstoreaccount1/", "devstoreaccount1"),
        ("http://[::1]:10000/dev", "dev"),
    ],
)
def test_the_account_of_an_endpoint(endpoint: str, account: str) -> None:
    assert account_of(URL(endpoint)) == account


@pytest.mark.parametrize("text", ["", "  ", "no base64!", "abc"])
def test_keys_that_are_none(text: str) -> None:
    with pytest.raises(BadCredentials, match="'accountKey' is not a key"):
        decode_key(text)
