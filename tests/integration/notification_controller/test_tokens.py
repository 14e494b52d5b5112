"""Callers with tokens of OpenID Connect, against issuers on this machine."""

from __future__ import annotations

import base64
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import jwt
import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from clouds.fake import FakeCloud, json_reply
from harness.receivers import ReceiverWorld

HOST = "issuer.example.com"
ISSUER = f"https://{HOST}"
AUDIENCE = "notification-controller"
_GOOGLE_KEYS = ("www.googleapis.com", "/oauth2/v3/certs")
_ADMITS = {"expression": "claims.sub == 'repo:team/app'", "message": "only team/app may call"}


class Issuer:
    """Signs tokens, and serves its keys over TLS."""

    def __init__(self, cloud: FakeCloud) -> None:
        self.cloud = cloud
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.serve("one")

    def serve(self, key_id: str) -> None:
        """Publish the key under a name."""
        document = orjson.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key()))
        keys = json_reply({"keys": [{**document, "kid": key_id, "alg": "RS256", "use": "sig"}]})
        self.cloud.on(HOST, "/keys", keys)
        self.cloud.on(*_GOOGLE_KEYS, keys)
        configuration = {"issuer": ISSUER, "jwks_uri": f"{ISSUER}/keys"}
        self.cloud.on(HOST, "/.well-known/openid-configuration", json_reply(configuration))

    def token(
        self, *, key_id: str = "one", key: Any = None, alg: str = "RS256", **claims: Any
    ) -> str:
        """A token that is good but for what is said."""
        now = int(time.time())
        all_claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": "repo:team/app",
            "iat": now,
            "exp": now + 300,
        } | claims
        kept = {name: value for name, value in all_claims.items() if value is not None}
        return jwt.encode(kept, key or self.key, algorithm=alg, headers={"kid": key_id})


@pytest.fixture
async def issuer(tmp_path: Path) -> AsyncIterator[Issuer]:
    async with await FakeCloud(HOST, _GOOGLE_KEYS[0]).start(tmp_path) as cloud:
        yield Issuer(cloud)


@pytest.fixture
async def world(tmp_path: Path, issuer: Issuer) -> AsyncIterator[ReceiverWorld]:
    async with ReceiverWorld.start(tmp_path, http=issuer.cloud.http()) as world:
        await world.git("app")
        yield world


async def _oidc(world: ReceiverWorld, *validations: Mapping[str, str], **provider: Any) -> str:
    fields = {"issuerURL": ISSUER, "validations": list(validations or (_ADMITS,))} | provider
    return await world.receiver(type="generic-oidc", secretRef=None, oidcProviders=[fields])


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.slow
async def test_tokens_that_prove_nothing_wake_nothing(world: ReceiverWorld, issuer: Issuer) -> None:
    url = await _oidc(world)
    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    unsigned = jwt.encode({"iss": ISSUER, "aud": AUDIENCE, "exp": 2**33}, key="", algorithm="none")
    good = issuer.token()
    head, body, signature = good.split(".")
    public = issuer.key.public_key().public_numbers()
    wrong = {
        "no token": "",
        "no JSON Web Token": "abc",
        "cut": good[:-1],
        "stripped": f"{head}.{body}.",
        "of other claims": f"{head}.{issuer.token(sub='repo:x/y').split('.')[1]}.{signature}",
        "unsigned": unsigned,
        "signed by a shared secret": jwt.encode(
            {"iss": ISSUER, "aud": AUDIENCE, "exp": 2**33}, str(public.n), algorithm="HS256"
        ),
        "of a stranger's key": issuer.token(key=stranger),
        "of an unknown key": issuer.token(key_id="two"),
        "of another kind of key": issuer.token(
            key=ec.generate_private_key(ec.SECP256R1()), alg="ES256"
        ),
        "of another issuer": issuer.token(iss="https://evil.example.com"),
        "of no issuer": issuer.token(iss=None),
        "for another audience": issuer.token(aud="other"),
        "for no audience": issuer.token(aud=None),
        "expired": issuer.token(exp=int(time.time()) - 60),
        "for ever": issuer.token(exp=None),
        "not yet valid": issuer.token(nbf=int(time.time()) + 600),
        "of another subject": issuer.token(sub="repo:team/other"),
        "without the claim": issuer.token(sub=None),
    }

    answers = {name: await world.call(url, **_bearer(token)) for name, token in wrong.items()}
    answers["nothing"] = await world.call(url)

    assert {name: status for name, status in answers.items() if status != 400} == {}
    assert await world.woken() == ""


@pytest.mark.slow
@pytest.mark.shows(
    "field:Receiver/spec.oidcProviders[].issuerURL",
    "field:Receiver/spec.oidcProviders[].validations[].expression",
)
async def test_a_good_token_wakes(world: ReceiverWorld, issuer: Issuer) -> None:
    url = await _oidc(world)

    assert await world.call(url, **_bearer(issuer.token())) == 200
    assert await world.woken()


@pytest.mark.slow
@pytest.mark.shows(
    "field:Receiver/spec.oidcProviders[].audience",
    "field:Receiver/spec.oidcProviders[].variables[].expression",
    "field:Receiver/spec.oidcProviders[].variables[].name",
    "field:Receiver/spec.oidcProviders[].validations[].message",
)
async def test_variables_build_on_each_other(
    world: ReceiverWorld, issuer: Issuer, capsys: pytest.CaptureFixture[str]
) -> None:
    url = await _oidc(
        world,
        {"expression": "vars.team == 'team'", "message": "the team may call"},
        {"expression": "vars.parts.size() == 2", "message": "only repositories call"},
        audience="ours",
        variables=[
            {"name": "parts", "expression": "claims.sub.split(':')"},
            {"name": "team", "expression": "vars.parts[1].split('/')[0]"},
        ],
    )

    assert await world.call(url, **_bearer(issuer.token())) == 400
    other = issuer.token(aud="ours", sub="repo:others/app")
    assert await world.call(url, **_bearer(other)) == 400
    assert "the team may call" in capsys.readouterr().out
    assert await world.woken() == ""
    assert await world.call(url, **_bearer(issuer.token(aud="ours"))) == 200
    assert await world.woken()


@pytest.mark.slow
async def test_filters_see_the_claims(world: ReceiverWorld, issuer: Issuer) -> None:
    provider = {"issuerURL": ISSUER, "validations": [{"expression": "true", "message": "-"}]}
    url = await world.receiver(
        type="generic-oidc",
        secretRef=None,
        oidcProviders=[provider],
        resourceFilter="claims.sub.endsWith('/' + res.metadata.name)",
    )

    assert await world.call(url, **_bearer(issuer.token(sub="repo:team/other"))) == 200
    assert await world.woken() == ""
    assert await world.call(url, **_bearer(issuer.token())) == 200
    assert await world.woken()


@pytest.mark.slow
async def test_callers_do_not_make_requests_to_the_issuer(
    world: ReceiverWorld, issuer: Issuer
) -> None:
    """Keys are fetched once, and again only now and then for a name that is not known."""
    url = await _oidc(world)
    for _ in range(5):
        assert await world.call(url, **_bearer(issuer.token())) == 200
        assert await world.call(url, **_bearer(issuer.token(key_id="forged"))) == 400

    assert [asked.path for asked in issuer.cloud.asked] == [
        "/.well-known/openid-configuration",
        "/keys",
    ]


@pytest.mark.slow
async def test_an_issuer_whose_configuration_is_another_s_is_refused(
    world: ReceiverWorld, issuer: Issuer
) -> None:
    configuration = {"issuer": "https://other.example.com", "jwks_uri": f"{ISSUER}/keys"}
    issuer.cloud.on(HOST, "/.well-known/openid-configuration", json_reply(configuration))
    url = await _oidc(world)

    assert await world.call(url, **_bearer(issuer.token())) == 400
    assert await world.woken() == ""


# --- Google's registry --------------------------------------------------------------------------------

_EMAIL = "pusher@project.iam.gserviceaccount.com"
_ADDRESS = "https://flux.example.com/hook"


def _envelope(**event: str) -> dict[str, Any]:
    """https://cloud.google.com/artifact-registry/docs/configure-notifications#examples"""
    inner = {
        "action": "INSERT",
        "digest": "us-east1-docker.pkg.dev/my-project/my-repo/hello-world@sha256:6ec128e26cd5",
        "tag": "us-east1-docker.pkg.dev/my-project/my-repo/hello-world:1.1",
    } | event
    data = base64.b64encode(orjson.dumps(inner)).decode()
    return {"message": {"data": data, "messageId": "136969346945"}, "subscription": "mysub"}


def _google(issuer: Issuer, **claims: Any) -> str:
    """https://cloud.google.com/pubsub/docs/authenticate-push-subscriptions#jwt-format"""
    usual: dict[str, Any] = {
        "iss": "https://accounts.google.com",
        "aud": _ADDRESS,
        "email": _EMAIL,
        "email_verified": True,
    }
    return issuer.token(**usual | claims)


async def test_only_the_named_account_of_google_may_call(
    world: ReceiverWorld, issuer: Issuer
) -> None:
    await world.secret(email=_EMAIL, audience=_ADDRESS)
    url = await world.receiver(type="gcr")
    wrong: dict[str, dict[str, Any]] = {
        "another account": {"email": "evil@other.iam.gserviceaccount.com"},
        "an account that is not verified": {"email_verified": False},
        "no account": {"email": None},
        "another audience": {"aud": "https://other.example.com"},
        "another issuer": {"iss": ISSUER},
        "expired": {"exp": int(time.time()) - 60},
    }
    answers = {
        name: await world.call(url, _envelope(), **_bearer(_google(issuer, **claims)))
        for name, claims in wrong.items()
    }
    answers["no token"] = await world.call(url, _envelope())
    answers["no message"] = await world.call(url, {}, **_bearer(_google(issuer)))

    assert {name: status for name, status in answers.items() if status != 400} == {}
    assert await world.woken() == ""


@pytest.mark.parametrize("missing", ["email", "audience"])
async def test_a_secret_without_account_or_audience_lets_nobody_call(
    world: ReceiverWorld, issuer: Issuer, missing: str
) -> None:
    given = {"email": _EMAIL, "audience": _ADDRESS}
    del given[missing]
    await world.secret(**given)
    url = await world.receiver(type="gcr")

    assert await world.call(url, _envelope(), **_bearer(_google(issuer))) == 400
    assert await world.woken() == ""


@pytest.mark.slow
async def test_a_message_of_googles_registry_wakes(world: ReceiverWorld, issuer: Issuer) -> None:
    await world.secret(email=_EMAIL, audience=_ADDRESS)
    url = await world.receiver(type="gcr", resourceFilter="req.tag.endsWith('/hello-world:1.1')")

    other = _envelope(tag="us-east1-docker.pkg.dev/my-project/my-repo/other:1.1")
    assert await world.call(url, other, **_bearer(_google(issuer))) == 200
    assert await world.woken() == ""
    message = {**_envelope(), "message": {**_envelope()["message"], "messageId": "2"}}
    assert await world.call(url, message, **_bearer(_google(issuer))) == 200
    assert await world.woken()
