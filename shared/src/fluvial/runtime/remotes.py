"""What a controller needs to reach the clusters that ConfigMaps describe, put together.

``CloudEnvironment.read`` is for the part of an app that reads the environment, ``remote_clusters`` for
the part that assembles, ``configs_of_cluster`` for the index of what wakes an object.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Self

from fluvial.cloud.clusters import CloudClusters
from fluvial.cloud.http import CloudHttp
from fluvial.cloud.settings import CloudSettings
from fluvial.kube import kinds
from fluvial.net.environment import NO_PROXIES, EnvironmentProxies
from fluvial.net.policy import AddressPolicy
from fluvial.objects import JsonObject, ObjectKey
from fluvial.runtime.flags import FlagError
from fluvial.runtime.identities import IdentityRules
from fluvial.runtime.manager import Manager
from fluvial.runtime.wiring import config_id

__all__ = ["CloudEnvironment", "configs_of_cluster", "remote_clusters"]


@dataclass(frozen=True, slots=True)
class CloudEnvironment:
    """What the environment says about clouds.

    Attributes:
        settings: the controller's own identities.
        proxies: on the way to their public services.

    """

    settings: CloudSettings = field(default_factory=CloudSettings)
    proxies: EnvironmentProxies = NO_PROXIES

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Self:
        """From the environment of the process.

        Raises:
            FlagError: it names a proxy that is none.

        """
        try:
            proxies = EnvironmentProxies.read(environ)
        except ValueError as error:
            raise FlagError(str(error)) from error
        return cls(CloudSettings.read(environ), proxies)


async def remote_clusters(manager: Manager, environment: CloudEnvironment) -> CloudClusters:
    """The described clusters of a controller, by its options: gate, default account, token cache.

    Args:
        manager: started.
        environment: see there.

    Raises:
        DialFailed: the API server's name does not resolve.

    """
    options = manager.options
    dialer = await manager.dialer(proxies=environment.proxies)
    account = options.default_kubeconfig_service_account
    identities = IdentityRules.of(
        options, environment.settings, default_account=account
    ).identities(CloudHttp(dialer), manager.client, clock=manager.clock, metrics=manager.metrics)
    # API servers are what is looked for here, this cluster's own among them: tokens decide.
    return CloudClusters(
        identities, dialer.under(AddressPolicy.build(allowed=options.allow_outbound))
    )


def configs_of_cluster(namespace: str, reference: JsonObject | None) -> Iterator[str]:
    """Ids of what leads an object to another cluster.

    Args:
        namespace: of the object.
        reference: its ``spec.kubeConfig``.

    """
    for part, resource in (("secretRef", kinds.SECRET), ("configMapRef", kinds.CONFIG_MAP)):
        name = ((reference or {}).get(part) or {}).get("name")
        if name:
            yield config_id(resource.kind, ObjectKey(namespace, str(name)))
