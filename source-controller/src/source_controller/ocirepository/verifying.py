"""The signature step: nothing is pulled before a signature of its digest was found."""

from __future__ import annotations

from fluvial.api.meta import LocalObjectReference
from fluvial.api.source_oci import OCIRepositoryVerification
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
from source_controller.verify.identities import parse_identities
from source_controller.verify.keyless import verify_without_key
from source_controller.verify.keys import keys_from_secret
from source_controller.verify.notation import verify_with_notation

__all__ = ["VerifyStep"]

_TRUSTED_ROOT = "trusted_root.json"


class VerifyStep:
    """Checks signatures, for each object by itself.

    Args:
        client: reads the Secrets of ``spec.verify``.

    """

    def __init__(self, client: KubeClient) -> None:
        self._client = client

    async def run(self, run: OCIRun, registry: RepositoryClient, resolved: Resolved) -> None:
        """Set ``SourceVerified``, or remove it where nothing is to be verified.

        Raises:
            StepFailed: ``VerificationError``; whatever the reason, nothing is pulled.

        """
        verify = run.obj.spec.verify
        if verify is None:
            run.clear(common.SOURCE_VERIFIED)
            return
        if not run.needs_verification(resolved.revision):
            return
        try:
            is_verified = await self._verify(run, registry, resolved, verify)
        except (FluvialError, OSError) as error:
            raise StepFailed(
                common.SOURCE_VERIFIED,
                reasons.VERIFICATION_ERROR,
                f"failed to verify the signature using provider '{verify.provider}': {error}",
                status="False",
            ) from error
        if not is_verified:  # the trust policy lets it pass, and that is no verification
            run.clear(common.SOURCE_VERIFIED)
            return
        message = verified_message(resolved.revision)
        run.set_true(common.SOURCE_VERIFIED, common.SUCCEEDED, message)

    async def _verify(
        self,
        run: OCIRun,
        registry: RepositoryClient,
        resolved: Resolved,
        verify: OCIRepositoryVerification,
    ) -> bool:
        now = run.clock.now()
        if verify.provider == "notation":
            data = await self._secret(run, verify.secret_ref, "spec.verify.secretRef")
            return await verify_with_notation(registry, resolved.digest, data, now)
        if verify.secret_ref is not None:
            data = await self._secret(run, verify.secret_ref, "spec.verify.secretRef")
            await verify_with_keys(registry, resolved.digest, keys_from_secret(data))
            return True
        identities = parse_identities(
            (match.issuer, match.subject) for match in verify.match_oidc_identity
        )
        root = await self._trusted_root(run, verify)
        await verify_without_key(registry, resolved.digest, identities, trusted_root=root)
        return True

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
        self, run: OCIRun, reference: LocalObjectReference | None, field: str
    ) -> dict[str, bytes]:
        if reference is None:
            raise VerificationFailed(f"{field} is required")
        key = ObjectKey(run.key.namespace, reference.name)
        return await read_secret(self._client, key, field=field)
