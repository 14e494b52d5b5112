"""Workloads as data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from bench.load.controllers import load_set
from bench.load.placeholders import BadData, fill
from bench.load.run import refuse
from bench.load.workload import load_workload, resource_of, value_at

KUSTOMIZATIONS = load_workload("kustomizations")


def test_placeholders_are_filled_at_any_depth_and_keys_are_left_alone() -> None:
    value = {"$(a)": ["$(a)-$(b)", {"c": "$(b)"}, 3, None, "${A}"]}

    assert fill(value, {"a": 1, "b": "2"}) == {"$(a)": ["1-2", {"c": "2"}, 3, None, "${A}"]}


def test_a_placeholder_without_parameter_is_refused_by_name() -> None:
    with pytest.raises(BadData, match=r"\$\(b\) is no parameter"):
        fill(["$(b)"], {"a": 1})


def test_an_index_has_its_own_source_and_kustomization() -> None:
    source, owner = KUSTOMIZATIONS.objects(7)

    assert (source["kind"], source["metadata"]["name"]) == ("OCIRepository", "podinfo-ks-7")
    assert (source["spec"]["ref"], source["spec"]["insecure"]) == ({"tag": "latest"}, True)
    assert owner["spec"]["sourceRef"] == {"kind": "OCIRepository", "name": "podinfo-ks-7"}
    assert owner["spec"]["postBuild"]["substitute"] == {"INDEX": "7", "PODS": "0", "MCPU": "1m"}


def test_the_kustomizations_are_those_of_the_benchmark() -> None:
    _, owner = KUSTOMIZATIONS.objects(1)
    spec = owner["spec"]

    assert {name: spec[name] for name in ("interval", "retryInterval", "timeout")} == {
        "interval": "60m",
        "retryInterval": "2m",
        "timeout": "1m",
    }
    assert spec["prune"] is True
    assert spec["wait"] is True
    assert spec["serviceAccountName"] == "flux"
    assert spec["targetNamespace"] == "kustomize-benchmark"


def test_sources_from_git_differ_in_nothing_but_the_source() -> None:
    git = load_workload("kustomizations-git")
    source, owner = git.objects(7)
    original = KUSTOMIZATIONS.objects(7)[1]

    assert (git.serve, KUSTOMIZATIONS.serve) == ("git", "oci")
    assert source["kind"] == git.measured[0] == "GitRepository"
    assert owner["spec"].pop("sourceRef")["kind"] == "GitRepository"
    assert original["spec"].pop("sourceRef")["kind"] == "OCIRepository"
    assert owner == original
    assert git.content == KUSTOMIZATIONS.content
    assert "GitRepositories of one URL" in git.notes[0]


def test_the_upgrade_changes_kustomizations_and_no_source() -> None:
    after = KUSTOMIZATIONS.upgraded()

    changed = after.changed(KUSTOMIZATIONS, 3)

    assert [obj["kind"] for obj in changed] == ["Kustomization"]
    assert changed[0]["spec"]["postBuild"]["substitute"]["MCPU"] == "2m"
    assert after.applied_value(3) == "2m"


def test_an_unknown_parameter_is_refused() -> None:
    with pytest.raises(BadData, match="no parameter 'cpu'"):
        KUSTOMIZATIONS.with_parameters(cpu="1")


def test_an_unknown_workload_is_refused_with_the_known_ones() -> None:
    with pytest.raises(BadData, match="only helmreleases, kustomizations, kustomizations-git"):
        load_workload("nothing")


def test_a_workload_without_a_part_is_refused(tmp_path: Path) -> None:
    (tmp_path / "half.yaml").write_text("name: half\nparameters: {}\n")

    with pytest.raises(BadData, match=r"half.yaml lacks 'serve'"):
        load_workload("half", tmp_path)


def test_kinds_that_nobody_reconciles_are_refused() -> None:
    workload = load_workload("helmreleases")
    crds = Path(__file__).parents[3] / "charts/fluvial/crds/buckets.source.toolkit.fluxcd.io.yaml"

    assert "HelmRelease" in workload.missing({"GitRepository", "Kustomization"})
    with pytest.raises(BadData, match=r"HelmRelease.* has no controller yet"):
        refuse(workload, replace(load_set("fluvial"), crds=crds))


def test_the_helm_releases_need_nothing_but_their_controller() -> None:
    workload = load_workload("helmreleases")
    (release,) = workload.objects(2)

    assert workload.missing({"HelmRelease", "HelmChart", "HelmRepository"}) == []
    assert release["spec"]["values"]["resources"]["requests"]["cpu"] == "1m"
    assert [resource_of(obj).kind for obj in workload.set_up()][-1] == "HelmRepository"


def test_a_kind_that_the_harness_does_not_know_is_refused() -> None:
    with pytest.raises(BadData, match="does not know v1 Pod"):
        resource_of({"apiVersion": "v1", "kind": "Pod"})


def test_values_are_found_by_path_or_not_at_all() -> None:
    obj = {"a": [{"b": 1}]}

    assert value_at(obj, ("a", 0, "b")) == 1
    assert value_at(obj, ("a", 1, "b")) is None
    assert value_at(obj, ("a", "b")) is None
