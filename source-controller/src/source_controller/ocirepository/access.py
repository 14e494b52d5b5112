"""From the Secrets and the ServiceAccount that an object names to its access to the registry."""

from __future__ import annotations

import asyncio

from fluvial.api.source_oci import OCIRepositorySpec
from fluvial.cloud.errors import CloudError, IdentityDisabled
from fluvial.cloud.identities import CloudIdentities
from fluvial.cloud.registries import RegistryProvider
from fluvial.errors import FluvialError
from fluvial.kube.client import KubeClient
from fluvial.kube.errors import NotFound
from fluvial.kube.kinds import SECRET, SERVICE_ACCOUNT
from fluvial.kube.secrets import secret_data
from fluvial.net.tls import InvalidTls, Tls, tls_from_secret
from fluvial.objects import JsonObject, ObjectKey
from source_controller.oci.access import Access
from source_controller.oci.cloud import cloud_access
from source_controller.oci.dockerconfig import Keyring, parse_pull_secret
from source_controller.oci.errors import InvalidCredentials
from source_controller.oci.reference import Repository
from source_controller.source import reasons
from source_controller.source.proxies import read_proxy
from source_controller.source.run import StepFailed
from source_controller.source.secrets import auth_failed, read_secret

__all__ = ["AccessStep"]

_PULL_SECRETS = ("kubernetes.io/dockerconfigjson", "kubernetes.io/dockercfg")
_MAX_PULL_SECRETS = 20


class AccessStep:
    """Reads everything that decides about trust, live, in the object's own namespace.

    Args:
        client: under the controller's own identity.
        identities: for the providers' registries.

    """

    def __init__(self, client: KubeClient, identities: CloudIdentities) -> None:
        self._client = client
        self._identities = identities

    async def read(self, namespace: str, spec: OCIRepositorySpec, repository: Repository) -> Access:
        """The access to a repository.

        A provider logs in only where neither the object nor its service account names a pull
        secret.

        Args:
            namespace: of the object.
            spec: of the object.
            repository: whose credentials are looked for.

        Raises:
            StepFailed: ``AuthenticationFailed``: something is missing or malformed, or the
                provider refuses; ``FeatureGateDisabled``.

        """
        try:
            secrets = await _pull_secrets(self._client, namespace, spec)
            keyring = sum(map(_entries, secrets), Keyring())
            certificate, key, ca = await _certificates(self._client, namespace, spec)
            proxy = await read_proxy(self._client, namespace, spec.proxy_secret_ref)
        except InvalidCredentials as error:
            raise auth_failed(str(error)) from error
        access = Access(
            credentials=keyring.find(repository),
            ca=ca,
            certificate=certificate,
            key=key,
            proxy=proxy,
            insecure=spec.insecure,
        )
        if secrets or spec.provider in {None, "generic"}:
            return access
        return await self._by_provider(namespace, spec, repository, access)

    async def _by_provider(
        self, namespace: str, spec: OCIRepositorySpec, repository: Repository, access: Access
    ) -> Access:
        provider: RegistryProvider = spec.provider  # type: ignore[assignment]  # not generic
        try:
            identity = self._identities.identity_of(namespace, spec.service_account_name)
            async with asyncio.timeout(spec.timeout_seconds):
                return await cloud_access(
                    self._identities,
                    provider,
                    repository=repository,
                    access=access,
                    identity=identity,
                )
        except IdentityDisabled as error:
            raise StepFailed(
                "", reasons.FEATURE_GATE_DISABLED, str(error), kind="stalled"
            ) from error
        except CloudError as error:
            raise auth_failed(f"failed to log in by the provider {provider!r}: {error}") from error
        except TimeoutError as error:
            raise auth_failed(
                f"the provider {provider!r} gave no credentials within {spec.timeout}"
            ) from error


async def _pull_secrets(
    client: KubeClient, namespace: str, spec: OCIRepositorySpec
) -> list[JsonObject]:
    """The Secret of the object, then those of its service account."""
    found: list[JsonObject] = []
    if spec.secret_ref is not None:
        secret = await _secret(client, ObjectKey(namespace, spec.secret_ref.name))
        if secret.get("type") not in _PULL_SECRETS:
            raise auth_failed(
                f"the Secret {spec.secret_ref.name!r} of spec.secretRef must be of type"
                f" {_PULL_SECRETS[0]}"
            )
        found.append(secret)
    if spec.service_account_name:
        account = await _service_account(client, ObjectKey(namespace, spec.service_account_name))
        for reference in (account.get("imagePullSecrets") or [])[:_MAX_PULL_SECRETS]:
            name = str(reference.get("name") or "")
            found.append(await _secret(client, ObjectKey(namespace, name)))
    return found


def _entries(secret: JsonObject) -> Keyring:
    try:
        return parse_pull_secret(str(secret.get("type") or ""), secret_data(secret))
    except ValueError as error:
        raise InvalidCredentials(str(error)) from error


async def _secret(client: KubeClient, key: ObjectKey) -> JsonObject:
    try:
        return await client.get(SECRET, key)
    except NotFound as error:
        raise auth_failed(f"secret {str(key)!r} not found") from error
    except FluvialError as error:
        raise auth_failed(f"failed to get the Secret {str(key)!r}: {error}") from error


async def _service_account(client: KubeClient, key: ObjectKey) -> JsonObject:
    try:
        return await client.get(SERVICE_ACCOUNT, key)
    except NotFound as error:
        raise auth_failed(f"service account {str(key)!r} not found") from error
    except FluvialError as error:
        raise auth_failed(f"failed to get the ServiceAccount {str(key)!r}: {error}") from error


async def _certificates(
    client: KubeClient, namespace: str, spec: OCIRepositorySpec
) -> tuple[str, str, str]:
    if spec.cert_secret_ref is None:
        return "", "", ""
    field = "spec.certSecretRef"
    key = ObjectKey(namespace, spec.cert_secret_ref.name)
    try:
        found = tls_from_secret(await read_secret(client, key, field=field))
    except InvalidTls as error:
        raise auth_failed(f"the Secret of {field} cannot be used for TLS: {error}") from error
    if found == Tls():
        raise auth_failed(f"the Secret of {field} needs 'tls.crt' and 'tls.key', or 'ca.crt'")
    return found.certificate, found.key, found.ca
