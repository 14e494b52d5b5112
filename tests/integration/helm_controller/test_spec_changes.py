"""``spec.postRenderers`` and ``spec.driftDetection``, field by field."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from devcluster.control import Match
from fluvial.kube import kinds
from fluvial.objects import JsonObject
from harness.release import AGENT, ReleaseWorld
from harness.team import DEPLOYMENTS, JOBS, Team, condition
from integration.helm_controller.release_charts import MAP, app_chart, hook
from integration.helm_controller.spec_charts import NAME, WEB, all_of

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shared(devworld: ReleaseWorld) -> AsyncIterator[Team]:
    """One namespace for all tests here."""
    team = await devworld.team()
    await team.chart(app_chart(web=""), name="plain")
    yield team
    await devworld.leave(team)


async def _release(team: Team, name: str, chart: str, **spec: Any) -> None:
    await team.release(name, chartRef={"kind": "OCIRepository", "name": chart}, **spec)


# --- post-renderers ------------------------------------------------------------------------------


def _patch(label: str, **target: str) -> JsonObject:
    change = f"apiVersion: v1\nkind: any\nmetadata: {{name: any, labels: {{{label}: x}}}}\n"
    return {"patch": change, "target": target}


@pytest.mark.shows(
    "field:HelmRelease/spec.commonMetadata.annotations",
    "field:HelmRelease/spec.commonMetadata.labels",
    "field:HelmRelease/spec.postRenderStrategy",
    "field:HelmRelease/spec.postRenderers[].kustomize.images[].digest",
    "field:HelmRelease/spec.postRenderers[].kustomize.images[].name",
    "field:HelmRelease/spec.postRenderers[].kustomize.images[].newName",
    "field:HelmRelease/spec.postRenderers[].kustomize.images[].newTag",
    "field:HelmRelease/spec.postRenderers[].kustomize.patches[].patch",
    "field:HelmRelease/spec.postRenderers[].kustomize.patches[].target.annotationSelector",
    "field:HelmRelease/spec.postRenderers[].kustomize.patches[].target.group",
    "field:HelmRelease/spec.postRenderers[].kustomize.patches[].target.kind",
    "field:HelmRelease/spec.postRenderers[].kustomize.patches[].target.labelSelector",
    "field:HelmRelease/spec.postRenderers[].kustomize.patches[].target.name",
    "field:HelmRelease/spec.postRenderers[].kustomize.patches[].target.namespace",
    "field:HelmRelease/spec.postRenderers[].kustomize.patches[].target.version",
)
async def test_what_is_rendered_is_changed(shared: Team) -> None:
    marked = MAP.replace(
        "-settings}",
        "-settings, namespace: {{ .Release.Namespace }}, labels: {a: b}, annotations: {c: d}}",
    )
    check = hook(f"{NAME}-check", "post-install")
    archive = app_chart(web=WEB, settings=marked, check=check)
    await shared.chart(archive, name="changed")
    first = {
        "images": [
            {"name": "example.com/web", "newName": "example.org/web", "newTag": "2"},
            {"name": "example.com/c", "digest": f"sha256:{'0' * 64}"},
        ]
    }
    second = {
        "patches": [
            _patch("by-kind", kind="ConfigMap"),
            _patch("by-name", name=".*-settings"),
            _patch("by-namespace", namespace=shared.namespace),
            _patch("by-version", version="v1", kind="ConfigMap"),
            _patch("by-group", group="apps"),
            _patch("by-label", labelSelector="a=b"),
            _patch("by-annotation", annotationSelector="c=d"),
        ]
    }
    common = {"labels": {"team": "a"}, "annotations": {"note": "b"}}
    for name, strategy in (("changed", "combined"), ("nohooks", "nohooks")):
        await _release(
            shared,
            name,
            "changed",
            commonMetadata=common,
            postRenderStrategy=strategy,
            postRenderers=[{"kustomize": first}, {"kustomize": second}],
        )
    await all_of(*(shared.ready(name, version=1) for name in ("changed", "nohooks")))
    settings = (await shared.get(kinds.CONFIG_MAP, "changed-settings"))["metadata"]
    web = await shared.get(DEPLOYMENTS, "changed")
    checks = [await shared.get(JOBS, f"{name}-check") for name in ("changed", "nohooks")]

    by = {label for label in settings["labels"] if label.startswith("by-")}
    assert by == {
        *("by-kind", "by-name", "by-namespace"),
        *("by-version", "by-label", "by-annotation"),
    }
    assert "by-group" in web["metadata"]["labels"]
    assert settings["labels"]["team"] == "a"
    assert settings["annotations"]["note"] == "b"
    assert _image(web) == "example.org/web:2"
    assert [_image(check) for check in checks] == [
        f"example.com/c@sha256:{'0' * 64}",
        "example.com/c:1",
    ]


def _image(obj: JsonObject) -> str:
    image: str = obj["spec"]["template"]["spec"]["containers"][0]["image"]
    return image


# --- drift ---------------------------------------------------------------------------------------


@pytest.mark.shows(
    "HelmRelease/Drifted/DriftDetected",
    "HelmRelease/Drifted/NoDriftDetected",
    "event:HelmRelease/DriftDetected",
    "event:HelmRelease/DriftCorrected",
    "field:HelmRelease/spec.driftDetection.mode",
    "field:HelmRelease/spec.interval",
)
async def test_drift_is_told_or_corrected_within_the_interval(shared: Team) -> None:
    """Nobody asks for the look."""
    for name, mode in (("told", "warn"), ("corrected", "enabled"), ("unseen", "disabled")):
        await _release(shared, name, "plain", interval="1s", driftDetection={"mode": mode})
    names = ("told", "corrected", "unseen")
    await all_of(*(shared.ready(name, version=1) for name in names))
    for name in names:
        await shared.patch(
            f"{name}-settings", {"data": {"greeting": "x"}}, resource=kinds.CONFIG_MAP
        )
    settings = "corrected-settings"
    await shared.until(
        lambda obj: obj["data"]["greeting"] == "hello", settings, resource=kinds.CONFIG_MAP
    )
    told = await shared.until(
        lambda obj: condition(obj, "Drifted").get("reason") == "DriftDetected", "told"
    )
    corrected = await shared.until(
        lambda obj: condition(obj, "Drifted").get("reason") == "NoDriftDetected", "corrected"
    )
    unseen = await shared.get(kinds.HELM_RELEASE, "unseen")

    assert "told-settings changed" in condition(told, "Drifted")["message"]
    assert condition(corrected, "Drifted")["status"] == "False"
    assert not condition(unseen, "Drifted")
    for name in ("told", "unseen"):
        left = await shared.get(kinds.CONFIG_MAP, f"{name}-settings")
        assert left["data"]["greeting"] == "x"
    assert (await shared.event("DriftDetected", name="told"))["type"] == "Warning"
    await shared.event("DriftCorrected", name="corrected", text="corrected-settings")


@pytest.mark.shows(
    "field:HelmRelease/spec.driftDetection.ignore[].paths[]",
    "field:HelmRelease/spec.driftDetection.ignore[].target.annotationSelector",
    "field:HelmRelease/spec.driftDetection.ignore[].target.group",
    "field:HelmRelease/spec.driftDetection.ignore[].target.kind",
    "field:HelmRelease/spec.driftDetection.ignore[].target.labelSelector",
    "field:HelmRelease/spec.driftDetection.ignore[].target.name",
    "field:HelmRelease/spec.driftDetection.ignore[].target.namespace",
    "field:HelmRelease/spec.driftDetection.ignore[].target.version",
)
async def test_what_is_ignored_is_left_as_it_is(shared: Team) -> None:
    """One path by each way to name an object, and one that is not ignored."""
    marked = MAP.replace("-settings}", "-settings, labels: {a: b}, annotations: {c: d}}")
    data = "".join(f"  {key}: hello\n" for key in ("kind", "name", "label", "annotation", "none"))
    data += "".join(f"  {key}: hello\n" for key in ("namespace", "version", "group"))
    await shared.chart(app_chart(web="", settings=f"{marked}{data}"), name="ignoring")
    targets: dict[str, JsonObject] = {
        "kind": {"kind": "ConfigMap"},
        "name": {"name": ".*-settings"},
        "namespace": {"namespace": shared.namespace},
        "version": {"version": "v1"},
        "label": {"labelSelector": "a=b"},
        "annotation": {"annotationSelector": "c=d"},
        "group": {"group": "apps"},
    }
    rules = [{"paths": [f"/data/{key}"], "target": one} for key, one in targets.items()]
    await _release(
        shared, "ignoring", "ignoring", driftDetection={"mode": "enabled", "ignore": rules}
    )
    await shared.ready("ignoring", version=1)
    drift = {"data": dict.fromkeys((*targets, "none"), "x")}
    await shared.patch("ignoring-settings", drift, resource=kinds.CONFIG_MAP)
    await shared.asked("look", "ignoring")
    found = await shared.until(
        lambda obj: obj["data"]["none"] == "hello", "ignoring-settings", resource=kinds.CONFIG_MAP
    )

    corrected = {key for key in drift["data"] if found["data"][key] == "hello"}
    assert corrected == {"none", "group"}, "the group of a ConfigMap is not apps"


@pytest.mark.shows("event:HelmRelease/DriftCorrectionFailed")
async def test_a_correction_that_the_server_refuses(devworld: ReleaseWorld, shared: Team) -> None:
    """The object becomes immutable between the look and the write."""
    assert devworld.cluster is not None
    await _release(shared, "stubborn", "plain", driftDetection={"mode": "enabled"})
    await shared.ready("stubborn", version=1)
    drift = {"data": {"greeting": "x"}}
    held = Match(path="configmaps/stubborn-settings", agent=AGENT)
    hold = devworld.cluster.control.hold(held)
    await shared.patch("stubborn-settings", drift, resource=kinds.CONFIG_MAP)
    await shared.annotate("stubborn", requestedAt="look")
    await hold.reached(20)
    await shared.patch("stubborn-settings", {"immutable": True}, resource=kinds.CONFIG_MAP)
    hold.release()
    event = await shared.event("DriftCorrectionFailed", name="stubborn")

    assert event["type"] == "Warning"
    assert "stubborn-settings" in event["message"]
    found = await shared.get(kinds.CONFIG_MAP, "stubborn-settings")
    assert found["data"]["greeting"] == "x"
