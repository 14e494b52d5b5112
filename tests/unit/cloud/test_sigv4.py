"""Signatures against the values that AWS publishes.

General: https://docs.aws.amazon.com/general/latest/gr/signature-v4-test-suite.html, kept at
https://github.com/awslabs/aws-c-auth/tree/main/tests/aws-signing-test-suite/v4 (names of cases).
S3: https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from yarl import URL

from fluvial.cloud.model import AwsCredentials
from fluvial.cloud.sigv4 import EMPTY_SHA256, Signer

_KEYS = AwsCredentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
_WHEN = datetime(2015, 8, 30, 12, 36, tzinfo=UTC)
_SIGNER = Signer(_KEYS, "us-east-1", "service")
_FORM = {"Content-Type": "application/x-www-form-urlencoded", "Content-Length": "13"}


def _url(path: str) -> URL:
    return URL(f"https://example.amazonaws.com{path}", encoded=True)


def _signature(headers: dict[str, str]) -> str:
    return headers["Authorization"].rpartition("Signature=")[2]


@pytest.mark.parametrize(
    ("method", "path", "headers", "expected"),
    [
        pytest.param(
            "GET",
            "/",
            {"My-Header1": "value2,value2,value1"},
            "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea",
            id="get-header-key-duplicate",
        ),
        pytest.param(
            "GET",
            "/",
            {"My-Header1": " value1", "My-Header2": ' "a   b   c"'},
            "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
            id="get-header-value-trim",
        ),
        pytest.param(
            "GET",
            "/example/..",
            {},
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
            id="get-relative-normalized",
        ),
        pytest.param(
            "GET",
            "/example1/example2/../..",
            {},
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
            id="get-relative-relative-normalized",
        ),
        pytest.param(
            "GET",
            "/./",
            {},
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
            id="get-slash-dot-slash-normalized",
        ),
        pytest.param(
            "GET",
            "//",
            {},
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
            id="get-slash-normalized",
        ),
        pytest.param(
            "GET",
            "/./example",
            {},
            "ef75d96142cf21edca26f06005da7988e4f8dc83a165a80865db7089db637ec5",
            id="get-slash-pointless-dot-normalized",
        ),
        pytest.param(
            "GET",
            "//example//",
            {},
            "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84",
            id="get-slashes-normalized",
        ),
        pytest.param(
            "GET",
            "/example space/",
            {},
            "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741",
            id="get-space-normalized",
        ),
        pytest.param(
            "GET",
            "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
            {},
            "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f",
            id="get-unreserved",
        ),
        pytest.param(
            "GET",
            "/ሴ",
            {},
            "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85",
            id="get-utf8",
        ),
        pytest.param(
            "GET",
            "/",
            {},
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
            id="get-vanilla",
        ),
        pytest.param(
            "GET",
            "/?Param1=value1",
            {},
            "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb",
            id="get-vanilla-empty-query-key",
        ),
        pytest.param(
            "GET",
            "/",
            {},
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
            id="get-vanilla-query",
        ),
        pytest.param(
            "GET",
            "/?Param-3=Value3&Param=Value2&%E1%88%B4=Value1",
            {},
            "371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac",
            id="get-vanilla-query-order-encoded",
        ),
        pytest.param(
            "GET",
            "/?Param2=value2&Param1=value1",
            {},
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
            id="get-vanilla-query-order-key-case",
        ),
        pytest.param(
            "GET",
            "/?-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz=-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
            {},
            "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197",
            id="get-vanilla-query-unreserved",
        ),
        pytest.param(
            "GET",
            "/?ሴ=bar",
            {},
            "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04",
            id="get-vanilla-utf8-query",
        ),
        pytest.param(
            "POST",
            "/",
            {},
            "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
            id="post-header-key-case",
        ),
        pytest.param(
            "POST",
            "/",
            {},
            "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
            id="post-vanilla",
        ),
        pytest.param(
            "POST",
            "/?Param1=value1",
            {},
            "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11",
            id="post-vanilla-empty-query-value",
        ),
    ],
)
def test_the_published_suite(
    method: str, path: str, headers: dict[str, str], expected: str
) -> None:
    assert _signature(_SIGNER.sign(method, _url(path), now=_WHEN, headers=headers)) == expected


def test_a_session_token_is_signed_too() -> None:
    """Case get-vanilla-with-session-token."""
    token = "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267"
    signer = replace(_SIGNER, credentials=replace(_KEYS, session_token=token))
    headers = signer.sign("GET", _url("/"), now=_WHEN)

    assert headers["X-Amz-Security-Token"] == token
    assert _signature(headers) == "07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8"


def test_a_body_is_signed_by_its_digest() -> None:
    """Case post-x-www-form-urlencoded, where the digest is a header too."""
    digest = "9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e"
    headers = {**_FORM, "x-amz-content-sha256": digest}
    signed = _SIGNER.sign("POST", _url("/"), now=_WHEN, headers=headers, body=b"Param1=value1")

    assert _signature(signed) == "d3875051da38690788ef43de4db0d8f280229d82040bfac253562e56c3f20e0b"


@pytest.mark.parametrize(
    ("url", "headers", "expected"),
    [
        pytest.param(
            "/test.txt",
            {"Range": "bytes=0-9"},
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
            id="GET object",
        ),
        pytest.param(
            "/?lifecycle",
            {},
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
            id="GET bucket lifecycle",
        ),
        pytest.param(
            "/?max-keys=2&prefix=J",
            {},
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
            id="list objects",
        ),
    ],
)
def test_the_examples_of_s3(url: str, headers: dict[str, str], expected: str) -> None:
    keys = AwsCredentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    target = URL(f"https://examplebucket.s3.amazonaws.com{url}", encoded=True)
    signed = Signer(keys, "us-east-1", "s3").sign(
        "GET", target, now=datetime(2013, 5, 24, tzinfo=UTC), headers=headers
    )

    assert signed["X-Amz-Content-Sha256"] == EMPTY_SHA256
    assert _signature(signed) == expected


def test_the_port_is_signed_where_it_is_not_the_usual_one() -> None:
    signed = _SIGNER.sign("GET", URL("http://127.0.0.1:9000/x"), now=_WHEN)

    assert signed["Host"] == "127.0.0.1:9000"
    assert _SIGNER.sign("GET", URL("https://[::1]/x"), now=_WHEN)["Host"] == "[::1]"


def test_the_example_of_a_presigned_address() -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html"""
    keys = AwsCredentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    url = URL("https://examplebucket.s3.amazonaws.com/test.txt")
    now = datetime(2013, 5, 24, tzinfo=UTC)
    found = Signer(keys, "us-east-1", "s3").presign(url, now=now, seconds=86400)

    assert str(found) == (
        "https://examplebucket.s3.amazonaws.com/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256"
        "&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
        "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
        "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    )


def test_keys_are_not_shown() -> None:
    shown = repr((_SIGNER, replace(_KEYS, session_token="token-in-clear")))

    assert "wJalr" not in shown
    assert "token-in-clear" not in shown
