"""Signatures of Notation (the Notary Project): envelope, chain, trust policy.

Timestamps of authorities, plug-ins and asking for revocation are not done: what needs one of them
does not count, unless the policy says that it only be noted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from cryptography import x509

from fluvial.artifact.digest import Digest
from source_controller.oci.errors import (
    ContentTooLarge,
    InvalidContent,
    NotFound,
    VerificationFailed,
)
from source_controller.oci.manifests import Descriptor, parse_manifest
from source_controller.oci.registry import RepositoryClient
from source_controller.verify.chain import (
    check_chain,
    is_revocable,
    is_trusted,
    is_valid_at,
    load_certificates,
)
from source_controller.verify.cose import open_cose
from source_controller.verify.envelope import Envelope
from source_controller.verify.guard import only_refusals
from source_controller.verify.jws import open_jws
from source_controller.verify.trustpolicy import Check, TrustPolicy, choose_policy, subject_matches

__all__ = ["verify_with_notation"]

_ARTIFACT_TYPE = "application/vnd.cncf.notary.signature"
_Open = Callable[[bytes], Envelope]
_FORMS: dict[str, _Open] = {"application/jose+json": open_jws, "application/cose": open_cose}
_POLICY = "trustpolicy.json"
_SUFFIXES = (".crt", ".pem")
_MAX_ATTEMPTS = 3


async def verify_with_notation(
    client: RepositoryClient, digest: Digest, data: Mapping[str, bytes], now: datetime
) -> bool:
    """Find a signature that the trust policy accepts.

    Args:
        client: of the repository.
        digest: of the manifest or index.
        data: of the Secret: ``trustpolicy.json``, and ``*.crt`` and ``*.pem``, which are every
            trust store that the policy names.
        now: for certificates and expiry.

    Returns:
        Whether the signer is trusted. False: the policy does not insist, so the artifact may be
        used, but is not verified.

    Raises:
        VerificationFailed: no signature counts.
        RegistryError, RegistryUnreachable: the registry could not tell.

    """
    if _POLICY not in data:
        raise VerificationFailed(f"the Secret of spec.verify has no {_POLICY!r}")
    with only_refusals("the trust policy"):
        policy = choose_policy(data[_POLICY], str(client.repository))
    trusted = load_certificates(data[name] for name in sorted(data) if name.endswith(_SUFFIXES))
    if policy.skip:
        return False
    problems: list[str] = []
    for open_envelope, raw in await _envelopes(client, digest, problems):
        try:
            with only_refusals("a signature"):
                envelope = open_envelope(raw)
                await _check_target(client, envelope, digest)
                return _judge(envelope, policy, trusted, now)
        except VerificationFailed as error:
            problems.append(str(error))
    if not problems:
        raise VerificationFailed("no signatures found")
    raise VerificationFailed(f"no signature counts: {'; '.join(dict.fromkeys(problems))}")


async def _envelopes(
    client: RepositoryClient, digest: Digest, problems: list[str]
) -> list[tuple[_Open, bytes]]:
    referrers = await client.referrers(digest)
    wanted = [item for item in referrers if item.artifact_type == _ARTIFACT_TYPE]
    found: list[tuple[_Open, bytes]] = []
    for item in wanted[:_MAX_ATTEMPTS]:
        try:
            found.append(await _envelope(client, item))
        except (NotFound, InvalidContent, ContentTooLarge) as error:
            problems.append(str(error))
    return found


async def _envelope(client: RepositoryClient, item: Descriptor) -> tuple[_Open, bytes]:
    manifest = parse_manifest(await client.document(item.digest))
    if len(manifest.layers) != 1:
        raise InvalidContent("the signature does not have one envelope")
    layer = manifest.layers[0]
    if layer.media_type not in _FORMS:
        raise InvalidContent("the signature's envelope is of an unknown form")
    return _FORMS[layer.media_type], await client.blob(layer)


async def _check_target(client: RepositoryClient, envelope: Envelope, digest: Digest) -> None:
    document = await client.document(digest)
    expected = (str(digest), len(document.body), document.media_type)
    target = envelope.target
    if (target.get("digest"), target.get("size"), target.get("mediaType")) != expected:
        raise VerificationFailed("the signature is over another artifact")


def _judge(
    envelope: Envelope, policy: TrustPolicy, trusted: tuple[x509.Certificate, ...], now: datetime
) -> bool:
    check_chain(envelope.chain)
    is_authentic = True
    problem = _authenticity(envelope, policy, trusted)
    if problem:
        _fail(policy, "authenticity", problem)
        is_authentic = False
    if envelope.expiry is not None and now > envelope.expiry:
        _fail(policy, "expiry", "the signature has expired")
    if not is_valid_at(envelope.chain, now):
        _fail(policy, "authenticTimestamp", "a certificate of the signer is not in force")
    if is_revocable(envelope.chain):
        _fail(
            policy,
            "revocation",
            "whether the signer's certificates were revoked cannot be asked here: override"
            " 'revocation' in the trust policy",
        )
    return is_authentic


def _authenticity(
    envelope: Envelope, policy: TrustPolicy, trusted: tuple[x509.Certificate, ...]
) -> str:
    if not is_trusted(envelope.chain, trusted):
        return "the signer's certificate is by no trusted authority"
    if not subject_matches(policy, envelope.chain[0].subject):
        return "the signer is none of the trusted identities"
    return ""


def _fail(policy: TrustPolicy, check: Check, problem: str) -> None:
    if policy.actions[check] == "enforce":
        raise VerificationFailed(problem)
