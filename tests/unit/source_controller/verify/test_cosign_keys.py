"""cosign signatures made with keys: recordings of the real signer, and forgeries."""

from __future__ import annotations

import base64
import threading
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fluvial.artifact.digest import Digest
from registries.clients import limited
from registries.fake import FakeRegistry
from registries.images import Image, image_of, index_of
from registries.record import SIGNED, load
from source_controller.oci.errors import RegistryError, VerificationFailed
from source_controller.oci.limits import Limits
from source_controller.verify.cosign import verify_with_keys
from source_controller.verify.keys import keys_from_secret
from source_controller.verify.statement import pre_authenticated

KINDS = ["ecdsa-p256", "ecdsa-p384", "rsa-2048", "ed25519"]
FORMS = ["bundle", "legacy"]
DIGEST = Digest.parse(SIGNED.digest)
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
SIMPLE = "application/vnd.dev.cosign.simplesigning.v1+json"


@pytest.fixture
async def fake() -> AsyncIterator[FakeRegistry]:
    async with FakeRegistry() as registry:
        registry.put("app", "v1", SIGNED)
        registry.referrers_api = False
        yield registry


async def verify(fake: FakeRegistry, *pems: str, digest: Digest = DIGEST) -> None:
    keys = keys_from_secret({f"{n}.pub": pem.encode() for n, pem in enumerate(pems)})
    async with limited(Limits(), f"{fake.oci}/app") as client:
        await verify_with_keys(client, digest, keys)


def put(fake: FakeRegistry, images: list[tuple[str, Image]]) -> None:
    for tag, image in images:
        fake.put("app", tag, image)


# --- signers of our own, for what the real one would not make -------------------------------------


class Signer:
    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.pem = (
            self._key.public_key()
            .public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            .decode()
        )

    def sign(self, data: bytes) -> str:
        return base64.b64encode(self._key.sign(data, ec.ECDSA(hashes.SHA256()))).decode()

    def legacy(self, payload: Any) -> tuple[str, Image]:
        data = payload if isinstance(payload, bytes) else orjson.dumps(payload)
        notes = {"dev.cosignproject.cosign/signature": self.sign(data)}
        image = image_of([(SIMPLE, data)], layer_annotations=notes)
        return f"{SIGNED.digest.replace(':', '-')}.sig", image

    def bundle(self, statement: Any, **changes: Any) -> list[tuple[str, Image]]:
        data = orjson.dumps(statement)
        kind = changes.pop("payloadType", "application/vnd.in-toto+json")
        envelope = {
            "payload": base64.b64encode(data).decode(),
            "payloadType": kind,
            "signatures": [{"sig": self.sign(pre_authenticated(kind, data))}],
        }
        return bundle_images(orjson.dumps({"dsseEnvelope": envelope | changes}))


def bundle_images(body: bytes) -> list[tuple[str, Image]]:
    image = image_of([(BUNDLE, body)], subject=SIGNED, artifact_type=BUNDLE)
    index = index_of([(image, {"artifactType": BUNDLE})])
    return [("", image), (SIGNED.digest.replace(":", "-"), index)]


def payload(digest: str = SIGNED.digest, kind: str = "cosign container image signature") -> Any:
    return {
        "critical": {
            "identity": {"docker-reference": "x"},
            "image": {"docker-manifest-digest": digest},
            "type": kind,
        },
        "optional": None,
    }


def statement(**changes: Any) -> Any:
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"digest": {"sha256": DIGEST.hex}}],
        "predicateType": "https://sigstore.dev/cosign/sign/v1",
        "predicate": {},
    } | changes


# --- what must fail -------------------------------------------------------------------------------


async def test_nothing_is_signed(fake: FakeRegistry) -> None:
    with pytest.raises(VerificationFailed, match="no signatures found"):
        await verify(fake, load("ecdsa-p256-bundle")[0])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", KINDS)
async def test_a_signature_by_another_key(kind: str, form: str, fake: FakeRegistry) -> None:
    put(fake, load(f"{kind}-{form}")[1])

    with pytest.raises(VerificationFailed, match="by none of the keys"):
        await verify(fake, Signer().pem, *(load(f"{k}-{form}")[0] for k in KINDS if k != kind))


@pytest.mark.parametrize("form", FORMS)
async def test_a_signature_over_another_digest(form: str, fake: FakeRegistry) -> None:
    """A real signature of the signed image is stored as if it were another one's."""
    other = fake.put("app", "v2", image_of({"evil": "x"}))
    old, new = SIGNED.digest.replace(":", "-"), other.digest.replace(":", "-")
    pem, images = load(f"ecdsa-p256-{form}")
    put(fake, [(tag.replace(old, new), image) for tag, image in images])

    with pytest.raises(VerificationFailed, match="over another digest"):
        await verify(fake, pem, digest=Digest.parse(other.digest))


@pytest.mark.parametrize("form", FORMS)
async def test_a_changed_signature(form: str, fake: FakeRegistry) -> None:
    pem, images = load(f"ecdsa-p256-{form}")
    if form == "legacy":
        tag, image = images[0]
        changed = orjson.loads(image.body)
        notes = changed["layers"][0]["annotations"]
        signature = bytearray(base64.b64decode(notes["dev.cosignproject.cosign/signature"]))
        signature[-1] ^= 1
        notes["dev.cosignproject.cosign/signature"] = base64.b64encode(signature).decode()
        put(fake, [(tag, Image(orjson.dumps(changed), image.media_type, image.blobs))])
    else:
        bundle = next(
            blob for image in images for blob in image[1].blobs.values() if b"dsse" in blob
        )
        document = orjson.loads(bundle)
        document["dsseEnvelope"]["payload"] = base64.b64encode(
            orjson.dumps(statement(predicate={"x": 1}))
        ).decode()
        put(fake, bundle_images(orjson.dumps(document)))

    with pytest.raises(VerificationFailed, match="by none of the keys"):
        await verify(fake, pem)


async def test_an_attestation_is_no_signature(fake: FakeRegistry) -> None:
    pem, images = load("attested")
    put(fake, images)

    with pytest.raises(VerificationFailed, match="an attestation, not a signature"):
        await verify(fake, pem)


@pytest.mark.parametrize(
    "body",
    [
        payload(digest="sha256:" + "0" * 64),
        payload(kind="something else"),
        {"critical": {"type": "cosign container image signature"}},
        {"critical": []},
        [],
        b"no json",
    ],
)
async def test_a_good_signature_over_a_bad_payload(body: Any, fake: FakeRegistry) -> None:
    signer = Signer()
    put(fake, [signer.legacy(body)])

    with pytest.raises(VerificationFailed):
        await verify(fake, signer.pem)


@pytest.mark.parametrize(
    "changes",
    [
        {"subject": []},
        {"subject": [{"digest": {"sha256": "0" * 64}}]},
        {"subject": [{"digest": {"sha256": DIGEST.hex}}] * 2},
        {"subject": [{"digest": {"sha512": DIGEST.hex}}]},
        {"subject": {"digest": {"sha256": DIGEST.hex}}},
        {"_type": "https://example.com/x"},
        {"predicateType": "https://slsa.dev/provenance/v1"},
    ],
)
async def test_a_good_signature_over_a_bad_statement(
    changes: dict[str, Any], fake: FakeRegistry
) -> None:
    signer = Signer()
    put(fake, signer.bundle(statement(**changes)))

    with pytest.raises(VerificationFailed):
        await verify(fake, signer.pem)


@pytest.mark.parametrize(
    "changes",
    [
        {"signatures": []},
        {"signatures": "x"},
        {"signatures": [1]},
        {"signatures": [{"sig": "?"}]},
        {"payload": "?"},
        {"payload": None},
        {"payloadType": "text/plain"},
    ],
)
async def test_a_bad_envelope(changes: dict[str, Any], fake: FakeRegistry) -> None:
    signer = Signer()
    put(fake, signer.bundle(statement(), **changes))

    with pytest.raises(VerificationFailed):
        await verify(fake, signer.pem)


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"dsseEnvelope": 1}', b"x" * 1000])
async def test_a_bad_bundle(body: bytes, fake: FakeRegistry) -> None:
    put(fake, bundle_images(body))

    with pytest.raises(VerificationFailed):
        await verify(fake, Signer().pem)


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"cosign.key": b"x"},
        {"cosign.pub": b""},
        {"cosign.pub": b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"},
    ],
)
def test_no_keys(data: dict[str, bytes]) -> None:
    with pytest.raises(VerificationFailed):
        keys_from_secret(data)


async def test_a_registry_that_fails_is_no_missing_signature(fake: FakeRegistry) -> None:
    from aiohttp import web

    async def hook(request: web.Request) -> web.Response | None:
        return web.Response(status=500) if request.path.endswith(".sig") else None

    fake.hook = hook
    with pytest.raises(RegistryError):
        await verify(fake, Signer().pem)


async def test_too_many_signatures(fake: FakeRegistry) -> None:
    tag, image = Signer().legacy(payload())
    document = orjson.loads(image.body)
    document["layers"] *= 51
    put(fake, [(tag, Image(orjson.dumps(document), image.media_type, image.blobs))])

    with pytest.raises(VerificationFailed, match="more than 50"):
        await verify(fake, Signer().pem)


# --- what must pass -------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", KINDS)
async def test_what_cosign_signed(kind: str, form: str, fake: FakeRegistry) -> None:
    pem, images = load(f"{kind}-{form}")
    put(fake, images)

    await verify(fake, pem)
    await verify(fake, Signer().pem, pem)


async def test_a_broken_signature_does_not_hide_a_good_one(fake: FakeRegistry) -> None:
    signer = Signer()
    put(fake, bundle_images(b"broken"))
    put(fake, [signer.legacy(payload())])

    await verify(fake, signer.pem)


def test_a_broken_key_does_not_hide_a_good_one() -> None:
    pem = Signer().pem.encode()

    assert len(keys_from_secret({"a.pub": b"x", "b.pub": pem, "c.txt": pem})) == 1


async def test_many_keys_and_signatures_leave_the_loop_free(fake: FakeRegistry) -> None:
    """Ed25519 in its pre-hashed form takes milliseconds, and a tenant may have a hundred keys."""
    put(fake, load("ecdsa-p256-bundle")[1])
    main, used = threading.get_ident(), set[int]()

    def spy(*_args: object, **_more: object) -> bool:
        used.add(threading.get_ident())
        return False

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("source_controller.verify.cosign.verifies", spy)
        with pytest.raises(VerificationFailed):
            await verify(fake, load("ed25519-bundle")[0])
    assert used
    assert main not in used


async def test_signatures_that_are_too_large_together(fake: FakeRegistry) -> None:
    fake.referrers_api = True
    for number in range(6):
        body = b"%d" % number + b" " * (3 << 20)
        fake.put("app", "", image_of([(BUNDLE, body)], subject=SIGNED, artifact_type=BUNDLE))
    with pytest.raises(VerificationFailed, match="more than 16777216 bytes"):
        await verify(fake, Signer().pem)
