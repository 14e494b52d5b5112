"""Objects that are not as they were released: found, told of, and made right."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from fluvial.api.kustomize import DriftIgnoreRule, Selector
from fluvial.helm.drift import DriftReport, IgnoreRules, correct_drift, detect_drift
from fluvial.helm.errors import ObjectsFailed
from fluvial.helm.release import Release
from fluvial.kube.kinds import SECRET
from fluvial.kube.resource import Resource
from integration.apply.apply_world import CONFIG_MAPS
from integration.helm.actions import Actions, actions, config_map, job
from integration.helm.helm_world import ON_DEVCLUSTER, HelmWorld

_FILES = {
    "a.yaml": config_map("a", k="1", other="1"),
    "b.yaml": config_map("b", k="1"),
    "h.yaml": job("hook", hook="post-install", delete_policy="hook-succeeded"),
    "s.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {p: s3cr3t}\n",
}


@pytest.fixture
async def act(world: HelmWorld) -> AsyncIterator[Actions]:
    async with actions(world) as made:
        yield made


async def _change(
    act: Actions, name: str, body: dict[str, Any], resource: Resource = CONFIG_MAPS
) -> None:
    await act.world.world.admin.patch(
        resource, act.world.world.key(name), body, patch_type="merge", field_manager="somebody"
    )


async def _detect(act: Actions, release: Release, *rules: DriftIgnoreRule) -> DriftReport:
    return await detect_drift(act.target, release, IgnoreRules(rules))


@ON_DEVCLUSTER
async def test_what_is_as_released_has_not_drifted(act: Actions) -> None:
    release = await act.install(_FILES)
    await _change(act, "a", {"metadata": {"labels": {"mine": "x"}}, "data": {"added": "1"}})

    assert await _detect(act, release) == DriftReport()


@ON_DEVCLUSTER
async def test_of_an_object_that_is_there_twice_the_last_one_counts(act: Actions) -> None:
    """Both would be written side by side, and each correction would undo the one before."""
    twice = "---\n".join(config_map("a", k=text) for text in "12")
    release = await act.install({"a.yaml": twice})
    live = await act.world.world.admin.get(CONFIG_MAPS, act.world.world.key("a"))

    assert live["data"] == {"k": "2"}
    assert await _detect(act, release) == DriftReport()


async def test_what_has_drifted_is_told_and_made_right(act: Actions) -> None:
    release = await act.install(_FILES)
    await _change(act, "a", {"data": {"k": "2", "other": None}})
    await act.world.world.admin.delete(CONFIG_MAPS, act.world.world.key("b"))
    await _change(act, "s", {"stringData": {"p": "0th3r"}}, SECRET)
    writes = act.world.world.spy.writes
    report = await _detect(act, release)

    assert act.world.world.spy.writes == writes
    space = act.world.namespace
    assert report.summary().splitlines() == [
        f"Secret/{space}/s changed (0 additions, 1 changes, 0 removals)",
        f"ConfigMap/{space}/a changed (1 additions, 1 changes, 0 removals)",
        f"ConfigMap/{space}/b removed",
    ]
    told = report.summary() + "".join(one.diff.text() for one in report.drifts) + repr(report)
    assert "s3cr3t" not in told
    assert "0th3r" not in told

    corrected, failures = await correct_drift(act.target, release, report.drifts)
    assert (len(corrected), failures) == (3, ())
    assert await act.data("a") == {"k": "1", "other": "1"}
    assert await act.data("b") == {"k": "1"}
    assert await _detect(act, release) == DriftReport()


async def test_ignored_paths_stay_as_they_are(act: Actions) -> None:
    release = await act.install(_FILES)
    await _change(act, "a", {"data": {"k": "2", "other": "2"}})
    rule = DriftIgnoreRule(paths=("/data/k",), target=Selector(kind="ConfigMap", name="a"))
    report = await _detect(act, release, rule)

    assert [one.patch for one in report.drifts] == [
        ({"op": "replace", "path": "/data/other", "value": "1"},)
    ]
    await correct_drift(act.target, release, report.drifts)
    assert await act.data("a") == {"k": "2", "other": "1"}
    live = await act.world.world.live("a")
    ours = [
        one["operation"]
        for one in live["metadata"]["managedFields"]
        if one["manager"] == "helm-controller"
    ]
    assert ours == ["Apply"]
    whole = DriftIgnoreRule(paths=("",))
    await _change(act, "a", {"data": {"other": "3"}})
    assert await _detect(act, release, whole) == DriftReport()


@ON_DEVCLUSTER
@pytest.mark.parametrize("place", ["labels", "annotations"])
async def test_objects_can_be_left_out(act: Actions, place: str) -> None:
    release = await act.install(_FILES)
    marks = {place: {"helm.toolkit.fluxcd.io/driftDetection": "Disabled"}}
    await _change(act, "a", {"metadata": marks, "data": {"k": "2"}})

    assert await _detect(act, release) == DriftReport()


@ON_DEVCLUSTER
async def test_what_cannot_be_compared_or_corrected_is_told(act: Actions) -> None:
    release = await act.install(_FILES)
    await _change(act, "a", {"data": {"k": "2"}})
    report = await _detect(act, release)
    other = replace(act.target, client=act.world.world.as_user("stranger"))

    blind = await detect_drift(other, release, IgnoreRules())
    assert len(blind.failures) == 3
    with pytest.raises(ObjectsFailed, match="Forbidden"):
        blind.raise_unless_found()
    corrected, failures = await correct_drift(other, release, report.drifts)
    assert corrected == ()
    assert [str(one.reason) for one in failures] == ["Forbidden"]
