"""Signatures of cosign made with a key.

The transparency log is not asked: the key alone decides, so that verification needs no network.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import orjson

from fluvial.artifact.digest import Digest
from fluvial.artifact.threads import StopFlag, in_thread
from source_controller.oci.errors import VerificationFailed
from source_controller.oci.registry import RepositoryClient
from source_controller.verify.found import SimpleSigning, find_bundles, find_simple
from source_controller.verify.guard import only_refusals
from source_controller.verify.keys import PublicKey, SlowChecks, verifies
from source_controller.verify.statement import (
    DSSE_TYPE,
    check_payload,
    check_statement,
    pre_authenticated,
)

__all__ = ["verify_with_keys"]


async def verify_with_keys(
    client: RepositoryClient, digest: Digest, keys: Sequence[PublicKey]
) -> None:
    """Find a signature of a digest by one of the keys: bundles first, then cosign 2's.

    Raises:
        VerificationFailed: there is none.
        RegistryError, RegistryUnreachable: the registry could not tell.

    """
    problems: list[str] = []
    slow = SlowChecks()
    bundles = await find_bundles(client, digest)
    if await _one_holds(
        [partial(_check_bundle, one, digest, keys, slow) for one in bundles], problems
    ):
        return
    simple = await find_simple(client, digest)
    if await _one_holds(
        [partial(_check_simple, one, digest, keys, slow) for one in simple], problems
    ):
        return
    if not problems:
        raise VerificationFailed("no signatures found")
    unique = list(dict.fromkeys(problems))
    raise VerificationFailed(f"no signature counts: {'; '.join(unique[:3])}")


async def _one_holds(checks: Sequence[Callable[[], None]], problems: list[str]) -> bool:
    """Whether one check passes; in a thread: a hundred keys and signatures take their time."""

    def run(stop: StopFlag) -> bool:
        for check in checks:
            stop.check()
            try:
                with only_refusals("a signature"):
                    check()
            except VerificationFailed as error:
                problems.append(str(error))
            else:
                return True
        return False

    return bool(checks) and await in_thread(run)


def _check_simple(
    simple: SimpleSigning, digest: Digest, keys: Sequence[PublicKey], slow: SlowChecks
) -> None:
    if not verifies(keys, simple.signature, simple.payload, slow=slow):
        raise VerificationFailed("the signature is by none of the keys")
    check_payload(simple.payload, digest)


def _check_bundle(
    bundle: bytes, digest: Digest, keys: Sequence[PublicKey], slow: SlowChecks
) -> None:
    envelope = _envelope(bundle)
    kind, payload = envelope.get("payloadType"), _decode(envelope.get("payload"))
    if kind != DSSE_TYPE:
        raise VerificationFailed("the bundle's content is of an unknown type")
    signatures = envelope.get("signatures")
    if not isinstance(signatures, list) or len(signatures) != 1:
        raise VerificationFailed("the bundle does not have one signature")
    signature = _decode(signatures[0].get("sig") if isinstance(signatures[0], dict) else None)
    if not verifies(keys, signature, pre_authenticated(DSSE_TYPE, payload), slow=slow):
        raise VerificationFailed("the signature is by none of the keys")
    check_statement(payload, digest)


def _envelope(bundle: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(bundle)
        envelope = document["dsseEnvelope"]
    except (ValueError, KeyError, TypeError):
        raise VerificationFailed("the bundle holds no signed statement") from None
    if not isinstance(envelope, dict):
        raise VerificationFailed("the bundle holds no signed statement")
    return envelope


def _decode(value: object) -> bytes:
    try:
        return base64.b64decode(value if isinstance(value, str) else "", validate=True)
    except binascii.Error:
        raise VerificationFailed("the bundle is not base64 where it should be") from None
