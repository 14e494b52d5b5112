"""From a cloud's identity to what opens one of its registries."""

from __future__ import annotations

from dataclasses import replace

from fluvial.cloud.errors import InvalidIdentity
from fluvial.cloud.identities import CloudIdentities
from fluvial.cloud.model import Identity, ServiceAccount, Way
from fluvial.cloud.registries import RegistryProvider, check_registry, registry_login
from source_controller.oci.access import Access
from source_controller.oci.dockerconfig import Credentials
from source_controller.oci.reference import Repository

__all__ = ["cloud_access"]


async def cloud_access(
    identities: CloudIdentities,
    provider: RegistryProvider,
    *,
    repository: Repository,
    access: Access,
    identity: Identity,
) -> Access:
    """The access with a cloud's credentials.

    They are shown to the cloud's own registries only, and over verified TLS. Those of the
    controller itself are not shown to a server that only an object's CA vouches for: whoever
    names the CA could be that server.

    Args:
        identities: of the process.
        provider: of the cloud.
        repository: whose registry is logged in to.
        access: trust and proxy of the object, without credentials.
        identity: that logs in.

    Raises:
        CloudError: the host is not the provider's, the access is not safe enough for it, or the
            login failed; see ``fluvial.cloud.errors``.

    """
    check_registry(provider, repository.registry)
    if access.insecure:
        raise InvalidIdentity(
            "spec.insecure and a provider exclude each other: its credentials need verified TLS"
        )
    name = str(identity.key) if isinstance(identity, ServiceAccount) else ""
    if access.ca and not name:
        raise InvalidIdentity(
            "'ca.crt' of spec.certSecretRef and the controller's own cloud identity exclude each"
            " other: use spec.serviceAccountName, or add the CA to the controller's trust"
        )
    login = await registry_login(
        identities,
        provider,
        host=repository.registry,
        identity=identity,
        way=Way(access.proxy, access.ca),
    )
    return replace(
        access,
        credentials=Credentials(login.username, login.password, identity_token=login.refresh_token),
        identity=f"{provider}:{name}",
    )
