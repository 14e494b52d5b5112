"""Signatures without a key: a sigstore of the test's own, judged by the real package."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
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
from registries.sigstores import BUNDLE, OwnSigstore, statement_of
from source_controller.oci.errors import VerificationFailed
from source_controller.oci.limits import Limits
from source_controller.verify.identities import parse_identities
from source_controller.verify.keyless import verify_without_key

DIGEST = Digest.parse(SIGNED.digest)
ISSUER, SUBJECT = r"^https://token\.example$", r"^https://ci\.example/release$"
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture(scope="module")
def sigstore() -> OwnSigstore:
    return OwnSigstore(NOW)


@pytest.fixture
async def fake() -> AsyncIterator[FakeRegistry]:
    async with FakeRegistry() as registry:
        registry.put("app", "v1", SIGNED)
        yield registry


def put(fake: FakeRegistry, bundle: dict[str, Any] | bytes) -> None:
    body = bundle if isinstance(bundle, bytes) else orjson.dumps(bundle)
    fake.put("app", "", image_of([(BUNDLE, body)], subject=SIGNED, artifact_type=BUNDLE))


async def verify(
    fake: FakeRegistry,
    root: bytes | None,
    *matches: tuple[str, str],
) -> None:
    identities = parse_identities(matches or [(ISSUER, SUBJECT)])
    async with limited(Limits(), f"{fake.oci}/app") as client:
        await verify_without_key(client, DIGEST, identities, trusted_root=root)


@pytest.mark.slow
async def test_a_signature_by_the_identity(fake: FakeRegistry, sigstore: OwnSigstore) -> None:
    put(fake, sigstore.sign(statement_of(SIGNED.digest)))

    await verify(fake, sigstore.trusted_root())
    await verify(fake, sigstore.trusted_root(), ("nobody", "nobody"), ("token", "release"))


@pytest.mark.parametrize(
    "match",
    [
        (ISSUER, r"^https://ci\.example/other$"),
        (r"^https://other\.example$", SUBJECT),
        (SUBJECT, ISSUER),
    ],
)
async def test_another_identity(
    match: tuple[str, str], fake: FakeRegistry, sigstore: OwnSigstore
) -> None:
    put(fake, sigstore.sign(statement_of(SIGNED.digest)))

    with pytest.raises(VerificationFailed, match="none of the identities"):
        await verify(fake, sigstore.trusted_root(), match)


async def test_another_sigstore(fake: FakeRegistry, sigstore: OwnSigstore) -> None:
    put(fake, sigstore.sign(statement_of(SIGNED.digest)))

    for root in (OwnSigstore(NOW).trusted_root(), None):
        with pytest.raises(VerificationFailed, match="does not hold"):
            await verify(fake, root)


@pytest.mark.parametrize("key", ["root_key", "ct_key", "log_key"])
async def test_one_of_its_parts_is_anothers(
    key: str, fake: FakeRegistry, sigstore: OwnSigstore
) -> None:
    forged = sigstore.but(**{key: ec.generate_private_key(ec.SECP256R1())})
    put(fake, forged.sign(statement_of(SIGNED.digest)))

    with pytest.raises(VerificationFailed, match="does not hold"):
        await verify(fake, sigstore.trusted_root())


async def test_a_certificate_that_no_log_saw(fake: FakeRegistry, sigstore: OwnSigstore) -> None:
    put(fake, sigstore.sign(statement_of(SIGNED.digest), with_sct=False))

    with pytest.raises(VerificationFailed):
        await verify(fake, sigstore.trusted_root())


@pytest.mark.parametrize("after", [timedelta(minutes=10), timedelta(minutes=-2)])
async def test_signed_when_the_certificate_was_not_in_force(
    after: timedelta, fake: FakeRegistry, sigstore: OwnSigstore
) -> None:
    put(fake, sigstore.sign(statement_of(SIGNED.digest), signed_after=after))

    with pytest.raises(VerificationFailed, match="does not hold"):
        await verify(fake, sigstore.trusted_root())


@pytest.mark.parametrize(
    "statement",
    [
        statement_of("sha256:" + "0" * 64),
        statement_of(SIGNED.digest, predicateType="https://slsa.dev/provenance/v1"),
        statement_of(SIGNED.digest, subject=[]),
    ],
    ids=["another digest", "attestation", "nothing"],
)
async def test_a_good_signature_of_something_else(
    statement: bytes, fake: FakeRegistry, sigstore: OwnSigstore
) -> None:
    put(fake, sigstore.sign(statement))

    with pytest.raises(VerificationFailed):
        await verify(fake, sigstore.trusted_root())


def _without_log(bundle: dict[str, Any]) -> None:
    bundle["verificationMaterial"]["tlogEntries"] = []


def _without_proof(bundle: dict[str, Any]) -> None:
    del bundle["verificationMaterial"]["tlogEntries"][0]["inclusionProof"]


def _without_promise(bundle: dict[str, Any]) -> None:
    del bundle["verificationMaterial"]["tlogEntries"][0]["inclusionPromise"]


def _another_time(bundle: dict[str, Any]) -> None:
    entry = bundle["verificationMaterial"]["tlogEntries"][0]
    entry["integratedTime"] = str(int(entry["integratedTime"]) + 1)


def _another_payload(bundle: dict[str, Any]) -> None:
    other = statement_of(SIGNED.digest, predicate={"x": 1})
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(other).decode()


def _with_a_key(bundle: dict[str, Any]) -> None:
    material = bundle["verificationMaterial"]
    del material["certificate"]
    material["publicKey"] = {"hint": "x"}


def _without_signature(bundle: dict[str, Any]) -> None:
    bundle["dsseEnvelope"]["signatures"] = []


def _of_another_type(bundle: dict[str, Any]) -> None:
    bundle["mediaType"] = "text/plain"


@pytest.mark.parametrize(
    "change",
    [
        _without_log,
        _without_proof,
        _without_promise,
        _another_time,
        _another_payload,
        _with_a_key,
        _without_signature,
        _of_another_type,
    ],
)
async def test_stripped_and_altered_bundles(
    change: Any, fake: FakeRegistry, sigstore: OwnSigstore
) -> None:
    bundle = sigstore.sign(statement_of(SIGNED.digest))
    change(bundle)
    put(fake, bundle)

    with pytest.raises(VerificationFailed):
        await verify(fake, sigstore.trusted_root())


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"x" * 1000, b'{"mediaType": 1}'])
async def test_malformed_bundles(body: bytes, fake: FakeRegistry, sigstore: OwnSigstore) -> None:
    put(fake, body)

    with pytest.raises(VerificationFailed):
        await verify(fake, sigstore.trusted_root())


@pytest.mark.parametrize("root", [b"", b"{}", b"topsecret", b'{"tlogs": []}'])
async def test_malformed_roots(root: bytes, fake: FakeRegistry, sigstore: OwnSigstore) -> None:
    put(fake, sigstore.sign(statement_of(SIGNED.digest)))

    with pytest.raises(VerificationFailed, match="trusted root") as caught:
        await verify(fake, root)
    assert "topsecret" not in str(caught.value)


async def test_a_broken_bundle_does_not_hide_a_good_one(
    fake: FakeRegistry, sigstore: OwnSigstore
) -> None:
    put(fake, b"broken")
    put(fake, sigstore.sign(statement_of(SIGNED.digest)))

    await verify(fake, sigstore.trusted_root())


async def test_nothing_is_signed(fake: FakeRegistry, sigstore: OwnSigstore) -> None:
    with pytest.raises(VerificationFailed, match="no signatures found"):
        await verify(fake, sigstore.trusted_root())


@pytest.mark.parametrize(
    "matches", [[], [("", "x")], [("x", "")], [("(", "x")], [("x", "(?=y)")], [("x" * 5000, "x")]]
)
def test_identities_that_cannot_be_read(matches: list[tuple[str, str]]) -> None:
    with pytest.raises(VerificationFailed):
        parse_identities(matches)


def test_an_expression_that_explodes_in_a_backtracking_engine() -> None:
    (identity,) = parse_identities([("^(a+)+$", "x")])

    assert identity.issuer.search("a" * 5000 + "!") is None
