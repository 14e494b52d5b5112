"""notification-controller's command line."""

from __future__ import annotations

import pytest

from fluvial.runtime.flags import FlagError
from notification_controller.app import read_options, settings_of


@pytest.mark.parametrize(
    "flag",
    [
        "--events-addr=http://notification-controller",
        "--rate-limit-interval=often",
        "--watch-label-selector=a=b",
        "--token-cache-max-size=-1",
        "--token-cache-max-duration=61m",
        "--default-service-account=default",  # without the gate
        "--receiverAddr=nowhere",
        "--trusted-proxies=ingress",
        "--trusted-proxies=10.0.0.1/8",
    ],
)
def test_what_would_do_nothing_is_refused(flag: str) -> None:
    with pytest.raises(FlagError):
        read_options([flag], {})


def test_flags_become_settings() -> None:
    flags = [
        "--concurrent=7",
        "--no-cross-namespace-refs",
        "--watch-all-namespaces=false",
        "--min-retry-delay=1s",
        "--max-retry-delay=2s",
        "--watch-configs-label-selector=owner!=helm",
        "--receiverAddr=:8888",
        "--events-addr=:7777",
        "--rate-limit-interval=1m",
        "--trusted-proxies=10.0.0.0/8,fd00::/8",
    ]
    options = read_options(flags, {"RUNTIME_NAMESPACE": "flux-system"})
    settings = settings_of(options)

    assert options.receiver_addr == ":8888"
    assert options.events_addr == ":7777"
    assert options.common.events_addr == "", "it does not tell itself"
    assert settings.event_interval == 60.0
    assert [str(network) for network in settings.trusted_proxies] == ["10.0.0.0/8", "fd00::/8"]
    assert settings.concurrency == 7
    assert not settings.cross_namespace
    assert settings.namespace == "flux-system"
    assert settings.retry_delays == (1.0, 2.0)
    assert settings.config_selector == "owner!=helm"


def test_watching_secrets_can_be_switched_off() -> None:
    options = read_options(["--feature-gates=DisableConfigWatchers=true"], {})

    assert settings_of(options).config_selector == ""
    assert read_options([], {}).receiver_addr == ":9292"
    assert read_options([], {}).trusted_proxies == ()


def test_identities_of_objects_are_behind_a_gate() -> None:
    gate = "--feature-gates=ObjectLevelWorkloadIdentity=true"
    flags = ["--default-service-account=default", "--token-cache-max-size=7"]
    flags += ["--token-cache-max-duration=5m", gate]
    rules = settings_of(read_options(flags, {"AZURE_CLIENT_ID": "client"})).identities
    usual = settings_of(read_options([], {})).identities

    assert (rules.object_level, rules.default_account) == (True, "default")
    assert (rules.cache_size, rules.cache_seconds) == (7, 300.0)
    assert rules.cloud.azure.client_id == "client"
    assert (usual.object_level, usual.default_account) == (False, "")
    assert (usual.cache_size, usual.cache_seconds) == (100, 3600.0)
