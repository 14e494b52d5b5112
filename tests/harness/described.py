"""Clusters that ConfigMaps describe, as a controller under test finds them.

``Trusting`` is another cluster that takes the tokens of this one, as an API server does whose
authentication configuration names this cluster as an issuer, with its own address as the audience.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from devcluster import DevCluster, Options
from devcluster.identity import User
from fluvial.clock import RealClock
from fluvial.cloud.clusters import CloudClusters
from fluvial.cloud.http import CloudHttp
from fluvial.cloud.identities import CloudIdentities
from fluvial.kube import config, kinds
from fluvial.kube.client import KubeClient
from fluvial.kube.errors import NotFound
from fluvial.kube.resource import Resource
from fluvial.objects import JsonObject, ObjectKey
from harness.outbound import loopback4_dialer

__all__ = ["MakeClusters", "Trusting", "described_clusters", "description"]

MakeClusters = Callable[[KubeClient], CloudClusters]


def described_clusters(client: KubeClient, *, object_level: bool = True) -> CloudClusters:
    """With the feature gate on, and IPv4's loopback allowed where these clusters are."""
    dialer = loopback4_dialer()
    identities = CloudIdentities(
        CloudHttp(dialer), client, clock=RealClock(), object_level=object_level
    )
    return CloudClusters(identities, dialer)


def description(namespace: str, **data: str) -> JsonObject:
    """A ConfigMap named ``remote``, labelled so that its changes wake; ``ca`` is ``ca.crt``."""
    names = {"ca": "ca.crt", "account": "serviceAccountName"}
    labels = {"reconcile.fluxcd.io/watch": "Enabled"}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "remote", "namespace": namespace, "labels": labels},
        "data": {names.get(name, name): text for name, text in data.items()},
    }


@dataclass(slots=True)
class Trusting:
    """The other cluster.

    Attributes:
        client: its admin's.
        seen: tokens of the first cluster that it was shown, in order.
        refused: those that it takes no more.

    """

    cluster: DevCluster
    client: KubeClient
    seen: list[str] = field(default_factory=list, repr=False)
    refused: set[str] = field(default_factory=set, repr=False)

    @classmethod
    @asynccontextmanager
    async def run(
        cls, folder: Path, home: DevCluster, *, namespace: str
    ) -> AsyncIterator[Trusting]:
        """A cluster that trusts ``home``, and has a namespace."""
        async with AsyncExitStack() as stack:
            cluster = await stack.enter_async_context(DevCluster(Options()))
            path = folder / "trusting-kubeconfig"
            path.write_bytes(orjson.dumps(cluster.kubeconfig()))
            client = await stack.enter_async_context(
                await config.load_client(kubeconfig=path, user_agent="test")
            )
            space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
            await client.create(kinds.NAMESPACE, space, field_manager="test")
            self = cls(cluster, client)
            self._trust(home)
            yield self

    def _trust(self, home: DevCluster) -> None:
        own = self.cluster.authenticator.token_user

        def token_user(token: str, *, audiences: tuple[str, ...]) -> User | None:
            found = own(token, audiences=audiences)
            if found is not None:
                return found
            found = home.authenticator.token_user(token, audiences=(self.cluster.url,))
            if found is None or token in self.refused:
                return None
            if token not in self.seen:
                self.seen.append(token)
            return found

        self.cluster.authenticator.token_user = token_user  # type: ignore[method-assign]

    def described(self, namespace: str, **data: str) -> JsonObject:
        """The ConfigMap that leads here, as the service account ``remote``."""
        usual = {
            "provider": "generic",
            "address": self.cluster.url,
            "ca": self.cluster.ca_pem.decode(),
            "account": "remote",
        }
        return description(namespace, **{**usual, **data})

    async def exists(self, resource: Resource, namespace: str, name: str) -> bool:
        """Whether an object is there."""
        try:
            await self.client.get(resource, ObjectKey(namespace, name))
        except NotFound:
            return False
        return True
