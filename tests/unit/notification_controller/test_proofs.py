"""How calls prove themselves: first everything that must fail, then the services' own examples."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from fluvial.api.codec import decode
from fluvial.api.notification import Receiver, ReceiverType
from notification_controller.proof.call import Call, Proof, Refused
from notification_controller.proof.types import PROOFS, Prover, prove

TOKEN = b"It's a Secret to Everybody"
BODY = b"Hello, World!"

# https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries#testing-the-webhook-payload-validation
GITHUB = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
# https://support.atlassian.com/bitbucket-cloud/docs/manage-webhooks/#Examples
BITBUCKET_BODY = b"Hello World!"
BITBUCKET = "sha256=a4771c39fbe90f317c7824e83ddef3caae9cb3d976c214ace1f2937e133263c9"
# https://docs.docker.com/docker-hub/repos/manage/webhooks/#example-webhook-payload
DOCKERHUB: dict[str, Any] = {
    "callback_url": "https://registry.hub.docker.com/u/svendowideit/testhook/hook/2141b5bi/",
    "push_data": {"pushed_at": 1417566161, "pusher": "trustedbuilder", "tag": "latest"},
    "repository": {
        "repo_name": "svendowideit/testhook",
        "repo_url": "https://registry.hub.docker.com/u/svendowideit/testhook/",
    },
}
# https://docs.quay.io/guides/notifications.html
QUAY: dict[str, Any] = {
    "name": "repository",
    "repository": "mynamespace/repository",
    "namespace": "mynamespace",
    "docker_url": "quay.io/mynamespace/repository",
    "homepage": "https://quay.io/repository/mynamespace/repository",
    "updated_tags": ["latest"],
}
# https://learn.microsoft.com/azure/container-registry/container-registry-webhook-reference
ACR: dict[str, Any] = {
    "id": "cb8c3971-9adc-488b-xxxx-43cbb4974ff5",
    "timestamp": "2017-11-17T16:52:01.343145347Z",
    "action": "push",
    "target": {"repository": "hello-world", "tag": "v1"},
}
# https://github.com/cdevents/spec/blob/v0.4.1/primer.md
CDEVENT: dict[str, Any] = {
    "context": {
        "version": "0.4.1",
        "id": "271069a8-fc18-44f1-b38f-9d70a1695819",
        "source": "/event/source/123",
        "type": "dev.cdevents.artifact.published.0.2.0",
        "timestamp": "2023-03-20T14:27:05.315384Z",
    },
    "subject": {
        "id": "pkg:golang/mygit.com/myorg/myapp@234fd47e07d1004f0aed9c",
        "source": "/event/source/123",
        "type": "artifact",
        "content": {},
    },
}


class _Unused:
    """Stands where no proof of the type may ask."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(name)


def _prover(type_: str, secret: Mapping[str, bytes] | None = None) -> Prover:
    receiver = decode(
        {
            "metadata": {"name": "hook", "namespace": "team"},
            "spec": {"type": type_, "resources": [], "secretRef": {"name": "token"}},
        },
        Receiver,
    )
    unused: Any = _Unused()
    return Prover(receiver, {"token": TOKEN} if secret is None else secret, unused, unused)


async def _prove(
    type_: str,
    headers: Mapping[str, str] | list[tuple[str, str]],
    body: bytes = BODY,
    secret: Mapping[str, bytes] | None = None,
) -> Proof:
    return await prove(Call(CIMultiDict(headers), body), _prover(type_, secret))


def _sign(hash_name: str, body: bytes = BODY, token: bytes = TOKEN) -> str:
    return hmac.new(token, body, hash_name).hexdigest()


SIGNED = {
    "generic-hmac": ("X-Signature", "sha256=" + _sign("sha256")),
    "github": ("X-Hub-Signature-256", GITHUB),
    "gitlab": ("X-Gitlab-Token", TOKEN.decode()),
    "bitbucket": ("X-Hub-Signature", "sha256=" + _sign("sha256")),
    "harbor": ("Authorization", TOKEN.decode()),
    "nexus": ("X-Nexus-Webhook-Signature", _sign("sha1")),
}


@pytest.mark.parametrize("type_", SIGNED)
async def test_a_call_without_its_signature_is_refused(type_: str) -> None:
    with pytest.raises(Refused, match="missing"):
        await _prove(type_, {})
    header, _ = SIGNED[type_]
    with pytest.raises(Refused, match="missing"):
        await _prove(type_, {header: ""})


@pytest.mark.parametrize("type_", SIGNED)
async def test_a_signature_that_is_cut_or_changed_is_refused(type_: str) -> None:
    header, value = SIGNED[type_]
    last = "0" if value[-1] != "0" else "1"
    for wrong in (value[:-1], value[:-1] + last, value + "0", "x" + value[1:], value[::-1]):
        with pytest.raises(Refused):
            await _prove(type_, {header: wrong})


@pytest.mark.parametrize("type_", sorted(SIGNED.keys() - {"gitlab", "harbor"}))
async def test_a_signature_of_another_body_or_token_is_refused(type_: str) -> None:
    header, value = SIGNED[type_]
    with pytest.raises(Refused, match="not that of this body and token"):
        await _prove(type_, {header: value}, body=BODY + b"\n")
    with pytest.raises(Refused, match="not that of this body and token"):
        await _prove(type_, {header: value}, secret={"token": TOKEN + b"\n"})


@pytest.mark.parametrize("type_", SIGNED)
@pytest.mark.parametrize("secret", [{}, {"token": b""}], ids=["none", "empty"])
async def test_an_empty_token_proves_nothing(type_: str, secret: Mapping[str, bytes]) -> None:
    header, value = SIGNED[type_]
    digest = value.partition("=")[2] or value
    empty = value.replace(digest, _sign("sha1" if type_ == "nexus" else "sha256", token=b""))
    for sent in (value, empty):
        with pytest.raises(Refused, match="no token"):
            await _prove(type_, {header: sent}, secret=secret)


@pytest.mark.parametrize("type_", SIGNED)
async def test_a_header_that_is_there_twice_is_refused(type_: str) -> None:
    header, value = SIGNED[type_]
    with pytest.raises(Refused, match="more than once"):
        await _prove(type_, [(header, value), (header, "x")])


async def test_a_signature_in_another_coding_is_refused() -> None:
    digest = hmac.new(TOKEN, BODY, hashlib.sha256).digest()
    for value in (base64.b64encode(digest).decode(), digest.hex() + " ", f"0x{digest.hex()}"):
        if value.strip() != value:
            continue  # blanks around a header's value are no part of it
        with pytest.raises(Refused):
            await _prove("generic-hmac", {"X-Signature": "sha256=" + value})


@pytest.mark.parametrize("name", ["md5", "sha", "SHA256", "sha224", "", "__doc__"])
async def test_a_hash_that_is_not_taken_is_refused(name: str) -> None:
    with pytest.raises(Refused, match="must be"):
        await _prove("generic-hmac", {"X-Signature": f"{name}={_sign('sha256')}"})


async def test_the_weaker_header_of_github_does_not_stand_in_for_a_wrong_stronger_one() -> None:
    headers = {"X-Hub-Signature-256": "sha256=00", "X-Hub-Signature": "sha1=" + _sign("sha1")}
    with pytest.raises(Refused):
        await _prove("github", headers)


@pytest.mark.parametrize(
    ("type_", "body"),
    [
        ("dockerhub", {**DOCKERHUB, "push_data": {}}),
        ("dockerhub", {**DOCKERHUB, "repository": None}),
        ("quay", {**QUAY, "docker_url": ""}),
        ("quay", {**QUAY, "updated_tags": [1]}),
        ("acr", {**ACR, "action": None}),
        ("acr", {**ACR, "target": "x"}),
        ("cdevents", {"context": CDEVENT["context"]}),
        (
            "cdevents",
            {**CDEVENT, "context": {**CDEVENT["context"], "type": "dev.cdevents.x.y.1.0.0"}},
        ),
        ("cdevents", {**CDEVENT, "context": {**CDEVENT["context"], "timestamp": 3}}),
        ("cdevents", {**CDEVENT, "subject": {**CDEVENT["subject"], "type": "build"}}),
    ],
)
async def test_a_body_of_another_shape_is_refused(type_: str, body: Any) -> None:
    with pytest.raises(Refused):
        await _prove(type_, {}, json.dumps(body).encode())


@pytest.mark.parametrize("type_", ["dockerhub", "quay", "acr", "cdevents"])
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'"x"', b"{}", b"\xff"])
async def test_a_body_that_is_no_event_is_refused(type_: str, body: bytes) -> None:
    with pytest.raises(Refused):
        await _prove(type_, {}, body)


@given(
    headers=st.dictionaries(
        st.sampled_from(sorted({header for header, _ in SIGNED.values()} | {"X-GitHub-Event"})),
        st.text(max_size=80),
    ),
    body=st.binary(max_size=200),
    type_=st.sampled_from(sorted(PROOFS.keys() - {"generic", "generic-oidc", "gcr"})),
)
async def test_noise_is_refused_and_nothing_else_happens(
    headers: dict[str, str], body: bytes, type_: str
) -> None:
    with pytest.raises(Refused):
        await _prove(type_, headers, body)


@pytest.mark.parametrize("token", [b"a.b.c\x80", b"\xff", "é.é.é".encode(), b"a.b.c\xc2\xa0x"])
async def test_a_bearer_token_of_strange_bytes_is_refused(token: bytes) -> None:
    sent = "Bearer " + token.decode("utf-8", "surrogateescape")
    with pytest.raises(Refused, match="characters that no token has"):
        await _prove("generic-oidc", {"Authorization": sent})


async def test_what_was_wrong_is_said_without_what_would_have_been_right() -> None:
    for type_, (header, value) in SIGNED.items():
        with pytest.raises(Refused) as caught:
            await _prove(type_, {header: "sha256=" + "0" * 64})
        assert TOKEN.decode() not in str(caught.value)
        assert value not in str(caught.value)


# --- then what must pass ------------------------------------------------------------------------------


async def test_the_published_example_of_github() -> None:
    headers = {
        "X-Hub-Signature-256": GITHUB,
        "X-GitHub-Event": "issues",
        "X-GitHub-Delivery": "72d3162e-cc78-11e3-81ab-4c9367dc0958",
    }

    proof = await _prove("github", headers)

    assert proof == Proof(event="issues", delivery="72d3162e-cc78-11e3-81ab-4c9367dc0958")


async def test_the_published_example_of_bitbucket() -> None:
    headers = {"X-Hub-Signature": BITBUCKET, "X-Event-Key": "repo:push", "X-Request-UUID": "u"}

    assert await _prove("bitbucket", headers, BITBUCKET_BODY) == Proof("repo:push", "u")


async def test_sha1_of_older_senders() -> None:
    headers = {"X-Hub-Signature": "sha1=" + _sign("sha1"), "X-GitHub-Event": "push"}

    assert (await _prove("github", headers)).event == "push"


@pytest.mark.parametrize("type_", SIGNED)
async def test_a_good_signature_is_taken(type_: str) -> None:
    header, value = SIGNED[type_]

    assert (await _prove(type_, {header.upper(): value})).claims is None


@pytest.mark.parametrize(
    ("type_", "body"),
    [("dockerhub", DOCKERHUB), ("quay", QUAY), ("acr", ACR), ("cdevents", CDEVENT)],
)
async def test_published_bodies_are_taken(type_: str, body: Any) -> None:
    assert (await _prove(type_, {}, json.dumps(body).encode())).delivery == ""


async def test_quay_of_older_versions_sends_tags_with_their_images() -> None:
    body = {**QUAY, "updated_tags": {"latest": "b750fe79269d2ec9a3c593ef05b4332b1d1a02a6"}}

    assert await _prove("quay", {}, json.dumps(body).encode()) == Proof()


async def test_gitlab_names_event_and_delivery() -> None:
    headers = {
        "X-Gitlab-Token": TOKEN.decode(),
        "X-Gitlab-Event": "Push Hook",
        "Idempotency-Key": "f5e5f430-f57b-4e6e-9fac-d9128cd7232f",
    }

    proof = await _prove("gitlab", headers)

    assert proof == Proof("Push Hook", "f5e5f430-f57b-4e6e-9fac-d9128cd7232f")


def test_every_type_of_the_api_has_a_proof() -> None:
    assert set(PROOFS) == set(get_args(ReceiverType))
