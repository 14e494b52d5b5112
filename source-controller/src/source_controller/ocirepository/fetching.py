"""The source step: from the spec to a verified archive, or to the news that nothing is new."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from fluvial.api.source_oci import OCIRepositoryRef
from fluvial.clock import Clock
from fluvial.cloud.identities import CloudIdentities
from fluvial.kube.client import KubeClient
from fluvial.net.errors import NetError
from source_controller.oci.access import Access
from source_controller.oci.errors import InvalidCredentials, InvalidReference, OciError
from source_controller.oci.reference import Repository
from source_controller.oci.registries import Registries, trust_domain
from source_controller.oci.registry import RepositoryClient
from source_controller.ocirepository import reasons
from source_controller.ocirepository.access import AccessStep
from source_controller.ocirepository.pulling import Content, ContentRequest, LayerFailed, Pulls
from source_controller.ocirepository.resolving import Resolved, Resolver
from source_controller.ocirepository.run import OCIRun
from source_controller.ocirepository.verifying import VerifyStep
from source_controller.source import reasons as common
from source_controller.source.run import StatusWriter, StepFailed
from source_controller.source.secrets import auth_failed

__all__ = ["Fetched", "SourceStep"]


@dataclass(frozen=True, slots=True)
class Fetched:
    """What the registry has.

    Attributes:
        resolved: reference and digest.
        content: the archive; ``None`` if the stored one is of this digest and this spec.

    """

    resolved: Resolved
    content: Content | None


class SourceStep:
    """Asks the registry what is new, verifies it and pulls it.

    Args:
        client: reads Secrets and ServiceAccounts.
        registries: sessions.
        pulls: shared by all objects.
        identities: logins of providers.
        clock: for what is shared.
        writer: for progress.

    """

    def __init__(
        self,
        client: KubeClient,
        registries: Registries,
        pulls: Pulls,
        *,
        identities: CloudIdentities,
        clock: Clock,
        writer: StatusWriter,
    ) -> None:
        self._access = AccessStep(client, identities)
        self._registries = registries
        self._pulls = pulls
        self._resolver = Resolver(clock)
        self._verifying = VerifyStep(client)
        self._writer = writer

    async def run(self, run: OCIRun) -> Fetched:
        """Everything that needs the registry, within ``spec.timeout``.

        Raises:
            StepFailed: ``URLInvalid``, ``AuthenticationFailed``, ``FeatureGateDisabled``,
                ``ReadOperationFailed``,
                ``VerificationError``, ``OCIArtifactPullFailed`` or
                ``OCIArtifactLayerOperationFailed``.

        """
        spec = run.obj.spec
        try:
            repository = Repository.parse_url(spec.url)
        except InvalidReference as error:
            message = f"spec.url is not valid: {error}"
            raise _failed(common.URL_INVALID, message, stalled=True) from error
        access = await self._access.read(run.key.namespace, spec, repository)
        try:
            async with (
                asyncio.timeout(spec.timeout_seconds),
                self._registries.client(
                    repository, access, namespace=run.key.namespace
                ) as registry,
            ):
                fetched = await self._fetch(run, registry, access)
        except InvalidCredentials as error:
            raise auth_failed(str(error)) from error
        except TimeoutError as error:
            raise _failed(
                reasons.PULL_FAILED,
                f"{repository.registry} did not give what was asked for within {spec.timeout}",
            ) from error
        run.clear(common.FETCH_FAILED)
        return fetched

    async def _fetch(self, run: OCIRun, registry: RepositoryClient, access: Access) -> Fetched:
        domain = trust_domain(access, run.key.namespace)
        resolved = await self._resolve(run, registry, domain)
        if run.artifact is None or run.artifact.revision != resolved.revision:
            await self._announce(run, resolved.revision)
        await self._verifying.run(run, registry, resolved)
        if run.is_current(resolved.revision):
            return Fetched(resolved, None)
        return Fetched(resolved, await self._pull(run, registry, resolved, domain))

    async def _resolve(
        self, run: OCIRun, registry: RepositoryClient, domain: tuple[str, str]
    ) -> Resolved:
        spec = run.obj.spec
        ref = spec.ref or OCIRepositoryRef()
        # Who asks by annotation gets what the registry says now.
        max_age = run.answer_age
        try:
            tag = await self._resolver.tag_of(
                registry,
                ref,
                domain=domain,
                media_type=run.selector.media_type,
                max_age=max_age,
            )
        except (OciError, NetError) as error:
            raise _failed(
                reasons.READ_OPERATION_FAILED,
                f"failed to determine the artifact tag for '{spec.url}': {error}",
            ) from error
        try:
            return await self._resolver.digest_of(
                registry, ref, tag, domain=domain, max_age=max_age
            )
        except (OciError, NetError) as error:
            raise _failed(
                reasons.PULL_FAILED, f"failed to determine artifact digest: {error}"
            ) from error

    async def _announce(self, run: OCIRun, revision: str) -> None:
        message = f"new revision '{revision}' for '{run.obj.spec.url}'"
        if run.artifact is not None:
            run.set_true(common.ARTIFACT_OUTDATED, common.NEW_REVISION, message)
        run.progress(f"building artifact: {message}", drift=True)
        await self._writer.progress(run)

    async def _pull(
        self,
        run: OCIRun,
        registry: RepositoryClient,
        resolved: Resolved,
        domain: tuple[str, str],
    ) -> Content:
        selector = run.selector
        request = ContentRequest(
            domain=domain,
            repository=str(registry.repository),
            digest=resolved.digest,
            media_type=selector.media_type,
            operation=selector.operation,
            ignore=run.obj.spec.ignore if selector.operation == "extract" else None,
        )
        try:
            await self._resolver.prove(registry, resolved, domain=domain)
            return await self._pulls.get(registry, request)
        except LayerFailed as error:
            raise _failed(reasons.LAYER_OPERATION_FAILED, str(error)) from error
        except (OciError, NetError) as error:
            raise _failed(
                reasons.PULL_FAILED,
                f"failed to pull artifact from '{run.obj.spec.url}': {error}",
            ) from error
        except TimeoutError:
            raise
        except OSError as error:
            raise StepFailed(
                common.STORAGE_OPERATION_FAILED,
                common.ARCHIVE_OPERATION_FAILED,
                f"unable to archive artifact to storage: {error.strerror}",
            ) from error


def _failed(reason: str, message: str, *, stalled: bool = False) -> StepFailed:
    return StepFailed(common.FETCH_FAILED, reason, message, kind="stalled" if stalled else "retry")
