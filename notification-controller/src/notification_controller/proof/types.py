"""How a call of each type of Receiver is proved."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from fluvial.api.notification import Receiver
from fluvial.cel.evaluator import CelEvaluator, ExpressionFailed, Program
from notification_controller.proof.bodies import (
    check_acr,
    check_cdevent,
    check_dockerhub,
    check_quay,
)
from notification_controller.proof.call import Call, Proof, Refused
from notification_controller.proof.oidc import (
    GOOGLE,
    Issuer,
    Issuers,
    audiences_of,
    unverified_issuer,
)
from notification_controller.proof.signatures import bearer_of, same_token, signed, signed_hex

__all__ = ["PROOFS", "Prover", "prove"]

_SHA2 = ("sha256", "sha512")
_ANY_SHA = ("sha1", *_SHA2)


@dataclass(frozen=True, slots=True)
class Prover:
    """What a proof is made with.

    Attributes:
        receiver: that is called.
        secret: values of its Secret; empty for ``generic-oidc``.
        issuers: verify tokens.
        cel: evaluates conditions on their claims.

    """

    receiver: Receiver
    secret: Mapping[str, bytes] = field(repr=False)
    issuers: Issuers
    cel: CelEvaluator

    @property
    def token(self) -> bytes:
        """The shared secret.

        Raises:
            Refused: there is none, or an empty one: it would prove nothing.

        """
        found = self.secret.get("token", b"")
        if not found:
            raise Refused("the Secret has no token")
        return found

    def text(self, name: str) -> str:
        """A value of the Secret.

        Raises:
            Refused: it is missing.

        """
        found = self.secret.get(name, b"").decode("utf-8", "replace").strip()
        if not found:
            raise Refused(f"the Secret has no {name}, which this type needs")
        return found


Prove = Callable[[Call, Prover], Awaitable[Proof]]


async def prove(call: Call, prover: Prover) -> Proof:
    """Whether and as what a call is taken.

    Raises:
        Refused: it is not.

    """
    return await PROOFS[prover.receiver.spec.type](call, prover)


async def _generic(_call: Call, _prover: Prover) -> Proof:
    return Proof()


async def _generic_hmac(call: Call, prover: Prover) -> Proof:
    signed(call, "X-Signature", prover.token, hashes=_ANY_SHA)
    return Proof()


async def _github(call: Call, prover: Prover) -> Proof:
    """GitHub, and Gitea, which sends the same headers."""
    if call.header("X-Hub-Signature-256"):
        signed(call, "X-Hub-Signature-256", prover.token, hashes=("sha256",))
    else:
        signed(call, "X-Hub-Signature", prover.token, hashes=_ANY_SHA)
    return Proof(call.header("X-GitHub-Event"), call.header("X-GitHub-Delivery"))


async def _gitlab(call: Call, prover: Prover) -> Proof:
    same_token(call, "X-Gitlab-Token", prover.token)
    return Proof(call.header("X-Gitlab-Event"), call.header("Idempotency-Key"))


async def _bitbucket(call: Call, prover: Prover) -> Proof:
    signed(call, "X-Hub-Signature", prover.token, hashes=_ANY_SHA)
    delivery = call.header("X-Request-UUID") or call.header("X-Request-Id")
    return Proof(call.header("X-Event-Key"), delivery)


async def _harbor(call: Call, prover: Prover) -> Proof:
    same_token(call, "Authorization", prover.token)
    return Proof()


async def _nexus(call: Call, prover: Prover) -> Proof:
    signed_hex(call, "X-Nexus-Webhook-Signature", prover.token, hash_name="sha1")
    return Proof(delivery=call.header("X-Nexus-Webhook-Delivery"))


def _by_body(check: Callable[[Call], None]) -> Prove:
    async def proof(call: Call, _prover: Prover) -> Proof:
        check(call)
        return Proof()

    return proof


async def _cdevents(call: Call, _prover: Prover) -> Proof:
    check_cdevent(call)
    return Proof(call.header("Ce-Type"), call.header("Ce-Id"))


async def _gcr(call: Call, prover: Prover) -> Proof:
    """A message that Pub/Sub pushes as the service account that was named.

    https://cloud.google.com/pubsub/docs/authenticate-push-subscriptions
    """
    audience, email = prover.text("audience"), prover.text("email")
    claims = await prover.issuers.claims(bearer_of(call), GOOGLE, audience=audience)
    if claims.get("email") != email or claims.get("email_verified") is not True:
        raise Refused("the bearer token is another account's than the Secret's email")
    envelope = call.json()
    message = envelope.get("message") if isinstance(envelope, dict) else None
    if not isinstance(message, dict):
        raise Refused("the body is no message of Pub/Sub")
    try:
        body = orjson.loads(base64.b64decode(str(message.get("data", "")), validate=True))
    except (binascii.Error, ValueError) as error:
        raise Refused("the data of the message is not JSON in base64") from error
    if not isinstance(body, dict) or not isinstance(body.get("action"), str):
        raise Refused("the data of the message is no event of a registry")
    return Proof(delivery=str(message.get("messageId", "")), body=body)


async def _generic_oidc(call: Call, prover: Prover) -> Proof:
    token = bearer_of(call)
    providers = prover.receiver.spec.oidc_providers
    issuer = unverified_issuer(token)
    audience = audiences_of([(one.issuer_url, one.audience) for one in providers], issuer)
    claims = await prover.issuers.claims(token, Issuer.of(issuer), audience=audience)
    provider = next(one for one in providers if one.issuer_url == issuer)
    conditions = [
        Program(f"validations[{at}].expression", one.expression)
        for at, one in enumerate(provider.validations)
    ]
    if not conditions:
        raise Refused("the issuer has no validations: its tokens would all be taken")
    await _check_claims(prover, provider.variables, conditions, claims, provider.validations)
    return Proof(claims=claims)


async def _check_claims(
    prover: Prover,
    variables: Any,
    conditions: list[Program],
    claims: dict[str, Any],
    validations: Any,
) -> None:
    programs = [
        Program(f"variables[{at}].expression", one.expression, one.name)
        for at, one in enumerate(variables)
    ]
    namespace = prover.receiver.metadata.namespace
    try:
        met = await prover.cel.validate(
            programs, conditions, data={"claims": claims}, namespace=namespace
        )
    except ExpressionFailed as error:
        raise Refused(f"the claims of the bearer token cannot be judged: {error}") from error
    unmet = [one.message for one, is_met in zip(validations, met, strict=True) if not is_met]
    if unmet:
        raise Refused("the claims of the bearer token are refused: " + "; ".join(unmet))


PROOFS: Mapping[str, Prove] = {
    "generic": _generic,
    "generic-hmac": _generic_hmac,
    "generic-oidc": _generic_oidc,
    "github": _github,
    "gitlab": _gitlab,
    "bitbucket": _bitbucket,
    "harbor": _harbor,
    "dockerhub": _by_body(check_dockerhub),
    "quay": _by_body(check_quay),
    "gcr": _gcr,
    "nexus": _nexus,
    "acr": _by_body(check_acr),
    "cdevents": _cdevents,
}
"""Every type of the API."""
