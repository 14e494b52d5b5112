"""helm-controller's command line."""

from __future__ import annotations

import pytest

from fluvial.runtime.flags import FlagError
from helm_controller.app import read_options, settings_of


@pytest.mark.parametrize(
    "flag",
    [
        "--token-cache-max-duration=2h",
        "--cache-path=/cache",
        "--snapshot-digest-algo=md5",
        "--default-kubeconfig-service-account=x",
        "--feature-gates=AllowDNSLookups=true",
        "--feature-gates=Nonsense=true",
    ],
)
def test_what_would_do_nothing_is_refused(flag: str) -> None:
    with pytest.raises(FlagError):
        read_options([flag], {})


def test_flags_become_settings() -> None:
    flags = [
        "--concurrent=7",
        "--no-cross-namespace-refs",
        "--default-service-account=default",
        "--requeue-dependency=5s",
        "--graceful-shutdown-timeout=1m",
        "--snapshot-digest-algo=sha512",
        "--feature-gates=ExternalArtifact=true,DisableChartDigestTracking=true",
        "--feature-gates=DefaultToRetryOnFailure=true,AdditiveCELDependencyCheck=true",
        "--feature-gates=CancelHealthCheckOnNewRevision=true,UseHelm3Defaults=true",
        "--watch-label-selector=shard=one",
        "--interval-jitter-percentage=0",
        "--drift-watch-kinds=7",
        "--drift-watch-objects=70",
    ]
    options = read_options(flags, {"SOURCE_CONTROLLER_LOCALHOST": "localhost:9090"})
    settings = settings_of(options)

    assert (options.grace, options.artifact_host) == (60.0, "localhost:9090")
    assert settings.concurrency == 7
    assert (settings.drift.kinds, settings.drift.objects) == (7, 70)
    assert not settings.cross_namespace
    assert settings.tenants.default_service_account == "default"
    assert settings.requeue_dependency == 5.0
    assert settings.snapshot_digest == "sha512"
    assert settings.external_artifacts
    assert settings.additive_expressions
    assert settings.retries_by_default
    assert settings.cancels_on_new_revision
    assert settings.helm3_defaults
    assert not settings.tracks_digests
    assert settings.label_selector == "shard=one"
    assert settings.jitter(10.0) == 10.0


def test_configs_are_watched_unless_it_is_switched_off() -> None:
    watched = settings_of(read_options([], {}))
    unwatched = settings_of(read_options(["--feature-gates=DisableConfigWatchers=true"], {}))

    assert watched.config_selector == "reconcile.fluxcd.io/watch=Enabled"
    assert unwatched.config_selector == ""


def test_remote_clusters_may_have_identities_of_their_own_behind_the_gate() -> None:
    flags = [
        "--feature-gates=ObjectLevelWorkloadIdentity=true",
        "--default-kubeconfig-service-account=remote",
        "--token-cache-max-size=7",
    ]
    options = read_options(flags, {"AWS_REGION": "eu-west-1", "HTTPS_PROXY": "http://proxy:3128"})

    assert options.common.gates["ObjectLevelWorkloadIdentity"]
    assert options.common.default_kubeconfig_service_account == "remote"
    assert options.common.token_cache_max_size == 7
    assert options.clouds.settings.aws.region == "eu-west-1"
    assert options.clouds.proxies
    assert not read_options([], {}).common.gates["ObjectLevelWorkloadIdentity"]
