"""The signature step: nothing is pulled before a signature of its digest was found."""

from __future__ import annotations

from fluvial.api.source_oci import OCIRepositoryVerification
from fluvial.errors import FluvialError
from fluvial.kube.client import KubeClient
from fluvial.objects import ObjectKey
from source_controller.oci.errors import VerificationFailed
from source_controller.oci.registry import RepositoryClient
from source_controller.ocirepository import reasons
from source_controller.ocirepository.resolving import Resolved
from source_controller.ocirepository.run import OCIRun
from source_controller.source import reasons as common
from source_controller.source.run import StepFailed
from source_controller.source.secrets import read_secret
from source_controller.verify.cosign import verify_with_keys
from source_controller.verify.keys import keys_from_secret
from source_controller.verify.notation import verify_with_notation

__all__ = ["VerifyStep"]


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
        _refuse_keyless(verify)
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
        run.set_true(
            common.SOURCE_VERIFIED,
            common.SUCCEEDED,
            f"verified signature of revision {resolved.revision}",
        )

    async def _verify(
        self,
        run: OCIRun,
        registry: RepositoryClient,
        resolved: Resolved,
        verify: OCIRepositoryVerification,
    ) -> bool:
        if verify.secret_ref is None:
            raise VerificationFailed("spec.verify.secretRef is required")
        key = ObjectKey(run.key.namespace, verify.secret_ref.name)
        data = await read_secret(self._client, key, field="spec.verify.secretRef")
        if verify.provider == "notation":
            return await verify_with_notation(registry, resolved.digest, data, run.clock.now())
        await verify_with_keys(registry, resolved.digest, keys_from_secret(data))
        return True


def _refuse_keyless(verify: OCIRepositoryVerification) -> None:
    if verify.secret_ref is None and verify.provider == "cosign":
        raise StepFailed(
            "",
            common.UNSUPPORTED_FIELD,
            "spec.verify without spec.verify.secretRef is not supported yet: signatures that were"
            " made without a key cannot be verified",
            kind="stalled",
        )
