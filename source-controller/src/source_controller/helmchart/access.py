"""From a HelmRepository of a registry and its Secrets to its access to the registry."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from fluvial.api.source import HelmRepositorySpec
from fluvial.cloud.errors import CloudError
from fluvial.cloud.identities import CloudIdentities
from fluvial.cloud.registries import RegistryProvider
from fluvial.errors import FluvialError
from fluvial.kube.client import KubeClient
from fluvial.kube.errors import NotFound
from fluvial.kube.kinds import SECRET
from fluvial.kube.secrets import secret_data
from fluvial.net.tls import InvalidTls, Tls, tls_from_secret
from fluvial.objects import ObjectKey
from source_controller.oci.access import Access
from source_controller.oci.cloud import cloud_access
from source_controller.oci.dockerconfig import Credentials, parse_pull_secret
from source_controller.oci.errors import InvalidCredentials
from source_controller.oci.reference import Repository
from source_controller.source.secrets import auth_failed, read_secret

__all__ = ["RegistryAccesses"]

_PULL_SECRETS = ("kubernetes.io/dockerconfigjson", "kubernetes.io/dockercfg")


class RegistryAccesses:
    """Reads everything that decides about trust, live, in the repository's own namespace.

    Args:
        client: under the controller's own identity.
        identities: for the providers' registries.

    """

    def __init__(self, client: KubeClient, identities: CloudIdentities) -> None:
        self._client = client
        self._identities = identities

    async def read(
        self, namespace: str, spec: HelmRepositorySpec, repository: Repository
    ) -> Access:
        """The access to the repository of a chart.

        Args:
            namespace: of the HelmRepository.
            spec: of the HelmRepository.
            repository: of the chart, whose credentials are looked for.

        Raises:
            StepFailed: ``AuthenticationFailed``: something is missing or malformed, or the
                provider refuses.

        """
        tls, credentials = Tls(), Credentials()
        if spec.cert_secret_ref is not None:
            field = "spec.certSecretRef"
            key = ObjectKey(namespace, spec.cert_secret_ref.name)
            tls = _tls(await read_secret(self._client, key, field=field), field)
        if spec.secret_ref is not None:
            key = ObjectKey(namespace, spec.secret_ref.name)
            kind, values = await self._secret(key)
            try:
                credentials = _credentials(kind, values, repository)
            except InvalidCredentials as error:
                raise auth_failed(
                    f"the Secret of spec.secretRef cannot be used: {error}"
                ) from error
            if spec.cert_secret_ref is None:
                tls = _tls(values, "spec.secretRef")
        access = Access(
            credentials=credentials,
            ca=tls.ca,
            certificate=tls.certificate,
            key=tls.key,
            insecure=spec.insecure,
        )
        if spec.secret_ref is not None or spec.provider == "generic":
            return access
        return await self._by_provider(namespace, spec, repository, access)

    async def _by_provider(
        self, namespace: str, spec: HelmRepositorySpec, repository: Repository, access: Access
    ) -> Access:
        """A HelmRepository names no service account: the controller logs in, or the default one."""
        provider: RegistryProvider = spec.provider  # type: ignore[assignment]  # not generic
        try:
            async with asyncio.timeout(spec.timeout_seconds):
                return await cloud_access(
                    self._identities,
                    provider,
                    repository=repository,
                    access=access,
                    identity=self._identities.identity_of(namespace),
                )
        except CloudError as error:
            raise auth_failed(f"failed to log in by the provider {provider!r}: {error}") from error
        except TimeoutError as error:
            raise auth_failed(
                f"the provider {provider!r} gave no credentials within {spec.timeout_seconds:g}s"
            ) from error

    async def _secret(self, key: ObjectKey) -> tuple[str, dict[str, bytes]]:
        """Type and values."""
        try:
            secret = await self._client.get(SECRET, key)
            return str(secret.get("type") or ""), secret_data(secret)
        except NotFound as error:
            raise auth_failed(f"secret {str(key)!r} not found") from error
        except (FluvialError, ValueError) as error:
            raise auth_failed(f"failed to get the Secret of spec.secretRef: {error}") from error


def _credentials(kind: str, values: Mapping[str, bytes], repository: Repository) -> Credentials:
    if kind in _PULL_SECRETS:
        found = parse_pull_secret(kind, values).find(repository)
        if not found:
            raise InvalidCredentials(f"it has no entry for {repository.registry}")
        return found
    if not values.keys() & {"username", "password"}:
        return Credentials()
    texts = []
    for name in ("username", "password"):
        try:
            texts.append(values.get(name, b"").decode())
        except UnicodeDecodeError:
            raise InvalidCredentials(f"{name!r} is not text") from None
        if not texts[-1] or not texts[-1].isprintable():
            raise InvalidCredentials(f"{name!r} is missing or cannot be sent")
    return Credentials(texts[0], texts[1])


def _tls(values: Mapping[str, bytes], field: str) -> Tls:
    try:
        return tls_from_secret(values)
    except InvalidTls as error:
        raise auth_failed(f"the Secret of {field} cannot be used for TLS: {error}") from error
