"""Flags and what follows from them."""

from __future__ import annotations

from pathlib import Path

import pytest

from fluvial.runtime.flags import FlagError
from source_controller.app import Options, advertised_address, read_options, settings_of


def options(*arguments: str, **environ: str) -> Options:
    return read_options(arguments, environ)


def test_defaults_are_flux_own() -> None:
    read = options()

    assert read.storage_path == Path("/data")
    assert read.storage_addr == ":9090"
    assert (read.retention.ttl, read.retention.records) == (60.0, 2)
    assert read.digest_algorithm == "sha256"
    assert read.common.concurrent == 2
    assert read.max_index_bytes == settings_of(read).max_index_bytes == 52428800
    assert read.max_chart_bytes == settings_of(read).max_chart_bytes == 10485760
    assert read.max_chart_file_bytes == settings_of(read).max_chart_file_bytes == 5242880
    assert read.common.requeue_dependency == 30.0


def test_environment_gives_defaults_and_flags_win() -> None:
    environ = {
        "STORAGE_PATH": "/env",
        "STORAGE_ADDRESS": "127.0.0.1:1",
        "STORAGE_ADV_ADDR": "adv:1",
    }
    read = options("--storage-path=/flag", **environ)

    assert read.storage_path == Path("/flag")
    assert (read.storage_addr, read.storage_adv_addr) == ("127.0.0.1:1", "adv:1")


@pytest.mark.parametrize(
    ("storage_addr", "bound", "expected"),
    [
        (":9090", "0.0.0.0:9090", "localhost:9090"),
        ("0.0.0.0:9090", "0.0.0.0:9090", "pod-1:9090"),
        ("127.0.0.1:0", "127.0.0.1:41234", "127.0.0.1:41234"),
        ("[::]:9090", "[::]:9090", "localhost:9090"),
    ],
)
def test_the_advertised_address_is_derived(storage_addr: str, bound: str, expected: str) -> None:
    read = options(f"--storage-addr={storage_addr}", HOSTNAME="pod-1")

    assert advertised_address(read, bound) == expected


def test_the_advertised_address_can_be_given() -> None:
    read = options("--storage-adv-addr=source-controller.flux-system.svc.cluster.local.")

    assert advertised_address(read, "0.0.0.0:9090").startswith("source-controller.flux-system")


@pytest.mark.parametrize(
    "argument",
    [
        "--artifact-digest-algo=md5",
        "--artifact-digest-algo=sha1",
        "--artifact-retention-records=0",
        "--helm-index-max-size=0",
        "--helm-chart-max-size=0",
        "--helm-chart-file-max-size=0",
        "--unknown",
        "--feature-gates=OptimizedGitClones=true",
        "--default-service-account=x",
    ],
)
def test_what_is_not_supported_is_refused(argument: str) -> None:
    with pytest.raises(FlagError):
        options(argument)


def test_the_interval_is_spread_by_the_percentage() -> None:
    jitter = settings_of(options("--interval-jitter-percentage=10")).jitter
    values = [jitter(100.0) for _ in range(200)]

    assert all(90 <= value <= 110 for value in values)
    assert len(set(values)) > 100
    assert settings_of(options("--interval-jitter-percentage=0")).jitter(100.0) == 100.0


def test_the_operators_proxies_are_read_from_the_environment() -> None:
    read = options(HTTPS_PROXY="http://proxy.example:3128", NO_PROXY=".cluster.local")
    found = read.proxies.choose("https", "git.example", 443)

    assert found is not None
    assert found.host == "proxy.example"
    assert read.proxies.choose("https", "registry.default.svc.cluster.local", 443) is None


def test_a_proxy_that_cannot_be_used_ends_the_start_without_its_password() -> None:
    with pytest.raises(FlagError, match="HTTPS_PROXY") as caught:
        options(HTTPS_PROXY="ftp://me:topsecret@proxy.example")

    assert "topsecret" not in str(caught.value)


def test_generators_follow_the_flags() -> None:
    settings = settings_of(options("--no-cross-namespace-refs", "--http-retry=3"))

    assert not settings.cross_namespace
    assert settings.http_retry == 3
    assert settings_of(options()).cross_namespace


def test_identities_of_objects_are_behind_their_gate() -> None:
    gate = "--feature-gates=ObjectLevelWorkloadIdentity=true"
    settings = settings_of(
        options(
            gate,
            "--default-service-account=default",
            "--token-cache-max-size=5",
            "--token-cache-max-duration=10m",
        )
    )

    rules = settings.identities
    assert (rules.object_level, rules.default_account) == (True, "default")
    assert (rules.cache_size, rules.cache_seconds) == (5, 600.0)
    assert not settings_of(options()).identities.object_level
    with pytest.raises(FlagError, match="needs the feature gate"):
        options("--default-service-account=default")
    with pytest.raises(FlagError, match="1h"):
        options("--token-cache-max-duration=2h")


def test_the_controllers_cloud_identities_are_of_the_environment() -> None:
    cloud = options(
        AWS_ACCESS_KEY_ID="AKIA",
        AWS_SECRET_ACCESS_KEY="secret-in-clear",
        AWS_DEFAULT_REGION="eu-west-1",
        AZURE_CLIENT_ID="c1",
        AZURE_CLIENT_SECRET="secret-in-clear",
        GOOGLE_APPLICATION_CREDENTIALS="/var/run/key.json",
    ).cloud

    assert (cloud.aws.access_key, cloud.aws.region) == ("AKIA", "eu-west-1")
    assert (cloud.azure.client_id, cloud.azure.tenant_id) == ("c1", "")
    assert cloud.gcp.credentials_file == "/var/run/key.json"
    assert "secret-in-clear" not in repr(cloud)
