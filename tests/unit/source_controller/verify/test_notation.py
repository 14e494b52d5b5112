"""Notation: recordings of the Notary Project's own signer, and forgeries."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import ExtendedKeyUsageOID

from fluvial.artifact.digest import Digest
from fluvial.clock import parse_time
from registries.clients import limited
from registries.codesigners import Signer, make_key, make_signer
from registries.fake import FakeRegistry
from registries.images import MANIFEST, image_of
from registries.record import RECORDED, SIGNED, load
from source_controller.oci.errors import VerificationFailed
from source_controller.oci.limits import Limits
from source_controller.verify.notation import verify_with_notation

MADE = parse_time(orjson.loads((RECORDED / "notation.json").read_bytes())["made"])
NOW = MADE + timedelta(hours=1)
DIGEST = Digest.parse(SIGNED.digest)
ARTIFACT = "application/vnd.cncf.notary.signature"
JWS = "application/jose+json"
KINDS = ["rsa-2048", "rsa-3072", "rsa-4096", "ecdsa-p256", "ecdsa-p384", "ecdsa-p521"]
SUBJECT = "x509.subject: C=US, ST=WA, O=Example"


@pytest.fixture
async def fake() -> AsyncIterator[FakeRegistry]:
    async with FakeRegistry() as registry:
        registry.put("app", "v1", SIGNED)
        yield registry


def policy(**changes: Any) -> dict[str, Any]:
    return {
        "name": "all",
        "registryScopes": ["*"],
        "signatureVerification": {"level": "strict"},
        "trustStores": ["ca:any"],
        "trustedIdentities": ["*"],
    } | changes


def level(name: str, **override: str) -> dict[str, Any]:
    return {"signatureVerification": {"level": name} | ({"override": override} if override else {})}


async def verify(
    fake: FakeRegistry,
    root: str | bytes,
    *policies: dict[str, Any],
    now: datetime = NOW,
    document: bytes | None = None,
    digest: Digest = DIGEST,
) -> bool:
    body = orjson.dumps({"version": "1.0", "trustPolicies": list(policies) or [policy()]})
    data = {
        "trustpolicy.json": body if document is None else document,
        "root.crt": root.encode() if isinstance(root, str) else root,
    }
    async with limited(Limits(), f"{fake.oci}/app") as client:
        return await verify_with_notation(client, digest, data, now)


def put_recorded(fake: FakeRegistry, name: str) -> str:
    root, images = load(name, "notation.json")
    fake.referrers_api = False
    for tag, image in images:
        fake.put("app", tag, image)
    return root


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def envelope(signer: Signer, *, target: Any = None, **header: Any) -> dict[str, Any]:
    """An envelope as the real signer makes it, with changes; ``None`` leaves a field out."""
    protected = {
        "alg": "ES256",
        "cty": "application/vnd.cncf.notary.payload.v1+json",
        "crit": ["io.cncf.notary.signingScheme"],
        "io.cncf.notary.signingScheme": "notary.x509",
    } | header
    fields = {name: value for name, value in protected.items() if value is not None}
    if target is None:
        target = {"mediaType": MANIFEST, "digest": SIGNED.digest, "size": len(SIGNED.body)}
    parts = [b64(orjson.dumps(fields)), b64(orjson.dumps({"targetArtifact": target}))]
    assert isinstance(signer.key, ec.EllipticCurvePrivateKey)
    der = signer.key.sign(".".join(parts).encode(), ec.ECDSA(hashes.SHA256()))
    r, s = decode_dss_signature(der)
    encoded = [item.public_bytes(serialization.Encoding.DER) for item in signer.chain]
    return {
        "protected": parts[0],
        "payload": parts[1],
        "header": {"x5c": [base64.b64encode(item).decode() for item in encoded]},
        "signature": b64(r.to_bytes(32, "big") + s.to_bytes(32, "big")),
    }


def put(fake: FakeRegistry, body: Any, media_type: str = JWS) -> None:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    fake.put("app", "", image_of([(media_type, raw)], subject=SIGNED, artifact_type=ARTIFACT))


@pytest.fixture(scope="module")
def signer() -> Signer:
    return make_signer(make_key("ecdsa-p256"), MADE)


# --- what must fail -------------------------------------------------------------------------------


async def test_nothing_is_signed(fake: FakeRegistry, signer: Signer) -> None:
    with pytest.raises(VerificationFailed, match="no signatures found"):
        await verify(fake, signer.root_pem)


@pytest.mark.parametrize("kind", [*KINDS, *(f"cose-{kind}" for kind in KINDS)])
async def test_another_authority(kind: str, fake: FakeRegistry, signer: Signer) -> None:
    put_recorded(fake, kind)

    with pytest.raises(VerificationFailed, match="by no trusted authority"):
        await verify(fake, signer.root_pem)


@pytest.mark.parametrize(
    "identity",
    [
        "x509.subject: C=US, ST=WA, O=Other",
        "x509.subject: C=US, ST=WA, O=Example, CN=root",
        "x509.subject: C=US, ST=WA, O=Example, OU=x",
    ],
)
async def test_another_identity(identity: str, fake: FakeRegistry) -> None:
    root = put_recorded(fake, "ecdsa-p256")

    with pytest.raises(VerificationFailed, match="none of the trusted identities"):
        await verify(fake, root, policy(trustedIdentities=[identity]))


async def test_a_real_signature_over_another_artifact(fake: FakeRegistry) -> None:
    other = fake.put("app", "v2", image_of({"evil": "x"}))
    root, images = load("ecdsa-p256", "notation.json")
    body = next(
        blob for _, image in images for blob in image.blobs.values() if b"protected" in blob
    )
    fake.put("app", "", image_of([(JWS, body)], subject=other, artifact_type=ARTIFACT))

    with pytest.raises(VerificationFailed, match="over another artifact"):
        await verify(fake, root, digest=Digest.parse(other.digest))


@pytest.mark.parametrize("name", ["expiring", "cose-expiring"])
async def test_an_expired_signature(name: str, fake: FakeRegistry) -> None:
    root = put_recorded(fake, name)
    late = MADE + timedelta(hours=25)

    assert await verify(fake, root)
    with pytest.raises(VerificationFailed, match="has expired"):
        await verify(fake, root, now=late)
    assert await verify(fake, root, policy(**level("permissive")), now=late)


async def test_expired_certificates(fake: FakeRegistry) -> None:
    signer = make_signer(make_key("ecdsa-p256"), MADE, days=1)
    put(fake, envelope(signer))
    late = MADE + timedelta(days=2)

    assert await verify(fake, signer.root_pem)
    with pytest.raises(VerificationFailed, match="not in force"):
        await verify(fake, signer.root_pem, now=late)
    with pytest.raises(VerificationFailed, match="not in force"):
        await verify(fake, signer.root_pem, now=MADE - timedelta(days=1))


async def test_certificates_that_may_have_been_revoked(fake: FakeRegistry) -> None:
    signer = make_signer(make_key("ecdsa-p256"), MADE, revocable=True)
    put(fake, envelope(signer))

    with pytest.raises(VerificationFailed, match="were revoked cannot be asked"):
        await verify(fake, signer.root_pem)
    assert await verify(fake, signer.root_pem, policy(**level("strict", revocation="skip")))


async def test_an_altered_payload(fake: FakeRegistry, signer: Signer) -> None:
    first = envelope(signer, target={"digest": "sha256:" + "0" * 64})
    put(fake, first | {"payload": envelope(signer)["payload"]})

    for strictness in ("strict", "audit"):
        with pytest.raises(VerificationFailed, match="not over this content"):
            await verify(fake, signer.root_pem, policy(**level(strictness)))


@pytest.mark.parametrize(
    "target",
    [
        {"mediaType": MANIFEST, "digest": "sha256:" + "0" * 64, "size": len(SIGNED.body)},
        {"mediaType": MANIFEST, "digest": SIGNED.digest, "size": 1},
        {"mediaType": "x/y", "digest": SIGNED.digest, "size": len(SIGNED.body)},
        {},
        [],
    ],
)
async def test_another_target(target: Any, fake: FakeRegistry, signer: Signer) -> None:
    put(fake, envelope(signer, target=target))

    with pytest.raises(VerificationFailed):
        await verify(fake, signer.root_pem, policy(**level("audit")))


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none"},
        {"alg": "PS256"},
        {"alg": "HS256"},
        {"alg": None},
        {"cty": "text/plain"},
        {"crit": None},
        {"crit": []},
        {"crit": ["io.cncf.notary.signingScheme", ["x"]]},
        {"crit": ["io.cncf.notary.signingScheme", "io.cncf.notary.verificationPlugin"]},
        {"io.cncf.notary.signingScheme": "notary.x509.signingAuthority"},
        {"io.cncf.notary.expiry": "2000-01-01T00:00:00Z"},
        {
            "crit": ["io.cncf.notary.signingScheme", "io.cncf.notary.expiry"],
            "io.cncf.notary.expiry": "soon",
        },
    ],
)
async def test_headers_that_do_not_count(
    header: dict[str, Any], fake: FakeRegistry, signer: Signer
) -> None:
    put(fake, envelope(signer, **header))

    with pytest.raises(VerificationFailed):
        await verify(fake, signer.root_pem, policy(**level("audit")))


def _bad_signers() -> list[Any]:
    key = make_key("ecdsa-p256")
    good = make_signer(key, MADE)
    other = make_signer(key, MADE)
    server = (ExtendedKeyUsageOID.SERVER_AUTH,)
    both = (ExtendedKeyUsageOID.CODE_SIGNING, ExtendedKeyUsageOID.SERVER_AUTH)
    return [
        pytest.param(make_signer(key, MADE, uses=server), id="for servers"),
        pytest.param(make_signer(key, MADE, uses=both), id="for servers too"),
        pytest.param(make_signer(key, MADE, root_is_authority=False), id="no authority"),
        pytest.param(Signer(key, (good.chain[0], other.chain[1])), id="another root"),
        pytest.param(Signer(key, (good.chain[0],)), id="no root"),
        pytest.param(Signer(make_key("ecdsa-p256"), good.chain), id="another key"),
        pytest.param(Signer(key, ()), id="no certificate"),
        pytest.param(Signer(key, (good.chain[0], *[good.chain[1]] * 10)), id="too many"),
    ]


@pytest.mark.parametrize("bad", _bad_signers())
async def test_chains_that_do_not_count(bad: Signer, fake: FakeRegistry) -> None:
    put(fake, envelope(bad))
    roots = bad.chain_pem or make_signer(bad.key, MADE).root_pem

    with pytest.raises(VerificationFailed):
        await verify(fake, roots, policy(**level("audit")))


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"protected": 1}', b"x" * 1000])
async def test_malformed_envelopes(body: bytes, fake: FakeRegistry, signer: Signer) -> None:
    put(fake, body)

    with pytest.raises(VerificationFailed):
        await verify(fake, signer.root_pem)


async def test_an_envelope_of_an_unknown_form(fake: FakeRegistry, signer: Signer) -> None:
    put(fake, envelope(signer), "application/octet-stream")

    with pytest.raises(VerificationFailed, match="envelope is of an unknown form"):
        await verify(fake, signer.root_pem)


def bad_documents() -> list[Any]:
    def document(*policies: Any, version: str = "1.0") -> bytes:
        return orjson.dumps({"version": version, "trustPolicies": list(policies)})

    return [
        b"no json",
        b"[]",
        document(),
        document(policy(), version="2.0"),
        document("x"),
        document(policy(name="")),
        document(policy(registryScopes=[])),
        document(policy(registryScopes=["*", "a/b"])),
        document(policy(), policy(name="second")),
        document(policy(), policy(registryScopes=["a/b"])),
        document(policy(**level("lax"))),
        document(policy(signatureVerification=None)),
        document(policy(**level("skip", expiry="log"))),
        document(policy(**level("strict", integrity="skip"))),
        document(policy(**level("strict", authenticity="skip"))),
        document(policy(**level("strict", expiry="ignore"))),
        document(policy(trustStores=[])),
        document(policy(trustedIdentities=[])),
        document(policy(trustedIdentities=["*", SUBJECT])),
        document(policy(trustedIdentities=["did:example"])),
        document(policy(trustedIdentities=["x509.subject: C=US, O=Example"])),
        document(policy(trustedIdentities=["x509.subject: nothing"])),
        document(policy(trustedIdentities=[SUBJECT + ", O=Other"])),
    ]


@pytest.mark.parametrize("document", bad_documents())
async def test_policies_that_are_not_valid(
    document: bytes, fake: FakeRegistry, signer: Signer
) -> None:
    put(fake, envelope(signer))

    with pytest.raises(VerificationFailed, match="policy is not valid"):
        await verify(fake, signer.root_pem, document=document)


async def test_no_policy_for_this_repository(fake: FakeRegistry, signer: Signer) -> None:
    put(fake, envelope(signer))

    with pytest.raises(VerificationFailed, match="says nothing about"):
        await verify(fake, signer.root_pem, policy(registryScopes=["registry.example/app"]))


@pytest.mark.parametrize("root", [b"", b"topsecret", b"-----BEGIN CERTIFICATE-----\nAA"])
async def test_no_trusted_certificates(root: bytes, fake: FakeRegistry, signer: Signer) -> None:
    put(fake, envelope(signer))

    with pytest.raises(VerificationFailed) as caught:
        await verify(fake, root)
    assert "topsecret" not in str(caught.value)


async def test_a_secret_without_policy(fake: FakeRegistry, signer: Signer) -> None:
    async with limited(Limits(), f"{fake.oci}/app") as client:
        with pytest.raises(VerificationFailed, match=r"no 'trustpolicy\.json'"):
            await verify_with_notation(client, DIGEST, {"root.crt": signer.root_pem}, NOW)


# --- what must pass -------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["", "cose-"], ids=["jws", "cose"])
@pytest.mark.parametrize("name", [*KINDS, "self-signed"])
async def test_what_the_notary_project_signed(name: str, form: str, fake: FakeRegistry) -> None:
    root = put_recorded(fake, form + name)

    assert await verify(fake, root)
    assert await verify(fake, root, policy(trustedIdentities=[SUBJECT]))
    assert await verify(
        fake, root, policy(trustedIdentities=["x509.subject:O=Example,ST=WA,C=US,CN=signer"])
    )


async def test_the_test_signer_is_like_the_real_one(fake: FakeRegistry, signer: Signer) -> None:
    put(fake, envelope(signer))

    assert await verify(fake, signer.root_pem)


async def test_the_policy_of_the_repository_is_stronger(fake: FakeRegistry) -> None:
    root = put_recorded(fake, "ecdsa-p256")
    own = policy(name="own", registryScopes=[f"{fake.host}/app"], **level("skip"))
    strict = policy(trustedIdentities=["x509.subject: C=US, ST=WA, O=Other"])

    assert not await verify(fake, root, strict, own)


async def test_skip_and_audit_are_not_verified(fake: FakeRegistry, signer: Signer) -> None:
    other = make_signer(make_key("ecdsa-p256"), MADE)
    put(fake, envelope(other))

    assert not await verify(fake, signer.root_pem, policy(**level("skip")))
    assert not await verify(fake, signer.root_pem, policy(**level("audit")))
    assert await verify(fake, other.root_pem, policy(**level("audit")))


async def test_a_broken_signature_does_not_hide_a_good_one(
    fake: FakeRegistry, signer: Signer
) -> None:
    put(fake, b"broken")
    put(fake, envelope(signer))

    assert await verify(fake, signer.root_pem)


async def test_no_more_than_three_are_tried(fake: FakeRegistry, signer: Signer) -> None:
    for number in range(3):
        put(fake, b"broken %d" % number)
    put(fake, envelope(signer))

    with pytest.raises(VerificationFailed):
        await verify(fake, signer.root_pem)


async def test_a_policy_that_nobody_foresaw(fake: FakeRegistry, signer: Signer) -> None:
    with pytest.raises(VerificationFailed, match="the trust policy cannot be read"):
        await verify(fake, signer.root_pem, policy(signatureVerification={"level": ["strict"]}))
