"""Signatures of cosign made without a key: by a certificate that a sigstore gave to an identity.

Nothing is asked over the network: the signature brings what the transparency log said, and the
trusted root says whose word counts. Bundles (cosign 3) are judged by the sigstore package, which is
large, and so is loaded at the first one only, in the thread that needs it. It has no way to judge the
signatures of cosign 2: ``simplekeyless`` does.
"""

from __future__ import annotations

import importlib.resources
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from cryptography import x509

from fluvial.artifact.digest import Digest
from fluvial.artifact.threads import StopFlag, in_thread
from source_controller.oci.errors import VerificationFailed
from source_controller.oci.registry import RepositoryClient
from source_controller.verify.found import SimpleSigning, find_bundles, find_simple
from source_controller.verify.guard import only_refusals
from source_controller.verify.identities import Identity, identity_matches
from source_controller.verify.simplekeyless import check_simple_keyless
from source_controller.verify.statement import DSSE_TYPE, check_statement
from source_controller.verify.trustedroot import TrustedRoot

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
    found = await find_simple(client, digest)
    simple = [signature for signature in found if signature.certificate]
    if not bundles and not simple:
        raise VerificationFailed("no signatures found")
    root = await in_thread(lambda _: _public_root()) if trusted_root is None else trusted_root
    if len(root) > _MAX_ROOT:
        raise VerificationFailed("the trusted root is too large")
    await in_thread(lambda stop: _check(bundles, simple, digest, identities, root, stop=stop))


def _check(
    bundles: Sequence[bytes],
    simple: Sequence[SimpleSigning],
    digest: Digest,
    identities: Sequence[Identity],
    root: bytes,
    *,
    stop: StopFlag,
) -> None:
    """Return once one of them holds; bundles are tried first."""
    parsed = TrustedRoot.parse(root)
    checks = [_checked_by(root, bundle, digest, identities) for bundle in bundles] + [
        partial(check_simple_keyless, one, digest, identities, parsed) for one in simple
    ]
    problems: list[str] = []
    for check in checks:
        stop.check()
        try:
            with only_refusals("a signature"):
                check()
        except VerificationFailed as error:
            problems.append(str(error))
        else:
            return
    raise VerificationFailed(f"no signature counts: {'; '.join(dict.fromkeys(problems))}"[:1000])


def _checked_by(
    root: bytes, bundle: bytes, digest: Digest, identities: Sequence[Identity]
) -> Callable[[], None]:
    return lambda: _check_bundle(_verifier(root), bundle, digest, identities)


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


def _verifier(root: bytes) -> Verifier:
    from sigstore.models import TrustedRoot as PackageRoot  # noqa: PLC0415  # as above
    from sigstore.verify import Verifier  # noqa: PLC0415

    try:
        with tempfile.NamedTemporaryFile() as file:
            file.write(root)
            file.flush()
            return Verifier(trusted_root=PackageRoot.from_file(file.name))
    except Exception as error:  # pydantic's, sigstore's and cryptography's errors have no root
        raise VerificationFailed("the trusted root cannot be read") from error


def _public_root() -> bytes:
    folder, name = _PUBLIC
    try:
        return importlib.resources.files("sigstore").joinpath("_store", folder, name).read_bytes()
    except OSError as error:
        raise VerificationFailed("the public sigstore's trusted root is not installed") from error
