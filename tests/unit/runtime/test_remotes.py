"""The described clusters of a controller follow its options."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import cast

import pytest

from clouds.kube import FakeAccounts
from fluvial.clock import Clock, RealClock
from fluvial.cloud.clusters import CloudClusters
from fluvial.cloud.errors import CloudError
from fluvial.kube.client import KubeClient
from fluvial.kube.described import read_description
from fluvial.net.dialer import Dialer
from fluvial.net.environment import NO_PROXIES, EnvironmentProxies
from fluvial.net.errors import AddressDenied
from fluvial.net.policy import AddressPolicy, parse_networks
from fluvial.runtime.flags import FlagError
from fluvial.runtime.manager import Manager
from fluvial.runtime.metrics import Metrics
from fluvial.runtime.options import IDENTITY_GATE, CommonOptions
from fluvial.runtime.remotes import CloudEnvironment, configs_of_cluster, remote_clusters

API_SERVER = "10.96.0.1"
GENERIC = {"provider": "generic", "address": "https://cluster.example"}
OFF = CommonOptions(gates={IDENTITY_GATE: False})
ON = CommonOptions(gates={IDENTITY_GATE: True}, default_kubeconfig_service_account="usual")


@dataclass
class _Manager:
    """What of a manager is looked at."""

    options: CommonOptions
    accounts: FakeAccounts = field(default_factory=FakeAccounts)
    metrics: Metrics = field(default_factory=Metrics)
    clock: Clock = field(default_factory=RealClock)

    @property
    def client(self) -> KubeClient:
        return self.accounts.client

    async def dialer(self, *, proxies: EnvironmentProxies = NO_PROXIES) -> Dialer:
        policy = AddressPolicy.build(
            allowed=self.options.allow_outbound, api_servers=[(API_SERVER, 443)]
        )
        return Dialer(policy, proxies=proxies)


async def make(manager: _Manager) -> CloudClusters:
    return await remote_clusters(cast("Manager", manager), CloudEnvironment())


async def test_without_the_gate_no_account_is_used() -> None:
    found = await make(_Manager(OFF))
    with pytest.raises(CloudError, match="serviceAccountName: needs the feature gate"):
        await found.token(read_description("team", {**GENERIC, "serviceAccountName": "a"}))


async def test_with_it_the_default_account_is_that_of_the_flag() -> None:
    found = await make(_Manager(ON))
    with pytest.raises(CloudError, match="'team/usual' not found"):
        await found.token(read_description("team", GENERIC))


async def test_addresses_are_denied_but_those_of_api_servers_and_of_the_flag() -> None:
    usual = (await make(_Manager(OFF))).dialer.policy
    more = replace(OFF, allow_outbound=parse_networks("127.0.0.0/8"))
    allowing = (await make(_Manager(more))).dialer.policy
    for address in ("127.0.0.1", "169.254.169.254", "::1"):
        with pytest.raises(AddressDenied):
            usual.check(address, 443)
    usual.check(API_SERVER, 443)
    allowing.check("127.0.0.1", 443)
    with pytest.raises(AddressDenied):
        allowing.check("::1", 443)


async def test_the_cache_is_counted() -> None:
    manager = _Manager(ON)
    found = await make(manager)
    with pytest.raises(CloudError):
        await found.token(read_description("team", GENERIC))

    assert manager.metrics.registry.get_sample_value("gotk_token_cached_items") is not None


def test_a_proxy_that_is_none_is_refused_at_the_start() -> None:
    with pytest.raises(FlagError, match="HTTPS_PROXY"):
        CloudEnvironment.read({"HTTPS_PROXY": "ftp://x:y"})


@pytest.mark.parametrize(
    ("reference", "ids"),
    [
        (None, []),
        ({}, []),
        ({"secretRef": {"name": "a"}}, ["Secret/team/a"]),
        ({"configMapRef": {"name": "a"}}, ["ConfigMap/team/a"]),
    ],
)
def test_what_leads_to_a_cluster_wakes(reference: dict[str, object] | None, ids: list[str]) -> None:
    assert [*configs_of_cluster("team", reference)] == ids
