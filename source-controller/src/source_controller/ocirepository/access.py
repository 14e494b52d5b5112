"""From the Secrets and the ServiceAccount that an object names to its access to the registry."""

from __future__ import annotations

from fluvial.api.source_oci import OCIRepositorySpec
from fluvial.errors import FluvialError
from fluvial.kube.client import KubeClient
from fluvial.kube.errors import NotFound
from fluvial.kube.kinds import SECRET, SERVICE_ACCOUNT
from fluvial.objects import JsonObject, ObjectKey
from source_controller.oci.access import Access
from source_controller.oci.dockerconfig import Keyring, parse_pull_secret
from source_controller.oci.errors import InvalidCredentials
from source_controller.oci.reference import Repository
from source_controller.source.proxies import read_proxy
from source_controller.source.secrets import auth_failed, read_secret, secret_data
from source_controller.web.access import Tls
from source_controller.web.tls import InvalidTls, tls_from_secret

__all__ = ["read_access"]

_PULL_SECRETS = ("kubernetes.io/dockerconfigjson", "kubernetes.io/dockercfg")
_MAX_PULL_SECRETS = 20


async def read_access(
    client: KubeClient, namespace: str, spec: OCIRepositorySpec, repository: Repository
) -> Access:
    """Read everything that decides about trust, live, in the object's own namespace.

    Args:
        client: under the controller's own identity.
        namespace: of the object.
        spec: of the object.
        repository: whose credentials are looked for.

    Raises:
        StepFailed: ``AuthenticationFailed``: something is missing or malformed.

    """
    try:
        keyring = await _keyring(client, namespace, spec)
        certificate, key, ca = await _certificates(client, namespace, spec)
        proxy = await read_proxy(client, namespace, spec.proxy_secret_ref)
    except InvalidCredentials as error:
        raise auth_failed(str(error)) from error
    return Access(
        credentials=keyring.find(repository),
        ca=ca,
        certificate=certificate,
        key=key,
        proxy=proxy,
        insecure=spec.insecure,
    )


async def _keyring(client: KubeClient, namespace: str, spec: OCIRepositorySpec) -> Keyring:
    keyring = Keyring()
    if spec.secret_ref is not None:
        secret = await _secret(client, ObjectKey(namespace, spec.secret_ref.name))
        if secret.get("type") not in _PULL_SECRETS:
            raise auth_failed(
                f"the Secret {spec.secret_ref.name!r} of spec.secretRef must be of type"
                f" {_PULL_SECRETS[0]}"
            )
        keyring += _entries(secret)
    if spec.service_account_name:
        account = await _service_account(client, ObjectKey(namespace, spec.service_account_name))
        for reference in (account.get("imagePullSecrets") or [])[:_MAX_PULL_SECRETS]:
            name = str(reference.get("name") or "")
            keyring += _entries(await _secret(client, ObjectKey(namespace, name)))
    return keyring


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
