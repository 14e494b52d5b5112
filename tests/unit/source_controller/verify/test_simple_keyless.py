"""Keyless signatures in the format of cosign 2: certificate, promise of the log, payload."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from fluvial.artifact.digest import Digest
from registries.clients import limited
from registries.fake import FakeRegistry
from registries.images import image_of
from registries.record import SIGNED
from registries.sigstores import OwnSigstore
from source_controller.oci.errors import VerificationFailed
from source_controller.oci.limits import Limits
from source_controller.verify.identities import parse_identities
from source_controller.verify.keyless import verify_without_key
from source_controller.verify.trustedroot import TrustedRoot

DIGEST = Digest.parse(SIGNED.digest)
SIMPLE = "application/vnd.dev.cosign.simplesigning.v1+json"
BUNDLE, SIGNATURE = "dev.sigstore.cosign/bundle", "dev.cosignproject.cosign/signature"
CERTIFICATE = "dev.sigstore.cosign/certificate"
IDENTITY = (r"^https://token\.example$", r"^https://ci\.example/release$")
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def payload_of(
    digest: str = SIGNED.digest, kind: str = "cosign container image signature"
) -> bytes:
    critical = {
        "identity": {"docker-reference": "x"},
        "image": {"docker-manifest-digest": digest},
        "type": kind,
    }
    return orjson.dumps({"critical": critical, "optional": None})


PAYLOAD = payload_of()


@pytest.fixture(scope="module")
def sigstore() -> OwnSigstore:
    return OwnSigstore(NOW)


@pytest.fixture
async def fake() -> AsyncIterator[FakeRegistry]:
    async with FakeRegistry() as registry:
        registry.put("app", "v1", SIGNED)
        yield registry


def put(fake: FakeRegistry, notes: dict[str, str], payload: bytes = PAYLOAD) -> None:
    image = image_of([(SIMPLE, payload)], layer_annotations=notes)
    fake.put("app", f"sha256-{DIGEST.hex}.sig", image)


async def verify(fake: FakeRegistry, root: bytes, *matches: tuple[str, str]) -> None:
    identities = parse_identities(matches or [IDENTITY])
    async with limited(Limits(), f"{fake.oci}/app") as client:
        await verify_without_key(client, DIGEST, identities, trusted_root=root)


async def test_a_signature_by_the_identity(fake: FakeRegistry, sigstore: OwnSigstore) -> None:
    put(fake, sigstore.sign_simple(PAYLOAD))

    await verify(fake, sigstore.trusted_root())


@pytest.mark.parametrize("match", [(IDENTITY[0], "^nobody$"), ("^nobody$", IDENTITY[1])])
async def test_another_identity(
    match: tuple[str, str], fake: FakeRegistry, sigstore: OwnSigstore
) -> None:
    put(fake, sigstore.sign_simple(PAYLOAD))

    with pytest.raises(VerificationFailed, match="none of the identities"):
        await verify(fake, sigstore.trusted_root(), match)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("root_key", "no trusted authority"),
        ("ct_key", "no trusted log has seen"),
        ("log_key", "no trusted transparency log"),
    ],
)
async def test_one_of_its_parts_is_anothers(
    key: str, message: str, fake: FakeRegistry, sigstore: OwnSigstore
) -> None:
    forged = sigstore.but(**{key: ec.generate_private_key(ec.SECP256R1())})
    put(fake, forged.sign_simple(PAYLOAD))

    with pytest.raises(VerificationFailed, match=message):
        await verify(fake, sigstore.trusted_root())


async def test_a_certificate_that_no_log_saw(fake: FakeRegistry, sigstore: OwnSigstore) -> None:
    put(fake, sigstore.sign_simple(PAYLOAD, with_sct=False))

    with pytest.raises(VerificationFailed, match="no log has seen"):
        await verify(fake, sigstore.trusted_root())


@pytest.mark.parametrize("after", [timedelta(minutes=10), timedelta(minutes=-2)])
async def test_signed_when_the_certificate_was_not_in_force(
    after: timedelta, fake: FakeRegistry, sigstore: OwnSigstore
) -> None:
    put(fake, sigstore.sign_simple(PAYLOAD, signed_after=after))

    with pytest.raises(VerificationFailed, match="was not in force"):
        await verify(fake, sigstore.trusted_root())


@pytest.mark.parametrize("part", ["certificateAuthorities", "tlogs", "ctlogs"])
async def test_a_part_of_the_root_that_did_not_count_then(
    part: str, fake: FakeRegistry, sigstore: OwnSigstore
) -> None:
    put(fake, sigstore.sign_simple(PAYLOAD))
    root = orjson.loads(sigstore.trusted_root())
    entry = root[part][0]
    target = entry if part == "certificateAuthorities" else entry["publicKey"]
    target["validFor"]["end"] = (NOW - timedelta(hours=1)).isoformat()

    with pytest.raises(VerificationFailed):
        await verify(fake, orjson.dumps(root))


@pytest.mark.parametrize(
    "payload",
    [
        payload_of("sha256:" + "0" * 64),
        payload_of(kind="something else"),
        b"no json",
    ],
)
async def test_a_good_signature_of_something_else(
    payload: bytes, fake: FakeRegistry, sigstore: OwnSigstore
) -> None:
    put(fake, sigstore.sign_simple(payload), payload)

    with pytest.raises(VerificationFailed):
        await verify(fake, sigstore.trusted_root())


async def test_another_payload(fake: FakeRegistry, sigstore: OwnSigstore) -> None:
    """What was signed is over another digest; the payload beside it is over this one."""
    put(fake, sigstore.sign_simple(payload_of("sha256:" + "0" * 64)))

    with pytest.raises(VerificationFailed, match="of another signature"):
        await verify(fake, sigstore.trusted_root())


def _without_promise(notes: dict[str, str], other: dict[str, str]) -> None:
    del notes[BUNDLE]


def _anothers_promise(notes: dict[str, str], other: dict[str, str]) -> None:
    notes[BUNDLE] = other[BUNDLE]


def _anothers_certificate(notes: dict[str, str], other: dict[str, str]) -> None:
    notes[CERTIFICATE] = other[CERTIFICATE]


def _anothers_signature(notes: dict[str, str], other: dict[str, str]) -> None:
    notes[SIGNATURE] = other[SIGNATURE]


def _without_signature(notes: dict[str, str], other: dict[str, str]) -> None:
    notes[SIGNATURE] = ""


def _broken_certificate(notes: dict[str, str], other: dict[str, str]) -> None:
    notes[CERTIFICATE] = "-----BEGIN CERTIFICATE-----"


def _another_time(notes: dict[str, str], other: dict[str, str]) -> None:
    rekor = orjson.loads(notes[BUNDLE])
    rekor["Payload"]["integratedTime"] += 1
    notes[BUNDLE] = orjson.dumps(rekor).decode()


def _another_body(notes: dict[str, str], other: dict[str, str]) -> None:
    rekor = orjson.loads(notes[BUNDLE])
    body = orjson.loads(base64.b64decode(rekor["Payload"]["body"]))
    rekor["Payload"]["body"] = base64.b64encode(orjson.dumps(body | {"x": 1})).decode()
    notes[BUNDLE] = orjson.dumps(rekor).decode()


def _malformed_promise(notes: dict[str, str], other: dict[str, str]) -> None:
    notes[BUNDLE] = '{"SignedEntryTimestamp": "?", "Payload": {"logIndex": "x"}}'


def _absurd_promise(notes: dict[str, str], other: dict[str, str]) -> None:
    promise = orjson.loads(notes[BUNDLE])
    promise["Payload"]["logIndex"] = 1e30
    notes[BUNDLE] = orjson.dumps(promise).decode()


@pytest.mark.parametrize(
    "change",
    [
        _absurd_promise,
        _without_promise,
        _anothers_promise,
        _anothers_certificate,
        _anothers_signature,
        _without_signature,
        _broken_certificate,
        _another_time,
        _another_body,
        _malformed_promise,
    ],
)
async def test_stripped_and_altered_signatures(
    change: Callable[[dict[str, str], dict[str, str]], None],
    fake: FakeRegistry,
    sigstore: OwnSigstore,
) -> None:
    notes = sigstore.sign_simple(PAYLOAD)
    change(notes, sigstore.sign_simple(PAYLOAD))
    put(fake, notes)

    with pytest.raises(VerificationFailed):
        await verify(fake, sigstore.trusted_root())


@pytest.mark.parametrize(
    "change",
    [
        {"mediaType": "x"},
        {"certificateAuthorities": None},
        {"certificateAuthorities": [{}]},
        {"tlogs": [{}]},
        {"tlogs": "x"},
        {"ctlogs": [{"publicKey": {"rawBytes": "?"}}]},
    ],
)
def test_malformed_roots(change: dict[str, Any], sigstore: OwnSigstore) -> None:
    document = orjson.loads(sigstore.trusted_root()) | change

    with pytest.raises(VerificationFailed, match="trusted root"):
        TrustedRoot.parse(orjson.dumps(document))


def test_the_public_root_is_read() -> None:
    from source_controller.verify.keyless import _public_root

    root = TrustedRoot.parse(_public_root())

    assert root.authorities_at(datetime(2024, 1, 1, tzinfo=UTC))
    assert root.signature_logs
    assert root.certificate_logs
