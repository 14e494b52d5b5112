"""The signature step: nothing is pulled before a signature of its digest was found.

What was verified by the same keys, identities and roots in this process's life is not verified
again; anything else is, so that a key that was taken out of its Secret loses its force at the next
interval, and a status that somebody forged says nothing.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from fluvial.api.codec import encode
from fluvial.api.meta import LocalObjectReference
from fluvial.api.source_oci import OCIRepositoryVerification
from fluvial.artifact.digest import Digest
from fluvial.errors import FluvialError
from fluvial.kube.client import KubeClient
from fluvial.objects import ObjectKey
from source_controller.oci.errors import VerificationFailed
from source_controller.oci.registry import RepositoryClient
from source_controller.ocirepository import reasons
from source_controller.ocirepository.resolving import Resolved
from source_controller.ocirepository.run import OCIRun, verified_message
from source_controller.source import reasons as common
from source_controller.source.run import StepFailed
from source_controller.source.secrets import read_secret
from source_controller.verify.cosign import verify_with_keys
from source_controller.verify.identities import Identity, parse_identities
from source_controller.verify.keyless import verify_without_key
from source_controller.verify.keys import keys_from_secret
from source_controller.verify.notation import verify_with_notation

__all__ = ["VerifyStep"]

_TRUSTED_ROOT = "trusted_root.json"
_MAX_KNOWN = 10_000


class VerifyStep:
    """Checks signatures, for each object by itself.

    Args:
        client: reads the Secrets of ``spec.verify``.

    """

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self._known: OrderedDict[ObjectKey, tuple[str, ...]] = OrderedDict()

    async def run(self, run: OCIRun, registry: RepositoryClient, resolved: Resolved) -> None:
        """Set ``SourceVerified``, or remove it where nothing is to be verified.

        Raises:
            StepFailed: ``VerificationError``; whatever the reason, nothing is pulled.

        """
        verify = run.obj.spec.verify
        if verify is None:
            self._known.pop(run.key, None)
            run.clear(common.SOURCE_VERIFIED)
            return
        try:
            trust = await self._trust(run, verify)
            basis = (str(run.live["metadata"]["uid"]), resolved.revision, trust.digest())
            if self._known.get(run.key) == basis and not run.needs_verification(resolved.revision):
                return
            is_verified = await _verify(registry, resolved.digest, trust, run.clock.now())
        except (FluvialError, OSError) as error:
            self._known.pop(run.key, None)
            raise StepFailed(
                common.SOURCE_VERIFIED,
                reasons.VERIFICATION_ERROR,
                f"failed to verify the signature using provider '{verify.provider}': {error}",
                status="False",
            ) from error
        if not is_verified:  # the trust policy lets it pass, and that is no verification
            run.clear(common.SOURCE_VERIFIED)
            return
        self._remember(run.key, basis)
        message = verified_message(resolved.revision)
        run.set_true(common.SOURCE_VERIFIED, common.SUCCEEDED, message)

    def _remember(self, key: ObjectKey, basis: tuple[str, ...]) -> None:
        self._known[key] = basis
        self._known.move_to_end(key)
        if len(self._known) > _MAX_KNOWN:
            self._known.popitem(last=False)

    async def _trust(self, run: OCIRun, verify: OCIRepositoryVerification) -> _Trust:
        if verify.provider == "notation" or verify.secret_ref is not None:
            where = "spec.verify.secretRef"
            return _Trust(verify, await self._secret(run, verify.secret_ref, where))
        identities = parse_identities(
            (match.issuer, match.subject) for match in verify.match_oidc_identity
        )
        root = await self._trusted_root(run, verify)
        return _Trust(verify, identities=identities, root=root)

    async def _trusted_root(self, run: OCIRun, verify: OCIRepositoryVerification) -> bytes | None:
        reference = verify.trusted_root_secret_ref
        if reference is None:
            return None
        data = await self._secret(run, reference, "spec.verify.trustedRootSecretRef")
        if not data.get(_TRUSTED_ROOT):
            raise VerificationFailed(
                f"the Secret of spec.verify.trustedRootSecretRef has no {_TRUSTED_ROOT!r}"
            )
        return data[_TRUSTED_ROOT]

    async def _secret(
        self, run: OCIRun, reference: LocalObjectReference | None, where: str
    ) -> dict[str, bytes]:
        if reference is None:
            raise VerificationFailed(f"{where} is required")
        key = ObjectKey(run.key.namespace, reference.name)
        return await read_secret(self._client, key, field=where)


@dataclass(frozen=True, slots=True)
class _Trust:
    """Whose signatures count.

    Attributes:
        verify: of the spec.
        secret: data of its Secret; ``None`` where identities count.
        identities: those of ``verify``, read.
        root: their trusted root; ``None`` for the public one.

    """

    verify: OCIRepositoryVerification
    secret: dict[str, bytes] | None = field(default=None, repr=False)
    identities: tuple[Identity, ...] = ()
    root: bytes | None = field(default=None, repr=False)

    def digest(self) -> str:
        """Hex that is equal only if everything is; tells nothing about it."""
        everything = (encode(self.verify), self.secret, self.root)
        return hashlib.sha256(msgspec.json.encode(everything, order="sorted")).hexdigest()


async def _verify(registry: RepositoryClient, digest: Digest, trust: _Trust, now: datetime) -> bool:
    if trust.secret is None:
        await verify_without_key(registry, digest, trust.identities, trusted_root=trust.root)
        return True
    if trust.verify.provider == "notation":
        return await verify_with_notation(registry, digest, trust.secret, now)
    await verify_with_keys(registry, digest, keys_from_secret(trust.secret))
    return True
