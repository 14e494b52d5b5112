"""Signatures: nothing unsigned becomes an artifact, and what was signed does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from fluvial.objects import key_of
from harness.oci import OciWorld
from harness.source import condition
from registries.fake import FakeRegistry
from registries.images import image_of
from registries.record import SIGNED, load
from registries.sigstores import BUNDLE, OwnSigstore, statement_of

COSIGN: dict[str, Any] = {"provider": "cosign", "secretRef": {"name": "keys"}}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[OciWorld]:
    async with OciWorld.start(tmp_path) as world:
        assert isinstance(world, OciWorld)
        yield world


@pytest.fixture
async def fake() -> AsyncIterator[FakeRegistry]:
    """A registry with the image that was signed, but without its signature."""
    async with FakeRegistry() as registry:
        registry.put("app", "v1", SIGNED)
        yield registry


def sign(fake: FakeRegistry, name: str) -> str:
    """Add a recorded signature; answers the public key."""
    key, images = load(name)
    for tag, image in images:
        fake.put("app", tag, image)
    return key


async def keys(world: OciWorld, *pems: str, namespace: str = "apps") -> None:
    values = {f"{number}.pub": pem.encode() for number, pem in enumerate(pems)}
    await world.typed_secret("keys", "Opaque", values, namespace=namespace)


def spec(fake: FakeRegistry, **more: Any) -> dict[str, Any]:
    return {"url": f"{fake.oci}/app", "ref": {"tag": "v1"}, "verify": COSIGN} | more


@pytest.mark.shows(
    "OCIRepository/SourceVerified/VerificationError",
    "OCIRepository/Ready/VerificationError",
)
async def test_what_is_not_signed_is_not_pulled(world: OciWorld, fake: FakeRegistry) -> None:
    await world.oci(**spec(fake))
    await world.until_failed("VerificationError")  # no Secret
    await keys(world)
    await world.request("no keys")
    obj = await world.until_handled("no keys")
    assert "no entry named *.pub" in condition(obj, "SourceVerified")["message"]

    await keys(world, load("ecdsa-p256-bundle")[0])
    await world.request("no signature")
    obj = await world.until_handled("no signature")
    assert "no signatures found" in condition(obj, "SourceVerified")["message"]

    sign(fake, "rsa-2048-bundle")
    await world.request("another key")
    obj = await world.until_handled("another key")
    found = condition(obj, "SourceVerified")
    assert (found["status"], found["reason"]) == ("False", "VerificationError")
    assert "by none of the keys" in found["message"]
    assert condition(obj, "Ready")["reason"] == "VerificationError"
    assert "artifact" not in obj["status"]
    assert not fake.paths("/v2/app/blobs/" + _layer())


def _layer() -> str:
    digest: str = orjson.loads(SIGNED.body)["layers"][0]["digest"]
    return digest


@pytest.mark.shows(
    "OCIRepository/SourceVerified/Succeeded",
    "field:OCIRepository/spec.verify.provider",
    "field:OCIRepository/spec.verify.secretRef.name",
)
@pytest.mark.parametrize("name", ["ecdsa-p256-bundle", "ed25519-legacy"])
async def test_what_cosign_signed(name: str, world: OciWorld, fake: FakeRegistry) -> None:
    await keys(world, load("rsa-2048-bundle")[0], sign(fake, name))
    await world.oci(**spec(fake))
    obj = await world.until_ready()

    found = condition(obj, "SourceVerified")
    assert (found["status"], found["reason"]) == ("True", "Succeeded")
    assert found["message"] == f"verified signature of revision v1@{SIGNED.digest}"
    fake.seen.clear()
    await world.request("now")
    await world.until_handled("now")
    assert fake.paths("/v2/app") == ["HEAD /v2/app/manifests/v1"], "verified once"


NOTATION: dict[str, Any] = {"provider": "notation", "secretRef": {"name": "keys"}}


async def trust(world: OciWorld, root: str, level: str) -> None:
    policy = {
        "name": "all",
        "registryScopes": ["*"],
        "signatureVerification": {"level": level},
        "trustStores": ["ca:x"],
        "trustedIdentities": ["x509.subject: C=US, ST=WA, O=Example"],
    }
    document = orjson.dumps({"version": "1.0", "trustPolicies": [policy]})
    values = {"trustpolicy.json": document, "root.crt": root.encode()}
    await world.typed_secret("keys", "Opaque", values)


async def test_what_notation_signed(world: OciWorld, fake: FakeRegistry) -> None:
    root, images = load("ecdsa-p256", "notation.json")
    await trust(world, load("rsa-2048", "notation.json")[0], "strict")
    await world.oci(**spec(fake, verify=NOTATION))
    obj = await world.until_failed("VerificationError")
    assert "no signatures found" in condition(obj, "SourceVerified")["message"]

    fake.referrers_api = False
    for tag, image in images:
        fake.put("app", tag, image)
    await world.request("another authority")
    obj = await world.until_handled("another authority")
    assert "by no trusted authority" in condition(obj, "SourceVerified")["message"]
    assert "artifact" not in obj["status"]

    await trust(world, root, "strict")
    await world.request("now")
    obj = await world.until_ready()
    assert condition(obj, "SourceVerified")["status"] == "True"

    # A policy that only notes lets it pass, which is no verification.
    await trust(world, load("rsa-2048", "notation.json")[0], "audit")
    await world.oci(**spec(fake, verify=NOTATION, interval="2h"))
    obj = await world.until_ready()
    assert not condition(obj, "SourceVerified")


@pytest.mark.shows(
    "field:OCIRepository/spec.verify.matchOIDCIdentity[].issuer",
    "field:OCIRepository/spec.verify.matchOIDCIdentity[].subject",
    "field:OCIRepository/spec.verify.trustedRootSecretRef.name",
)
async def test_a_signature_without_a_key(world: OciWorld, fake: FakeRegistry) -> None:
    sigstore = OwnSigstore(datetime(2026, 1, 1, tzinfo=UTC))
    bundle = orjson.dumps(sigstore.sign(statement_of(SIGNED.digest)))
    fake.put("app", "", image_of([(BUNDLE, bundle)], subject=SIGNED, artifact_type=BUNDLE))
    verify: dict[str, Any] = {"provider": "cosign", "trustedRootSecretRef": {"name": "root"}}
    await world.oci(**spec(fake, verify=verify))
    obj = await world.until_failed("VerificationError")
    assert "must say who may sign" in condition(obj, "SourceVerified")["message"]

    await world.typed_secret("root", "Opaque", {"other": b"x"})
    verify["matchOIDCIdentity"] = [{"issuer": "^https://token.example$", "subject": "^nobody$"}]
    await world.oci(**spec(fake, verify=verify))
    obj = await world.until(
        lambda obj: "trusted_root.json" in condition(obj, "SourceVerified").get("message", "")
    )
    await world.typed_secret("root", "Opaque", {"trusted_root.json": sigstore.trusted_root()})
    await world.request("another identity")
    obj = await world.until_handled("another identity")
    assert "none of the identities" in condition(obj, "SourceVerified")["message"]
    assert "artifact" not in obj["status"]

    verify["matchOIDCIdentity"].append({"issuer": "^https://token", "subject": "/release$"})
    await world.oci(**spec(fake, verify=verify))
    obj = await world.until_ready()
    assert condition(obj, "SourceVerified")["status"] == "True"


async def test_a_moved_tag_without_signature_keeps_the_old_artifact(
    world: OciWorld, fake: FakeRegistry
) -> None:
    await keys(world, sign(fake, "ecdsa-p256-bundle"))
    await world.oci(**spec(fake))
    before = await world.until_ready()
    fake.put("app", "v1", image_of({"evil": "x"}))
    await world.request("now")
    obj = await world.until_failed("VerificationError")
    assert obj["status"]["artifact"] == before["status"]["artifact"]

    fake.put("app", "v1", SIGNED)
    await world.request("back")
    obj = await world.until_ready()
    assert obj["status"]["artifact"] == before["status"]["artifact"]
    assert condition(obj, "SourceVerified")["status"] == "True"


async def test_a_new_policy_is_applied_to_what_is_stored(
    world: OciWorld, fake: FakeRegistry
) -> None:
    key = sign(fake, "ecdsa-p256-bundle")
    await world.oci(**spec(fake, verify=None))
    obj = await world.until_ready()
    assert not condition(obj, "SourceVerified")

    await world.oci(**spec(fake))
    await world.until_failed("VerificationError")
    await keys(world, key)
    await world.request("now")
    await world.until_ready()

    await world.oci(**spec(fake, verify=None))
    obj = await world.until(lambda obj: not condition(obj, "SourceVerified"))
    obj = await world.until_ready()


async def test_a_key_that_was_taken_out_of_its_secret_loses_its_force(
    world: OciWorld, fake: FakeRegistry
) -> None:
    """Nothing of the object changes, and its artifact is the one that was verified."""
    key = sign(fake, "ecdsa-p256-bundle")
    await keys(world, key)
    await world.oci(**spec(fake))
    await world.until_ready()
    seen = len(fake.paths("/v2/app/referrers"))
    await world.request("the same keys")
    await world.until_handled("the same keys")
    assert len(fake.paths("/v2/app/referrers")) == seen, "nothing is verified again"

    await keys(world, load("rsa-2048-bundle")[0])
    await world.request("another key")
    obj = await world.until_handled("another key")
    assert condition(obj, "SourceVerified")["reason"] == "VerificationError"
    assert condition(obj, "Ready")["status"] == "False"

    await keys(world, load("rsa-2048-bundle")[0], key)
    await world.request("both")
    obj = await world.until_ready()
    assert condition(obj, "SourceVerified")["status"] == "True"


async def test_a_forged_verification_is_made_again(world: OciWorld, fake: FakeRegistry) -> None:
    await world.oci(**spec(fake, verify=None))
    obj = await world.until_ready()
    revision = obj["status"]["artifact"]["revision"]
    forged: dict[str, Any] = {
        "type": "SourceVerified",
        "status": "True",
        "reason": "Succeeded",
        "message": f"verified signature of revision {revision}",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    await keys(world, load("ecdsa-p256-bundle")[0])
    obj = await world.oci(**spec(fake, suspend=True))
    forged["observedGeneration"] = obj["metadata"]["generation"] + 1
    conditions = [*(await world.get())["status"]["conditions"], forged]
    await world.client.patch(
        world.resource,
        key_of(obj),
        {"status": {"conditions": conditions}},
        patch_type="merge",
        field_manager="test",
        subresource="status",
    )
    await world.oci(**spec(fake))
    await world.until_failed("VerificationError")


async def test_one_objects_verification_is_not_anothers(
    world: OciWorld, fake: FakeRegistry
) -> None:
    """Both share what is pulled, but each checks by its own keys."""
    key = sign(fake, "ecdsa-p256-bundle")
    await keys(world, key)
    await world.oci("good", **spec(fake))
    await world.until_ready("good")

    await world.typed_secret("wrong", "Opaque", {"a.pub": load("rsa-2048-bundle")[0].encode()})
    verify = {"provider": "cosign", "secretRef": {"name": "wrong"}}
    await world.oci("bad", **spec(fake, verify=verify))
    obj = await world.until_failed("VerificationError", "bad")
    assert "artifact" not in obj["status"]


async def test_a_signature_of_what_was_never_pulled_is_none_of_what_is_stored(
    world: OciWorld, fake: FakeRegistry
) -> None:
    """The registry shows something signed, keeps its layer back, and takes the tag back."""
    unsigned = fake.put("app", "v1", image_of({"evil": "x"}))
    await world.oci(**spec(fake, verify=None))
    await world.until_ready()

    await keys(world, sign(fake, "ecdsa-p256-bundle"))
    fake.put("app", "v1", SIGNED)
    layer = fake.blobs.pop(_layer())
    await world.oci(**spec(fake))
    await world.until_failed("OCIArtifactPullFailed")

    fake.blobs[_layer()] = layer
    fake.put("app", "v1", unsigned)
    await world.request("back")
    obj = await world.until_handled("back")
    assert condition(obj, "SourceVerified")["status"] == "False"
    assert condition(obj, "Ready")["reason"] == "VerificationError"
