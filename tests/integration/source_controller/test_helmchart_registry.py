"""HelmChart of a HelmRepository in a registry: tags, credentials, signatures."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fluvial.artifact.digest import Digest
from fluvial.kube import kinds
from fluvial.objects import ObjectKey
from gitservers.certs import TestCA
from harness.helmcharts import ChartWorld, chart, chart_image, packed, publish
from harness.oci import OciWorld
from harness.source import condition
from harness.webserver import FileHost
from registries.fake import FakeRegistry
from registries.images import Image, image_of
from registries.record import SIGNED, load
from registries.sigstores import BUNDLE, OwnSigstore, statement_of
from source_controller.helmchart import verifying
from source_controller.oci.registry import RepositoryClient
from source_controller.verify.keyless import verify_without_key

APP = packed(chart())
PAYLOAD = "application/vnd.dev.cosign.simplesigning.v1+json"
COSIGN: dict[str, Any] = {"provider": "cosign", "secretRef": {"name": "keys"}}


class World(ChartWorld, OciWorld):
    """HelmCharts, and Secrets of registries."""

    resource = kinds.HELM_CHART


@pytest.fixture
async def fake() -> AsyncIterator[FakeRegistry]:
    async with FakeRegistry() as registry:
        registry.put("charts/app", "1.0.0", chart_image(APP))
        yield registry


@pytest.fixture
async def world(tmp_path: Path, fake: FakeRegistry) -> AsyncIterator[World]:
    """With the HelmRepository ``charts``."""
    async with World.start(tmp_path) as world:
        assert isinstance(world, World)
        await world.helm_repository(url=f"{fake.oci}/charts", type="oci", interval=None)
        yield world


def blobs(fake: FakeRegistry) -> int:
    return sum("/blobs/" in path for path in fake.paths("/v2/charts/app"))


@pytest.mark.shows("field:HelmChart/spec.interval")
async def test_a_chart_of_a_registry(world: World, fake: FakeRegistry) -> None:
    """Tags are looked at again at every interval; what they cannot have is written otherwise."""
    plus = packed(chart(version="1.2.0+build.7"))
    await world.chart(version="1.0.0")
    obj = await world.until_ready(revision="1.0.0")
    assert await world.package(obj) == APP
    assert "observedSourceArtifactRevision" not in obj["status"]
    assert not any("tags/list" in path for path in fake.paths()), "a version is taken as it is"

    await world.chart("range", version="^1", interval="1s")
    await world.until_ready("range", revision="1.0.0")
    fake.put("charts/app", "1.2.0_build.7", chart_image(plus))
    obj = await world.until_ready("range", revision="1.2.0+build.7")
    assert await world.package(obj) == plus
    assert obj["status"]["artifact"]["path"].endswith("app-1.2.0+build.7.tgz")
    assert blobs(fake) == 2
    await world.chart("exact", version="1.2.0+build.7")
    await world.until_ready("exact", revision="1.2.0+build.7")
    assert blobs(fake) == 2, "it was there"


async def test_what_a_registry_does_not_have(world: World, fake: FakeRegistry) -> None:
    """Nothing tells when it will be there, so it is tried again."""
    fake.put("charts/image", "1.0.0", image_of({"a": "b"}))
    names = {
        "version": {"version": "9.9.9"},
        "range": {"version": "^9"},
        "chart": {"chart": "none"},
        "layer": {"chart": "image"},
    }
    for name, spec in names.items():
        await world.chart(name, **spec)
    for name in names:
        obj = await world.until_failed("ChartPullError", name)
        assert not condition(obj, "Stalled")
    fake.put("charts/app", "9.9.9", chart_image(packed(chart(version="9.9.9"))))

    await world.until_ready("version")
    await world.until_ready("range", revision="9.9.9")


@pytest.mark.shows(
    "HelmChart/BuildFailed/MetadataPatchError", "HelmChart/Stalled/MetadataPatchError"
)
async def test_a_tag_that_is_no_version(world: World, fake: FakeRegistry) -> None:
    fake.put("charts/app", "latest", chart_image(APP))
    await world.chart(version="latest")
    await world.until_ready(revision="latest")
    await world.chart(version="latest", valuesFiles=["values.yaml", "values.yaml"])
    obj = await world.until_failed("MetadataPatchError")

    assert condition(obj, "BuildFailed")["status"] == "True"
    assert condition(obj, "Stalled")["reason"] == "MetadataPatchError"


@pytest.mark.shows("HelmChart/Stalled/Failed")
async def test_an_address_that_is_not_of_a_registry(world: World) -> None:
    await world.helm_repository(url="https://registry.example/charts", type="oci")
    await world.chart()
    obj = await world.until_failed("Failed")

    assert condition(obj, "Stalled")["reason"] == "Failed"
    await world.helm_repository(url="oci://robot:topsecret@registry.example/charts", type="oci")
    await world.chart(version="1.x")
    obj = await world.until_failed("Failed")
    assert "topsecret" not in str(obj)


async def test_credentials_of_a_registry(world: World, fake: FakeRegistry) -> None:
    fake.basic = ("robot", "topsecret")
    await world.chart()
    obj = await world.until_failed("AuthenticationFailed")
    assert "artifact" not in obj["status"]
    await world.pull_secret("login", "other.example", "robot", "topsecret")
    spec: dict[str, Any] = {"url": f"{fake.oci}/charts", "type": "oci", "interval": None}
    await world.helm_repository(**spec, secretRef={"name": "login"})
    await world.request("wrong host")
    obj = await world.until_handled("wrong host")
    assert "no entry for" in condition(obj, "Ready")["message"]

    await world.pull_secret("login", fake.host, "robot", "topsecret")
    await world.until_ready()
    await world.client.delete(kinds.SECRET, ObjectKey("apps", "login"))
    await world.secret("login", {"username": "robot", "password": "topsecret"})
    await world.chart("basic", version="1.0.0")
    obj = await world.until_ready("basic")
    assert "topsecret" not in str(obj)


@pytest.mark.shows("field:HelmRepository/spec.provider", "field:HelmRepository/spec.insecure")
async def test_what_a_repository_says_about_its_registry(
    world: World, fake: FakeRegistry, tmp_path: Path
) -> None:
    spec: dict[str, Any] = {"url": f"{fake.oci}/charts", "type": "oci", "interval": None}
    await world.helm_repository(**spec, provider="aws")
    await world.chart()
    obj = await world.until_failed("AuthenticationFailed")
    assert "provider 'aws'" in condition(obj, "Ready")["message"]
    # Without TLS only where it is asked for, once there is a certificate to check.
    await world.secret("ca", {"ca.crt": TestCA("any").pem})
    await world.helm_repository(**spec, certSecretRef={"name": "ca"})
    await world.request("no TLS")
    obj = await world.until_handled("no TLS")
    assert condition(obj, "Ready")["status"] == "False"

    await world.helm_repository(**spec, certSecretRef={"name": "ca"}, insecure=True)
    await world.request("insecure")
    await world.until_ready()


async def test_an_index_that_leads_to_a_registry(
    world: World, fake: FakeRegistry, tmp_path: Path
) -> None:
    """Nobody's credentials are shown there."""
    folder = tmp_path / "charts"
    folder.mkdir()
    publish(folder, APP, urls=[f"{fake.oci}/charts/app:1.0.0"])
    async with FileHost(folder) as host:
        host.basic = ("robot", "topsecret")
        await world.secret("login", {"username": "robot", "password": "topsecret"})
        await world.helm_repository("http", url=host.url, secretRef={"name": "login"})
        await world.chart(sourceRef={"kind": "HelmRepository", "name": "http"})
        await world.until_ready(revision="1.0.0")

    assert blobs(fake) == 1
    assert not any(item.authorization for item in fake.seen)


async def test_a_dependency_of_a_registry(world: World, fake: FakeRegistry) -> None:
    fake.put("libs/lib", "1.2.0", chart_image(packed(chart("lib", "1.2.0"))))
    dependency = {"name": "lib", "version": "~1.2", "repository": f"{fake.oci}/libs/"}
    files = {f"app/{k}": v for k, v in chart(dependencies=[dependency]).items()}
    await world.stored_source(files, kind="Bucket", revision=f"sha256:{'a' * 64}")
    await world.chart(sourceRef={"kind": "Bucket", "name": "source"})

    await world.until_ready()


# --- signatures -----------------------------------------------------------------------------------


def signature(image: Image, key: ec.EllipticCurvePrivateKey, *, digest: str = "") -> Image:
    """A signature as cosign 2 stores it."""
    said = {"docker-manifest-digest": digest or image.digest}
    payload = orjson.dumps(
        {
            "critical": {
                "identity": {"docker-reference": ""},
                "image": said,
                "type": "cosign container image signature",
            },
            "optional": None,
        }
    )
    signed = base64.b64encode(key.sign(payload, ec.ECDSA(hashes.SHA256()))).decode()
    return image_of(
        [(PAYLOAD, payload)], layer_annotations={"dev.cosignproject.cosign/signature": signed}
    )


def tag_of(image: Image) -> str:
    return f"{image.digest.replace(':', '-')}.sig"


def public(key: ec.EllipticCurvePrivateKey) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()


@pytest.mark.shows(
    "HelmChart/SourceVerified/VerificationError",
    "HelmChart/BuildFailed/ChartVerificationError",
    "HelmChart/Ready/VerificationError",
    "HelmChart/SourceVerified/Succeeded",
    "field:HelmChart/spec.verify.provider",
    "field:HelmChart/spec.verify.secretRef.name",
)
async def test_only_what_is_signed_is_pulled(world: World, fake: FakeRegistry) -> None:
    key, other = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    image = fake.manifests["charts/app", "1.0.0"]
    await world.chart(verify=COSIGN)
    await world.until_failed("VerificationError")  # no Secret
    await world.secret("keys", {"readme.txt": "no key"})
    await _refused(world, "no key")
    await world.secret("keys", {"a.pub": public(key)})
    await _refused(world, "no signature")
    fake.put("charts/app", tag_of(image), signature(image, other))
    await _refused(world, "by another key")
    wrong = f"sha256:{hashlib.sha256(b'other').hexdigest()}"
    fake.put("charts/app", tag_of(image), signature(image, key, digest=wrong))
    await _refused(world, "of another digest")
    assert blobs(fake) == sum("/blobs/" in path for path in fake.paths()), "signatures only"

    fake.put("charts/app", tag_of(image), signature(image, key))
    await world.request("signed")
    obj = await world.until_ready(revision="1.0.0")
    verified = condition(obj, "SourceVerified")
    assert (verified["status"], verified["reason"], verified["message"]) == (
        "True",
        "Succeeded",
        "verified signature of version 1.0.0",
    )

    # The signature is stripped; what is stored stays, and is not called verified any more.
    del fake.manifests["charts/app", tag_of(image)]
    obj = await _refused(world, "stripped", stored=True)
    assert obj["status"]["artifact"]["revision"] == "1.0.0"
    await world.chart(verify=None)
    obj = await world.until_ready()
    assert not condition(obj, "SourceVerified")


async def _refused(world: World, why: str, *, stored: bool = False) -> dict[str, Any]:
    await world.request(why)
    obj = await world.until_handled(why)
    ready = condition(obj, "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "VerificationError"), why
    assert condition(obj, "BuildFailed")["reason"] == "ChartVerificationError"
    assert condition(obj, "SourceVerified")["status"] == "False"
    assert ("artifact" in obj["status"]) is stored
    return obj


async def test_what_was_stored_unverified_is_fetched_again(
    world: World, fake: FakeRegistry
) -> None:
    """A tag that moved before signatures were asked for."""
    key = ec.generate_private_key(ec.SECP256R1())
    fake.put("charts/app", "1.0.0", chart_image(packed(chart(files={"evil": "1"}))))
    await world.chart(version="1.0.0")
    await world.until_ready()
    image = fake.put("charts/app", "1.0.0", chart_image(APP))
    fake.put("charts/app", tag_of(image), signature(image, key))
    await world.secret("keys", {"a.pub": public(key)})
    await world.chart(version="1.0.0", verify=COSIGN)
    obj = await world.until_ready()

    assert await world.package(obj) == APP


async def test_what_is_stored_is_what_was_verified(world: World, fake: FakeRegistry) -> None:
    """A key was stolen and replaced, and the tag moved to what the new one signed."""
    stolen, new = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    evil = fake.put("charts/app", "1.0.0", chart_image(packed(chart(files={"evil": "1"}))))
    fake.put("charts/app", tag_of(evil), signature(evil, stolen))
    await world.secret("keys", {"a.pub": public(stolen)})
    await world.chart(version="1.0.0", verify=COSIGN)
    await world.until_ready()
    image = fake.put("charts/app", "1.0.0", chart_image(APP))
    fake.put("charts/app", tag_of(image), signature(image, new))
    await world.secret("keys", {"a.pub": public(new)})
    await world.request("after the change of keys")
    obj = await world.until_handled("after the change of keys")

    assert condition(obj, "SourceVerified")["status"] == "True"
    assert await world.package(obj) == APP
    before = blobs(fake)
    await world.request("once more")
    await world.until_handled("once more")
    assert blobs(fake) - before <= 1, "the signature alone"


@pytest.mark.shows(
    "field:HelmChart/spec.verify.matchOIDCIdentity[].issuer",
    "field:HelmChart/spec.verify.matchOIDCIdentity[].subject",
)
async def test_who_signed_without_a_key(
    world: World, fake: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sigstore here is the tests' own, so its root takes the place of the public one."""
    own = OwnSigstore(datetime.now(UTC))
    image = fake.manifests["charts/app", "1.0.0"]
    bundle = orjson.dumps(own.sign(statement_of(image.digest)))
    fake.put("charts/app", "", image_of([(BUNDLE, bundle)], subject=image, artifact_type=BUNDLE))
    match = {"issuer": "^https://token.example$", "subject": "^https://ci.example/release$"}
    await world.chart(verify={"provider": "cosign", "matchOIDCIdentity": [match]})
    await world.until_failed("VerificationError")  # by the public root it is nobody's

    async def verify(registry: RepositoryClient, digest: Digest, who: Any, **_: object) -> None:
        root = own.trusted_root()
        await verify_without_key(registry, digest, who, trusted_root=root)

    monkeypatch.setattr(verifying, "verify_without_key", verify)
    for field in match:
        wrong = match | {field: "^nobody$"}
        await world.chart(verify={"provider": "cosign", "matchOIDCIdentity": [wrong]})
        await world.until_failed("VerificationError")
    await world.chart(verify={"provider": "cosign", "matchOIDCIdentity": [match]})
    await world.until_ready()


async def test_what_notation_signed(world: World, fake: FakeRegistry) -> None:
    """What was recorded is no chart: with the right root it is only that which is wrong."""
    root, images = load("ecdsa-p256", "notation.json")
    fake.referrers_api = False
    fake.put("charts/signed", "1.0.0", SIGNED)
    for tag, image in images:
        fake.put("charts/signed", tag, image)
    policy = {
        "name": "all",
        "registryScopes": ["*"],
        "signatureVerification": {"level": "strict"},
        "trustStores": ["ca:x"],
        "trustedIdentities": ["x509.subject: C=US, ST=WA, O=Example"],
    }
    document = orjson.dumps({"version": "1.0", "trustPolicies": [policy]}).decode()
    other, _ = load("rsa-2048", "notation.json")
    await world.secret("keys", {"trustpolicy.json": document, "root.crt": other})
    verify = COSIGN | {"provider": "notation"}
    await world.chart(chart="signed", verify=verify)
    await world.until_failed("VerificationError")
    await world.secret("keys", {"trustpolicy.json": document, "root.crt": root})
    obj = await world.until_failed("ChartPullError")

    assert "no layer with the media type" in condition(obj, "Ready")["message"]
