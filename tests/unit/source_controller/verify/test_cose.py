"""COSE envelopes of Notation: what is read of CBOR, and forgeries.

What a real signer made is in ``test_notation``.
"""

from __future__ import annotations

import base64
import contextlib
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from hypothesis import given
from hypothesis import strategies as st

from registries.codesigners import Signer, make_key, make_signer
from source_controller.oci.errors import VerificationFailed
from source_controller.verify.cbor import InvalidCbor, Tagged, read_cbor, write_array
from source_controller.verify.cose import open_cose

SCHEME, EXPIRY = "io.cncf.notary.signingScheme", "io.cncf.notary.expiry"
PAYLOAD = orjson.dumps({"targetArtifact": {"digest": "sha256:" + "0" * 64}})
ES256, ES384, PS256 = -7, -35, -37


def _head(kind: int, number: int) -> bytes:
    for short, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if number < 24:
            return bytes([kind << 5 | number])
        if number < 1 << 8 * size:
            return bytes([kind << 5 | short]) + number.to_bytes(size, "big")
    raise AssertionError("too large")


def cbor(value: Any) -> bytes:
    """The deterministic form."""
    found = b""
    match value:
        case bool() | None:
            found = {False: b"\xf4", True: b"\xf5", None: b"\xf6"}[value]
        case int():
            found = _head(0, value) if value >= 0 else _head(1, -1 - value)
        case bytes():
            found = _head(2, len(value)) + value
        case str():
            found = _head(3, len(value.encode())) + value.encode()
        case list():
            found = _head(4, len(value)) + b"".join(map(cbor, value))
        case dict():
            items = b"".join(cbor(key) + cbor(item) for key, item in value.items())
            found = _head(5, len(value)) + items
        case Tagged():
            found = _head(6, value.tag) + cbor(value.value)
        case _:
            raise AssertionError(value)
    return found


# --- CBOR -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        # RFC 8949, Appendix A: https://www.rfc-editor.org/rfc/rfc8949#appendix-A
        ("00", 0),
        ("17", 23),
        ("1818", 24),
        ("1903e8", 1000),
        ("1a000f4240", 1000000),
        ("1bffffffffffffffff", 18446744073709551615),
        ("20", -1),
        ("3903e7", -1000),
        ("f4", False),
        ("f5", True),
        ("f6", None),
        ("c11a514b67b0", Tagged(1, 1363896240)),
        ("40", b""),
        ("4401020304", b"\x01\x02\x03\x04"),
        ("6449455446", "IETF"),
        ("62c3bc", "ü"),
        ("80", []),
        ("8301820203820405", [1, [2, 3], [4, 5]]),
        ("a0", {}),
        ("a201020304", {1: 2, 3: 4}),
        ("a26161016162820203", {"a": 1, "b": [2, 3]}),
    ],
)
def test_the_examples_of_the_standard(text: str, value: Any) -> None:
    assert read_cbor(bytes.fromhex(text)) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1800",
        "190017",
        "1b00000000ffffffff",
        "5800",
        "44010203",
        "5bffffffffffffffff",
        "9bffffffffffffffff",
        "bbffffffffffffffff",
        "5f42010243030405ff",
        "9fff",
        "bfff",
        "ff",
        "f7",
        "f90000",
        "fb3ff199999999999a",
        "f818",
        "61ff",
        "0000",
        "a201020103",
        "a1800000",
        "a1f500",
        "81" * 9 + "00",
        "1c",
    ],
)
def test_everything_else_is_refused(text: str) -> None:
    with pytest.raises(InvalidCbor):
        read_cbor(bytes.fromhex(text))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.binary() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.integers(-99, 99) | st.text(max_size=3), inner, max_size=4)
        | st.builds(Tagged, st.integers(0, 99), inner)
    ),
    max_leaves=4,
)


@given(VALUES)
def test_what_is_written_is_read(value: Any) -> None:
    assert read_cbor(cbor(value)) == value


@given(st.binary(max_size=60))
def test_no_bytes_do_harm(data: bytes) -> None:
    try:
        value = read_cbor(data)
    except InvalidCbor:
        return
    assert cbor(value) == data, "there is one way to write it"


# --- envelopes ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def signer() -> Signer:
    return make_signer(make_key("ecdsa-p256"), datetime(2026, 1, 1, tzinfo=UTC))


def header(**changes: Any) -> dict[int | str, Any]:
    """The protected header; by name or by number as ``_1``, ``None`` leaves a field out."""
    fields: dict[int | str, Any] = {
        1: ES256,
        2: [SCHEME],
        3: "application/vnd.cncf.notary.payload.v1+json",
        SCHEME: "notary.x509",
    }
    for name, value in changes.items():
        key = int(name[1:]) if name.startswith("_") else {"scheme": SCHEME, "expiry": EXPIRY}[name]
        fields[key] = value
        if value is None:
            del fields[key]
    return fields


def signature(signer: Signer, protected: bytes, payload: bytes) -> bytes:
    assert isinstance(signer.key, ec.EllipticCurvePrivateKey)
    signed = write_array("Signature1", protected, b"", payload)
    r, s = decode_dss_signature(signer.key.sign(signed, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def chain(signer: Signer) -> list[bytes]:
    return [item.public_bytes(serialization.Encoding.DER) for item in signer.chain]


def parts(signer: Signer, payload: bytes = PAYLOAD, **changes: Any) -> list[Any]:
    protected = cbor(header(**changes))
    return [protected, {33: chain(signer)}, payload, signature(signer, protected, payload)]


def test_a_good_one(signer: Signer) -> None:
    found = open_cose(cbor(Tagged(18, parts(signer))))

    assert found.target == {"digest": "sha256:" + "0" * 64}
    assert found.chain == signer.chain
    assert found.expiry is None


def test_its_end_is_read(signer: Signer) -> None:
    made = parts(signer, _2=[SCHEME, EXPIRY], expiry=Tagged(1, 1363896240))

    assert open_cose(cbor(Tagged(18, made))).expiry == datetime(2013, 3, 21, 20, 4, tzinfo=UTC)


@pytest.mark.parametrize(
    "changes",
    [
        {"_1": ES384},
        {"_1": PS256},
        {"_1": None},
        {"_1": "ES256"},
        {"_1": True},
        {"_2": None},
        {"_2": []},
        {"_2": SCHEME},
        {"_2": [SCHEME, 99]},
        {"_2": [SCHEME, "io.cncf.notary.verificationPlugin"]},
        {"_3": None},
        {"_3": "text/plain"},
        {"_3": 50},
        {"scheme": None},
        {"scheme": "notary.x509.signingAuthority"},
        {"expiry": Tagged(1, 1363896240)},
        {"_2": [SCHEME, EXPIRY], "expiry": 1363896240},
        {"_2": [SCHEME, EXPIRY], "expiry": Tagged(0, 1363896240)},
        {"_2": [SCHEME, EXPIRY], "expiry": Tagged(1, -1)},
        {"_2": [SCHEME, EXPIRY], "expiry": Tagged(1, True)},
        {"_2": [SCHEME, EXPIRY], "expiry": Tagged(1, 2**62)},
    ],
    ids=str,
)
def test_headers_that_do_not_count(changes: dict[str, Any], signer: Signer) -> None:
    with pytest.raises(VerificationFailed):
        open_cose(cbor(Tagged(18, parts(signer, **changes))))


def _altered(signer: Signer) -> dict[str, Any]:
    protected, unprotected, payload, signed = parts(signer)
    other = parts(signer, payload=orjson.dumps({"targetArtifact": {}}))
    return {
        "payload": [protected, unprotected, other[2], signed],
        "header": [cbor(header(_2=[SCHEME, EXPIRY])), unprotected, payload, signed],
        "signature": [protected, unprotected, payload, signed[:-1] + bytes([signed[-1] ^ 1])],
        "short signature": [protected, unprotected, payload, signed[:-1]],
        "no signature": [protected, unprotected, payload, b""],
        "no certificate": [protected, {}, payload, signed],
        "empty chain": [protected, {33: []}, payload, signed],
        "no certificates": [protected, {33: [b"x"]}, payload, signed],
        "long chain": [protected, {33: chain(signer) * 6}, payload, signed],
        "another key": [protected, {33: chain(signer)[1:]}, payload, signed],
        "detached": [protected, unprotected, None, signed],
        "three parts": [protected, unprotected, payload],
        "header as a map": [header(), unprotected, payload, signed],
        "chain protected alone": [protected, [], payload, signed],
    }


def test_what_was_altered(signer: Signer) -> None:
    passed: list[str] = []
    for what, made in _altered(signer).items():
        with contextlib.suppress(VerificationFailed):
            open_cose(cbor(Tagged(18, made)))
            passed.append(what)

    assert passed == []


def test_other_messages(signer: Signer) -> None:
    good = parts(signer)
    for raw in (
        cbor(good),
        cbor(Tagged(98, good)),
        cbor(Tagged(18, Tagged(18, good))),
        cbor(Tagged(18, good)) + b"\0",
        b"",
        b"{}",
        base64.b64encode(cbor(Tagged(18, good))),
    ):
        with pytest.raises(VerificationFailed):
            open_cose(raw)


def test_a_payload_that_names_no_artifact(signer: Signer) -> None:
    for payload in (b"", b"x", b"[]", b"{}", b'{"targetArtifact": 1}'):
        with pytest.raises(VerificationFailed, match="over no artifact"):
            open_cose(cbor(Tagged(18, parts(signer, payload=payload))))
