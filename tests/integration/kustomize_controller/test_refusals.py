"""Bad input: a documented reason, a message to act on, and the last good objects untouched."""

from __future__ import annotations

from typing import Any

import pytest

from harness.kustomize import CONFIG_MAPS, Harness, configmap, ready_of

KUSTOMIZATION = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"
BROKEN: dict[str, tuple[dict[str, str], str]] = {
    "invalid YAML": ({"a.yaml": "a: [1\n"}, "a.yaml"),
    "no object": ({"a.yaml": "just: text\n"}, "a.yaml"),
    "missing file": (
        {"kustomization.yaml": KUSTOMIZATION + "resources: [gone.yaml]\n"},
        "gone.yaml",
    ),
    "outside the root": (
        {"kustomization.yaml": KUSTOMIZATION + "resources: [../../../etc]\n"},
        "../../../etc",
    ),
    "remote base": (
        {"kustomization.yaml": KUSTOMIZATION + "resources: [https://example.com/x.yaml]\n"},
        "https://example.com/x.yaml",
    ),
    "broken overlay": (
        {
            "kustomization.yaml": KUSTOMIZATION
            + "resources: [a.yaml]\npatches:\n  - target: {kind: ConfigMap}\n    patch: '- op: what'\n",
            "a.yaml": configmap(),
        },
        "",
    ),
    "duplicate objects": (
        {"a.yaml": configmap(k="1"), "b.yaml": configmap(k="2")},
        "settings",
    ),
}


@pytest.mark.shows("Kustomization/Ready/BuildFailed")
@pytest.mark.parametrize("case", BROKEN)
async def test_a_broken_commit_leaves_the_last_good_state(world: Harness, case: str) -> None:
    files, named = BROKEN[case]
    good = await world.source({"good.yaml": configmap("good")})
    await world.kustomization()
    await world.applied(good)
    before = await world.get(CONFIG_MAPS, "good")
    bad = await world.source(files)
    failed = await world.failed("BuildFailed")

    message = ready_of(failed)["message"]
    assert named in message
    assert "Traceback" not in message
    assert str(world.folder) not in message
    assert await world.get(CONFIG_MAPS, "good") == before
    assert failed["status"]["lastAppliedRevision"] == good
    assert failed["status"]["lastAttemptedRevision"] == bad
    assert [e["id"] for e in failed["status"]["inventory"]["entries"]] == ["team_good__ConfigMap"]


async def test_a_dropped_link_that_a_build_needs_is_named(world: Harness) -> None:
    await world.source(
        {
            "kustomization.yaml": KUSTOMIZATION + "resources: [shared.yaml]\n",
            "real.yaml": configmap(),
        },
        links={"shared.yaml": "real.yaml"},
    )
    await world.kustomization()
    failed = await world.failed("BuildFailed")

    assert "shared.yaml" in ready_of(failed)["message"]
    assert "link" in ready_of(failed)["message"]


REFUSED: dict[str, dict[str, Any]] = {
    "spec.decryption": {"decryption": {"provider": "sops"}},
    "spec.ignore": {"ignore": [{"paths": ["/data"]}]},
}


@pytest.mark.shows(
    "Kustomization/Ready/UnsupportedField",
    "refused:Kustomization/spec.decryption",
    "refused:Kustomization/spec.ignore",
)
@pytest.mark.parametrize("field", REFUSED)
async def test_an_unsupported_field_is_refused_by_name(world: Harness, field: str) -> None:
    await world.source({"a.yaml": configmap()})
    await world.kustomization(**REFUSED[field])
    failed = await world.failed("UnsupportedField")

    assert field in ready_of(failed)["message"]
    assert ready_of(failed, "Stalled")["reason"] == "UnsupportedField"
    assert not await world.exists(CONFIG_MAPS, "settings")


UNSAFE: dict[str, tuple[dict[str, Any], str]] = {
    "sourceRef.name": (
        {"sourceRef": {"kind": "GitRepository", "name": "../../kube-system/x"}},
        "ArtifactFailed",
    ),
    "sourceRef.namespace": (
        {"sourceRef": {"kind": "GitRepository", "name": "x", "namespace": "../x"}},
        "ArtifactFailed",
    ),
    "serviceAccountName": ({"serviceAccountName": "../default"}, "ReconciliationFailed"),
    "substituteFrom.name": (
        {
            "postBuild": {
                "substituteFrom": [{"kind": "Secret", "name": "../../kube-system/secrets/x"}]
            }
        },
        "BuildFailed",
    ),
    "kubeConfig.secretRef.name": (
        {"kubeConfig": {"secretRef": {"name": "../../kube-system/secrets/x"}}},
        "ReconciliationFailed",
    ),
    "kubeConfig.configMapRef.name": (
        {"kubeConfig": {"configMapRef": {"name": "../../other/configmaps/x"}}},
        "ReconciliationFailed",
    ),
    "dependsOn.name": ({"dependsOn": [{"name": "../x"}]}, "DependencyNotReady"),
}


@pytest.mark.parametrize("field", UNSAFE)
async def test_no_reference_leaves_its_namespace(world: Harness, field: str) -> None:
    spec, reason = UNSAFE[field]
    await world.source({"a.yaml": configmap()})
    await world.kustomization(**spec)
    failed = await world.failed(reason)

    assert "must not contain '/'" in ready_of(failed)["message"]
    assert not await world.exists(CONFIG_MAPS, "settings")


async def test_owner_labels_in_manifests_are_refused(world: Harness) -> None:
    labelled = configmap().replace(
        '"name": "settings"',
        '"labels": {"kustomize.toolkit.fluxcd.io/name": "other"}, "name": "settings"',
    )
    await world.source({"a.yaml": labelled})
    await world.kustomization()
    failed = await world.failed("ReconciliationFailed")

    assert "kustomize.toolkit.fluxcd.io/name" in ready_of(failed)["message"]
    assert not await world.exists(CONFIG_MAPS, "settings")
