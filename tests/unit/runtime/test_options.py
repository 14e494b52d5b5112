"""The common options: Flux' names, defaults, refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fluvial.runtime.flags import FlagError, FlagSet
from fluvial.runtime.options import (
    IDENTITY_GATE,
    CommonOptions,
    Gate,
    common_options,
    read_common_options,
)

GATES = {
    "CacheSecretsAndConfigMaps": Gate(),
    "StrictPostBuildSubstitutions": Gate(default=True),
    "DirectSourceFetch": Gate(settable=False),
    IDENTITY_GATE: Gate(),
}


def read(*arguments: str, environ: dict[str, str] | None = None, **how: Any) -> CommonOptions:
    flags = FlagSet("kustomize-controller")
    environ = {"RUNTIME_NAMESPACE": "flux-system"} if environ is None else environ
    common_options(flags, environ=environ, **how)
    return read_common_options(flags.parse(arguments), gates=GATES, environ=environ)


def test_defaults_are_those_of_flux() -> None:
    gates = {name: gate.default for name, gate in GATES.items()}

    assert read() == CommonOptions(gates=gates)
    assert read(concurrent=2).concurrent == 2


def test_every_flag_reaches_the_options() -> None:
    options = read(
        "--metrics-addr=127.0.0.1:0",
        "--health-addr=127.0.0.1:1",
        "--events-addr=http://nc/",
        "--kubeconfig=/a:/b",
        "--kube-api-qps=10",
        "--kube-api-burst=20",
        "--log-encoding=console",
        "--log-level=trace",
        "--enable-leader-election",
        "--leader-election-release-on-cancel=false",
        "--leader-election-lease-duration=4s",
        "--leader-election-renew-deadline=3s",
        "--leader-election-retry-period=1s",
        "--min-retry-delay=1s",
        "--max-retry-delay=2m",
        "--concurrent=9",
        "--requeue-dependency=5s",
        "--http-retry=3",
        "--default-service-account=sa",
        "--default-kubeconfig-service-account=ksa",
        "--no-cross-namespace-refs",
        "--insecure-kubeconfig-exec",
        "--insecure-kubeconfig-tls",
        "--watch-all-namespaces=false",
        "--watch-label-selector=shard=1",
        "--watch-configs-label-selector=x=y",
        "--interval-jitter-percentage=0",
        "--token-cache-max-size=1",
        "--token-cache-max-duration=30m",
        "--override-manager=a",
        "--override-manager=b",
        f"--feature-gates=CacheSecretsAndConfigMaps=true,{IDENTITY_GATE}=true",
        environ={"RUNTIME_NAMESPACE": "ns"},
    )

    assert options == CommonOptions(
        metrics_addr="127.0.0.1:0",
        health_addr="127.0.0.1:1",
        events_addr="http://nc/",
        kubeconfig=(Path("/a"), Path("/b")),
        kube_api_qps=10,
        kube_api_burst=20,
        log_encoding="console",
        log_level="trace",
        enable_leader_election=True,
        leader_election_release_on_cancel=False,
        leader_election_lease_duration=4,
        leader_election_renew_deadline=3,
        leader_election_retry_period=1,
        min_retry_delay=1,
        max_retry_delay=120,
        concurrent=9,
        requeue_dependency=5,
        http_retry=3,
        default_service_account="sa",
        default_kubeconfig_service_account="ksa",
        no_cross_namespace_refs=True,
        insecure_kubeconfig_exec=True,
        insecure_kubeconfig_tls=True,
        watch_all_namespaces=False,
        watch_label_selector="shard=1",
        watch_configs_label_selector="x=y",
        interval_jitter_percentage=0,
        token_cache_max_size=1,
        token_cache_max_duration=1800,
        override_managers=("a", "b"),
        gates={name: gate.default for name, gate in GATES.items()}
        | {"CacheSecretsAndConfigMaps": True, IDENTITY_GATE: True},
        runtime_namespace="ns",
    )
    assert options.watch_namespace == "ns"


def test_the_environment_gives_defaults_that_flags_override() -> None:
    environ = {
        "METRICS_ADDR": ":9999",
        "EVENTS_ADDR": "http://nc/",
        "KUBECONFIG": "/from/env",
        "RUNTIME_NAMESPACE": "ns",
    }
    from_environment = read(environ=environ)
    from_flags = read("--metrics-addr=:1", "--events-addr=", environ=environ)

    assert from_environment.metrics_addr == ":9999"
    assert from_environment.events_addr == "http://nc/"
    assert from_environment.kubeconfig == (Path("/from/env"),)
    assert from_environment.runtime_namespace == "ns"
    assert from_environment.watch_namespace == ""
    assert (from_flags.metrics_addr, from_flags.events_addr) == (":1", "")


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--feature-gates=Nope=true", "unknown feature gate 'Nope'"),
        ("--feature-gates=CacheSecretsAndConfigMaps", "must be set to true or false"),
        ("--feature-gates=CacheSecretsAndConfigMaps=yes", "not 'yes'"),
        ("--feature-gates=DirectSourceFetch=true", "not supported yet"),
        ("--interval-jitter-percentage=100", "less than 100"),
        ("--interval-jitter-percentage=-1", "at least 0"),
        ("--default-kubeconfig-service-account=sa", "inconsistent configuration"),
        ("--leader-election-renew-deadline=35s", "must be longer"),
        ("--leader-election-retry-period=30s", "must be longer"),
        ("--min-retry-delay=16m", "must not be longer"),
        ("--token-cache-max-duration=2h", "1h"),
        ("--concurrent=0", "at least 1"),
        ("--log-level=warn", "must be one of"),
    ],
)
def test_refused(argument: str, message: str) -> None:
    with pytest.raises(FlagError) as caught:
        read(argument)

    assert message in str(caught.value)


def test_networks_that_may_be_reached_are_read() -> None:
    options = read("--allow-outbound=127.0.0.0/8,::1", "--allow-outbound=10.1.0.0/16")

    assert [str(network) for network in options.allow_outbound] == [
        "127.0.0.0/8",
        "::1/128",
        "10.1.0.0/16",
    ]
    with pytest.raises(FlagError, match="'localhost' is not a network"):
        read("--allow-outbound=localhost")


def test_a_gate_may_be_set_to_the_only_supported_value() -> None:
    assert read("--feature-gates=DirectSourceFetch=false").gates["DirectSourceFetch"] is False


def test_one_namespace_without_saying_which_is_refused() -> None:
    with pytest.raises(FlagError, match="RUNTIME_NAMESPACE"):
        read("--watch-all-namespaces=false", environ={})


def test_what_a_controller_does_not_have_is_refused() -> None:
    assert read(omit=("http-retry",)).http_retry == 9
    with pytest.raises(FlagError, match="unknown flag: --http-retry"):
        read("--http-retry=1", omit=("http-retry",))
