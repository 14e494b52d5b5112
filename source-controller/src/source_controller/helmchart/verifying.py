"""The signature step: nothing is pulled before a signature of its manifest was found.

It is each object's own, and done at every reconcile: a tag may have moved since.
"""

from __future__ import annotations

from fluvial.api.meta import LocalObjectReference
from fluvial.artifact.digest import Digest
from fluvial.errors import FluvialError
from fluvial.kube.client import KubeClient
from fluvial.objects import ObjectKey
from source_controller.helmchart import reasons
from source_controller.helmchart.registry import RegistryCharts
from source_controller.helmchart.repositories import Version
from source_controller.helmchart.run import ChartRun
from source_controller.oci.errors import VerificationFailed
from source_controller.oci.registry import RepositoryClient
from source_controller.source import reasons as common
from source_controller.source.run import StepFailed
from source_controller.source.secrets import read_secret
from source_controller.verify.cosign import verify_with_keys
from source_controller.verify.identities import parse_identities
from source_controller.verify.keyless import verify_without_key
from source_controller.verify.keys import keys_from_secret
from source_controller.verify.notation import verify_with_notation

__all__ = ["VerifyStep", "verification_failed"]

_FIELD = "spec.verify.secretRef"


class VerifyStep:
    """Checks signatures of charts in registries.

    Args:
        client: reads the Secrets of ``spec.verify``.

    """

    def __init__(self, client: KubeClient) -> None:
        self._client = client

    async def run(self, run: ChartRun, charts: RegistryCharts, version: Version) -> bool:
        """Whether a version is verified; ``False`` if nothing asks for it or the policy lets it pass.

        Raises:
            StepFailed: ``ChartVerificationError``; whatever the reason, nothing is pulled.

        """
        if run.obj.spec.verify is None:
            return False

        async def verify(registry: RepositoryClient, digest: Digest) -> bool:
            return await self._verify(run, registry, digest)

        try:
            return await charts.verify(version, verify)
        except (FluvialError, OSError) as error:
            raise verification_failed(run, error) from error

    async def _verify(self, run: ChartRun, registry: RepositoryClient, digest: Digest) -> bool:
        verify = run.obj.spec.verify
        assert verify is not None  # noqa: S101  # checked above
        if verify.provider == "notation":
            data = await self._secret(run, verify.secret_ref)
            return await verify_with_notation(registry, digest, data, run.clock.now())
        if verify.secret_ref is not None:
            data = await self._secret(run, verify.secret_ref)
            await verify_with_keys(registry, digest, keys_from_secret(data))
            return True
        identities = parse_identities(
            (match.issuer, match.subject) for match in verify.match_oidc_identity
        )
        await verify_without_key(registry, digest, identities, trusted_root=None)
        return True

    async def _secret(
        self, run: ChartRun, reference: LocalObjectReference | None
    ) -> dict[str, bytes]:
        if reference is None:
            raise VerificationFailed(f"{_FIELD} is required")
        key = ObjectKey(run.key.namespace, reference.name)
        return await read_secret(self._client, key, field=_FIELD)


def verification_failed(run: ChartRun, error: Exception) -> StepFailed:
    """Both conditions: the build failed, and that is because the source is not verified."""
    verify = run.obj.spec.verify
    provider: str = verify.provider if verify is not None else ""
    if verify is not None and provider == "cosign" and verify.secret_ref is None:
        provider = "cosign keyless"
    message = (
        "chart verification error: failed to verify the signature using provider"
        f" '{provider}': {error}"
    )
    run.set_condition(common.SOURCE_VERIFIED, "False", reasons.VERIFICATION_ERROR, message)
    return StepFailed(reasons.BUILD_FAILED, reasons.CHART_VERIFICATION_ERROR, message)
