"""Signatures of cosign made without a key: by a certificate that a sigstore gave to an identity.

The work is done by the sigstore package, offline: the bundle brings what the transparency log said,
and the trusted root says whose word counts. It is large, so it is loaded at the first such signature
only, in the thread that needs it.
"""

from __future__ import annotations

import importlib.resources
import tempfile
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cryptography import x509

from fluvial.artifact.digest import Digest
from fluvial.artifact.threads import in_thread
from source_controller.oci.errors import VerificationFailed
from source_controller.oci.registry import RepositoryClient
from source_controller.verify.found import find_bundles, find_simple
from source_controller.verify.identities import Identity, identity_matches
from source_controller.verify.statement import DSSE_TYPE, check_statement

if TYPE_CHECKING:
    from sigstore.verify import Verifier

__all__ = ["verify_without_key"]

_PUBLIC = ("https%3A%2F%2Ftuf-repo-cdn.sigstore.dev", "trusted_root.json")
_MAX_ROOT = 1 << 20


async def verify_without_key(
    client: RepositoryClient,
    digest: Digest,
    identities: Sequence[Identity],
    *,
    trusted_root: bytes | None,
) -> None:
    """Find a signature of a digest by one of the identities.

    Args:
        client: of the repository.
        digest: of the manifest or index.
        identities: who may sign.
        trusted_root: ``trusted_root.json`` of a private sigstore; ``None`` for the public one, as
            the sigstore package has it.

    Raises:
        VerificationFailed: there is none.
        RegistryError, RegistryUnreachable: the registry could not tell.

    """
    bundles = await find_bundles(client, digest)
    if not bundles:
        if any(simple.certificate for simple in await find_simple(client, digest)):
            raise VerificationFailed(
                "the signature is in the format of cosign 2, which has no proof that its log entry"
                " is there: sign with cosign 3"
            )
        raise VerificationFailed("no signatures found")
    await in_thread(lambda _: _check(bundles, digest, identities, trusted_root))


def _check(
    bundles: Sequence[bytes],
    digest: Digest,
    identities: Sequence[Identity],
    trusted_root: bytes | None,
) -> None:
    verifier = _verifier(trusted_root)
    problems: list[str] = []
    for bundle in bundles:
        try:
            _check_bundle(verifier, bundle, digest, identities)
        except VerificationFailed as error:
            problems.append(str(error))
        else:
            return
    raise VerificationFailed(f"no signature counts: {'; '.join(dict.fromkeys(problems))}"[:1000])


def _check_bundle(
    verifier: Verifier, raw: bytes, digest: Digest, identities: Sequence[Identity]
) -> None:
    from sigstore.errors import Error  # noqa: PLC0415  # as above: large, and rarely needed
    from sigstore.models import Bundle  # noqa: PLC0415

    try:
        bundle = Bundle.from_json(raw)
        kind, payload = verifier.verify_dsse(bundle, _Policy(identities))
    except VerificationFailed:
        raise
    except Error as error:
        raise VerificationFailed(f"the signature does not hold: {error}") from error
    except Exception as error:  # whatever a forged bundle makes a large library do
        raise VerificationFailed("the bundle cannot be read") from error
    if kind != DSSE_TYPE:
        raise VerificationFailed("the bundle's content is of an unknown type")
    check_statement(payload, digest)


class _Policy:
    """Asked once the certificate is known to be the sigstore's."""

    def __init__(self, identities: Sequence[Identity]) -> None:
        self._identities = identities

    def verify(self, cert: x509.Certificate) -> None:
        """Refuse who is none of the identities."""
        if not identity_matches(cert, self._identities):
            raise VerificationFailed("the signer is none of the identities that may sign")


def _verifier(trusted_root: bytes | None) -> Verifier:
    from sigstore.models import TrustedRoot  # noqa: PLC0415  # as above
    from sigstore.verify import Verifier  # noqa: PLC0415

    raw = _public_root() if trusted_root is None else trusted_root
    if len(raw) > _MAX_ROOT:
        raise VerificationFailed("the trusted root is too large")
    try:
        with tempfile.NamedTemporaryFile() as file:
            file.write(raw)
            file.flush()
            return Verifier(trusted_root=TrustedRoot.from_file(file.name))
    except Exception as error:  # pydantic's, sigstore's and cryptography's errors have no root
        raise VerificationFailed("the trusted root cannot be read") from error


def _public_root() -> bytes:
    folder, name = _PUBLIC
    try:
        return importlib.resources.files("sigstore").joinpath("_store", folder, name).read_bytes()
    except OSError as error:
        raise VerificationFailed("the public sigstore's trusted root is not installed") from error
