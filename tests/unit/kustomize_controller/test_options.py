"""kustomize-controller's command line."""

from __future__ import annotations

import pytest

from fluvial.runtime.flags import FlagError
from kustomize_controller.app import read_options, settings_of


@pytest.mark.parametrize(
    "flag",
    [
        "--token-cache-max-duration=2h",
        "--sops-age-secret=x",
        "--feature-gates=DirectSourceFetch=true",
        "--feature-gates=Nonsense=true",
        "--default-kubeconfig-service-account=x",
        "--concurrent-ssa=0",
    ],
)
def test_what_would_do_nothing_is_refused(flag: str) -> None:
    with pytest.raises(FlagError):
        read_options([flag], {})


def test_flags_become_settings() -> None:
    flags = [
        "--concurrent=7",
        "--concurrent-ssa=3",
        "--no-cross-namespace-refs",
        "--default-service-account=default",
        "--requeue-dependency=5s",
        "--feature-gates=ExternalArtifact=true,DisableFailFastBehavior=true",
        "--feature-gates=AdditiveCELDependencyCheck=true,CancelHealthCheckOnNewRevision=true",
        "--override-manager=other",
        "--custom-apply-stage-kinds=example.com/First",
        "--watch-label-selector=shard=one",
        "--interval-jitter-percentage=0",
        "--drift-watch-kinds=7",
        "--drift-watch-objects=70",
    ]
    settings = settings_of(read_options(flags, {}))

    assert (settings.concurrency, settings.concurrency_apply) == (7, 3)
    assert not settings.cross_namespace
    assert settings.tenants.default_service_account == "default"
    assert settings.requeue_dependency == 5.0
    assert settings.external_artifacts
    assert not settings.fail_fast
    assert settings.additive_expressions
    assert settings.tells_replaced_waits
    assert settings.apply.override_managers == ("other",)
    assert settings.apply.custom_stage_kinds == ("example.com/First",)
    assert settings.label_selector == "shard=one"
    assert (settings.drift.kinds, settings.drift.objects) == (7, 70)
    assert settings.jitter(10.0) == 10.0


def test_remote_clusters_may_have_identities_of_their_own_behind_the_gate() -> None:
    flags = [
        "--feature-gates=ObjectLevelWorkloadIdentity=true",
        "--default-kubeconfig-service-account=remote",
        "--token-cache-max-size=7",
        "--token-cache-max-duration=5m",
    ]
    options = read_options(flags, {"AWS_REGION": "eu-west-1", "HTTPS_PROXY": "http://proxy:3128"})

    assert options.common.gates["ObjectLevelWorkloadIdentity"]
    assert options.common.default_kubeconfig_service_account == "remote"
    assert options.common.token_cache_max_size == 7
    assert options.common.token_cache_max_duration == 300.0
    assert options.clouds.settings.aws.region == "eu-west-1"
    assert options.clouds.proxies
    assert not read_options([], {}).common.gates["ObjectLevelWorkloadIdentity"]
