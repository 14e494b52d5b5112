"""Calls and events that nobody would think of, over sockets: nothing breaks, nothing is woken.

``make fuzz`` runs 100,000 cases of each kind (``FLUVIAL_FUZZ``); ``make test`` some, always the same.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.hooks import ISSUER, TYPES, Hooks, Request, hooks, type_of

pytestmark = pytest.mark.slow

CASES = int(os.environ.get("FLUVIAL_FUZZ", "0"))
fuzzed = settings(
    max_examples=CASES or 150,
    derandomize=not CASES,  # what is found by chance is found by ``make fuzz``
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)

SIGNATURES = {
    "generic-hmac": ("X-Signature", ("sha1", "sha256", "sha512")),
    "github": ("X-Hub-Signature-256", ("sha256",)),
    "bitbucket": ("X-Hub-Signature", ("sha1", "sha256", "sha512")),
    "nexus": ("X-Nexus-Webhook-Signature", ("",)),
}
TOKENS = {"gitlab": "X-Gitlab-Token", "harbor": "Authorization"}
BEARERS = ("generic-oidc", "gcr")
BODIES: dict[str, Any] = {
    "dockerhub": {"push_data": {"tag": "latest"}, "repository": {"repo_url": "https://x"}},
    "quay": {"docker_url": "quay.io/a/b", "updated_tags": ["latest"]},
    "acr": {"action": "push", "target": {"repository": "x"}},
    "cdevents": {
        "context": {
            "version": "0.4.1",
            "id": "1",
            "source": "/x",
            "type": "dev.cdevents.artifact.published.0.2.0",
            "timestamp": "2023-03-20T14:27:05Z",
        },
        "subject": {"id": "pkg:x", "type": "artifact", "content": {}},
    },
    "gcr": {"message": {"data": base64.b64encode(b'{"action":"INSERT"}').decode()}},
    "github": {"ref": "refs/heads/main"},
}
EVENT: dict[str, Any] = {
    "involvedObject": {
        "apiVersion": "a/v1",
        "kind": "Kustomization",
        "name": "n",
        "namespace": "t",
    },
    "severity": "info",
    "timestamp": "2026-11-23T10:00:00Z",
    "message": "m",
    "reason": "r",
    "metadata": {"a/revision": "x"},
    "reportingController": "c",
    "reportingInstance": "i",
}
NAMES = sorted(
    {
        *(header for header, _ in SIGNATURES.values()),
        *TOKENS.values(),
        *("Content-Type", "X-Hub-Signature", "X-GitHub-Event", "X-GitHub-Delivery", "Ce-Type"),
        *("X-Gitlab-Event", "X-Event-Key", "X-Forwarded-For", "X-Request-Id", "Ce-Id", "Expect"),
        *(
            "Content-Encoding",
            "Upgrade",
            "Connection",
            "Idempotency-Key",
            "X-Nexus-Webhook-Delivery",
            "Accept",
        ),
    }
)


class World:
    """The servers in a loop of their own, and the loop."""

    def __init__(self, runner: asyncio.Runner, served: Hooks) -> None:
        self.runner = runner
        self.served = served

    def run(self, work: Any) -> Any:
        return self.runner.run(work)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with asyncio.Runner() as runner:
        opened = hooks()
        served = runner.run(opened.__aenter__())
        yield World(runner, served)
        runner.run(opened.__aexit__(None, None, None))


def sign(token: bytes, body: bytes, name: str) -> str:
    """A signature as its sender writes it; without a name in Nexus's way."""
    digest = hmac.new(token, body, name or "sha1").hexdigest()
    return f"{name}={digest}" if name else digest


def proof_of(served: Hooks, name: str, body: bytes) -> list[tuple[bytes, bytes]]:
    """Headers of a call that is right for a Receiver."""
    type_ = type_of(name)
    if type_ in SIGNATURES:
        header, hashes = SIGNATURES[type_]
        return [(header.encode(), sign(served.tokens[name], body, hashes[-1]).encode())]
    if type_ in TOKENS:
        return [(TOKENS[type_].encode(), served.tokens[name])]
    if type_ in BEARERS:
        return [(b"Authorization", b"Bearer " + served.good[type_].encode())]
    return []


# --- what is sent -------------------------------------------------------------------------------------

nested = st.sampled_from([b"[" * 3000, b'{"a":' * 3000, b"[" * 400 + b"]" * 400])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


@st.composite
def documents(draw: st.DrawFn, models: Any) -> bytes:
    """A document that a service sends, with something of it changed, as bytes that may be cut."""
    document = json.loads(json.dumps(draw(models)))
    for _ in range(draw(st.integers(0, 2))):
        spot = document
        while isinstance(spot, dict) and spot and draw(st.booleans()):
            name = draw(st.sampled_from(sorted(spot)))
            if not isinstance(spot[name], dict):
                break
            spot = spot[name]
        if isinstance(spot, dict):
            name = draw(st.sampled_from(sorted(spot)) if spot else st.text(max_size=5))
            if draw(st.booleans()):
                spot[name] = draw(values)
            else:
                spot.pop(name, None)
    encoding = draw(st.sampled_from(["utf-8", "utf-8", "utf-8", "utf-16", "utf-8-sig"]))
    body = json.dumps(document).encode(encoding, "surrogatepass")
    return body[: draw(st.integers(0, len(body)))] if draw(st.integers(0, 9)) == 0 else body


@st.composite
def distorted(draw: st.DrawFn, right: bytes) -> bytes:
    """What proves a call, in another form."""
    value = right.removeprefix(b"Bearer ")
    prefix, equals, digest = value.rpartition(b"=")
    at = draw(st.integers(0, max(len(right) - 1, 0)))
    other = bytes([(right[at] + 1) % 94 + 33]) if right else b"!"
    plain = bytes.fromhex(digest.decode()) if _is_hex(digest) else digest
    return draw(
        st.one_of(
            st.sampled_from(
                [
                    right,
                    right,
                    b"",
                    value[:at],
                    right.upper(),
                    base64.b64encode(value),
                    prefix + equals + base64.b64encode(plain),
                    b"".join(bytes([byte, 0xCC, 0x80]) for byte in right[:40]),
                    right[:at] + other + right[at + 1 :],
                    b"%s, %s" % (right, right),
                ]
            ),
            st.sampled_from([b"md5", b"sha", b"SHA256", b"sha224", b"", b"none"]).map(
                lambda name: name + b"=" + digest
            ),
            st.sampled_from([b" ", b"\t", b"\xa0", b"\xc2\xa0", b"\x85", b"="]).map(
                lambda end: right + end
            ),
            st.binary(max_size=60).map(lambda noise: noise.translate(None, b"\r\n\0")),
            (nested | documents(st.just({"iss": ISSUER}))).map(
                lambda payload: b"Bearer " + _unsigned(payload)
            ),
        )
    )


def whole(body: bytes) -> bytes:
    """A body as one chunk."""
    return b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"


def chunked(body: bytes) -> st.SearchStrategy[bytes]:
    """A body as chunks that may be malformed."""
    right = whole(body)
    return st.one_of(
        st.just(right),
        st.integers(0, len(right) - 1).map(lambda at: right[:at]),
        st.sampled_from(
            [
                b"x" + right,
                b"-1\r\n" + right,
                b"ffffffffffffffff\r\n" + body,
                right.replace(b"\r\n", b"\n"),
                b"%x;%s\r\n%s" % (len(body), b"e" * 9000, body),
            ]
        ),
    )


@st.composite
def calls(draw: st.DrawFn, world: World) -> tuple[str, Request]:
    """A call of a Receiver, right or wrong in some way."""
    served = world.served
    name = draw(st.sampled_from(sorted(served.paths)))
    model = BODIES.get(type_of(name), BODIES["github"])
    body = draw(documents(st.just(model)) | documents(st.just(model)) | nested | st.binary())
    # Right for this Receiver, for another one, for another body, or as with an empty token.
    whose = draw(st.sampled_from([name, name, *sorted(served.paths)]))
    about = draw(st.sampled_from([body, body, body + b" ", b""]))
    headers: list[tuple[bytes, bytes]] = proof_of(served, whose, about)
    if headers and not draw(st.integers(0, 1)):
        headers = [(header, draw(distorted(value))) for header, value in headers]
    if headers and draw(st.integers(0, 5)) == 0:
        headers = headers * draw(st.sampled_from([0, 2]))
    values_of = st.binary(max_size=30) | st.sampled_from([b"gzip", b"br", b"100-continue", b"h2c"])
    noise = draw(st.lists(st.tuples(st.sampled_from(NAMES), values_of), max_size=3))
    headers += [(n.encode(), value.translate(None, b"\r\n\0")) for n, value in noise]
    if draw(st.booleans()):
        headers = [(header.swapcase(), value) for header, value in headers]
    path = served.paths[draw(st.sampled_from([name] * 9 + sorted(served.paths)))]
    path += draw(st.sampled_from([""] * 9 + ["?", "/", "%00", "#x"]))
    method = draw(st.sampled_from(["POST"] * 9 + ["GET", "PUT", "HEAD", "PATCH", "X"]))
    how = draw(st.integers(0, 30))
    chunks = draw(chunked(body)) if how in {1, 2, 3} else None
    cut = how == 0 or (chunks is not None and chunks != whole(body))
    return name, Request(path, headers, body, method, cut, chunks)


def _is_hex(text: bytes) -> bool:
    try:
        bytes.fromhex(text.decode())
    except ValueError:
        return False
    return True


def _unsigned(payload: bytes) -> bytes:
    parts = (b'{"alg":"RS256","kid":"one"}', payload, b"signature")
    return b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)


# --- who may wake -------------------------------------------------------------------------------------


def may_wake(world: World, name: str, request: Request) -> bool:
    """Whether a call proves itself to a Receiver, by this module's own reading of each type."""
    type_, token = type_of(name), world.served.tokens[name]
    if request.cut or name.endswith("-never") or request.path != world.served.paths[name]:
        return False
    if type_ == "generic":
        return True
    if type_ in SIGNATURES or type_ in TOKENS:
        return bool(token) and _is_proved(type_, token, request)
    if type_ in BEARERS:
        sent = _header(request, "Authorization")
        good = world.served.good[type_]
        return sent is not None and _signed_by(sent.split()[-1:]) == _signed_by([good])
    try:
        document = json.loads(request.body)
    except (ValueError, RecursionError):
        return False
    needed = {
        "dockerhub": "push_data",
        "quay": "docker_url",
        "acr": "action",
        "cdevents": "context",
    }
    return isinstance(document, dict) and bool(document.get(needed[type_]))


def _is_proved(type_: str, token: bytes, request: Request) -> bool:
    if type_ in TOKENS:
        return _header(request, TOKENS[type_]) == token.decode()
    header, hashes = SIGNATURES[type_]
    sent = _header(request, header)
    if type_ == "github" and not sent:  # older versions of it
        sent, hashes = _header(request, "X-Hub-Signature"), ("sha1", "sha256", "sha512")
    if not sent:
        return False
    name, _, digest = sent.rpartition("=")
    rights = {sign(token, request.body, one) for one in hashes}
    return f"{name}={digest.lower()}" in rights or (not name and digest.lower() in rights)


def _signed_by(tokens: list[str]) -> tuple[str, bytes]:
    """What is signed, and the signature: the last of its characters has bits that say nothing."""
    signed, _, signature = "".join(tokens).rpartition(".")
    try:
        return signed, base64.urlsafe_b64decode(signature.encode("utf-8", "replace") + b"===")
    except ValueError:
        return signed, b""


def _header(request: Request, name: str) -> str | None:
    """A header that is there once."""
    sent = [value for known, value in request.headers if known.decode().lower() == name.lower()]
    return sent[0].decode("utf-8", "surrogateescape").strip() if len(sent) == 1 else None


# --- the cases ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("type_", TYPES)
def test_a_call_that_is_right_wakes(world: World, type_: str) -> None:
    """So that what follows is refused for what is wrong with it, and for nothing else."""
    body = json.dumps(BODIES.get(type_, BODIES["github"])).encode()
    headers = proof_of(world.served, type_, body)
    request = Request(world.served.paths[type_], headers, body)
    answer = world.run(world.served.call(request))

    assert (answer.status, answer.woken) == (200, (type_,))
    assert type_ in BEARERS or may_wake(world, type_, request)


@fuzzed
@given(data=st.data())
def test_nothing_wakes_that_does_not_prove_itself(world: World, data: st.DataObject) -> None:
    _, request = data.draw(calls(world))
    world.served.errors.clear()
    answer = world.run(world.served.call(request))

    assert answer.status != 500
    assert world.served.errors == []
    assert answer.body == b"" or answer.status == 400, "every answer of ours is empty"
    assert all(may_wake(world, name, request) for name in answer.woken)
    # Who closes his half of the connection at once gets no answer.
    assert answer.status in {0, 200} or not answer.woken


@fuzzed
@given(
    st.sampled_from(TYPES),
    st.sampled_from([True, False]),
    st.lists(st.binary(max_size=60), max_size=6),
    st.sampled_from([0, 1]),
)
def test_bytes_that_are_no_request_break_nothing(
    world: World, type_: str, begins_well: object, lines: list[bytes], server: int
) -> None:
    path = world.served.paths["github" if type_ in BODIES or type_ == "generic" else type_]
    start = [f"POST {path} HTTP/1.1".encode(), b"Host: x"] if begins_well else []
    world.served.errors.clear()
    answer = world.run(world.served.raw(b"\r\n".join([*start, *lines]), server=server))

    assert answer.status in {0, 400, 404, 413, 417, 429, 505} or 200 <= answer.status < 500
    assert answer.woken == ()
    assert world.served.errors == []


@fuzzed
@given(documents(st.just(EVENT)) | st.binary(max_size=300) | nested | values.map(json.dumps))
def test_bodies_of_events_break_nothing(world: World, body: bytes | str) -> None:
    raw = body if isinstance(body, bytes) else body.encode("utf-8", "surrogatepass")
    world.served.taken.clear()
    world.served.errors.clear()
    answer = world.run(world.served.post(raw))

    assert answer.status in {202, 400, 429}
    assert world.served.errors == []
    assert len(world.served.taken) == (answer.status == 202)
    for event in world.served.taken:
        assert event.involved_object.kind
        assert event.involved_object.name
        assert all(name.startswith(("a/", "event.toolkit", "/")) for name in event.metadata)


def test_who_waits_to_be_asked_for_the_body_is_asked(world: World) -> None:
    world.served.asked = 0
    request = Request(world.served.paths["generic"], [(b"Expect", b"100-Continue")], b"{}")
    answer = world.run(world.served.call(request))

    assert (answer.status, answer.woken, world.served.asked) == (200, ("generic",), 1)
    other = Request(world.served.paths["generic"], [(b"Expect", b"\xff")], b"{}")
    assert world.run(world.served.call(other)).status == 417


def test_hashes_of_these_tests_are_those_of_the_library() -> None:
    assert sign(b"k", b"b", "sha256") == (
        "sha256=" + hmac.new(b"k", b"b", hashlib.sha256).hexdigest()
    )
