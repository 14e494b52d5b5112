"""``spec.chart`` and ``spec.chartRef``: which chart is released."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from fluvial.kube import kinds
from fluvial.kube.errors import NotFound
from harness.release import ReleaseWorld
from harness.team import Team, condition, named, newest
from integration.helm_controller.release_charts import app_chart

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shared(devworld: ReleaseWorld) -> AsyncIterator[Team]:
    """One namespace for all tests here: each chart is rendered by a worker that is there already."""
    team = await devworld.team()
    yield team
    await devworld.leave(team)


@pytest.mark.shows(
    "field:HelmRelease/spec.chart.metadata.annotations",
    "field:HelmRelease/spec.chart.metadata.labels",
    "field:HelmRelease/spec.chart.spec.chart",
    "field:HelmRelease/spec.chart.spec.ignoreMissingValuesFiles",
    "field:HelmRelease/spec.chart.spec.interval",
    "field:HelmRelease/spec.chart.spec.reconcileStrategy",
    "field:HelmRelease/spec.chart.spec.sourceRef.kind",
    "field:HelmRelease/spec.chart.spec.sourceRef.name",
    "field:HelmRelease/spec.chart.spec.valuesFiles[]",
    "field:HelmRelease/spec.chart.spec.verify.provider",
    "field:HelmRelease/spec.chart.spec.verify.secretRef.name",
    "field:HelmRelease/spec.chart.spec.version",
    "event:HelmRelease/HelmChartCreated",
    "event:HelmRelease/HelmChartConfigured",
    "HelmRelease/Ready/SourceNotReady",
)
async def test_a_chart_is_described_in_full(shared: Team) -> None:
    verify = {"provider": "notation", "secretRef": {"name": "keys"}}
    spec = {
        "chart": "app",
        "ignoreMissingValuesFiles": True,
        "interval": "7m",
        "reconcileStrategy": "Revision",
        "sourceRef": {"kind": "HelmRepository", "name": "charts"},
        "valuesFiles": ["values.yaml", "more.yaml"],
        "verify": verify,
        "version": "1.x",
    }
    metadata = {"labels": {"team": "a"}, "annotations": {"note": "b"}}
    await shared.release("full", chartRef=None, chart={"metadata": metadata, "spec": spec})
    waiting = await shared.failed("SourceNotReady", "full")
    name = f"{shared.namespace}-full"
    made = await shared.get(kinds.HELM_CHART, name)

    assert waiting["status"]["helmChart"] == f"{shared.namespace}/{name}"
    assert made["spec"] == spec
    assert made["metadata"]["annotations"] == {"note": "b"}
    assert made["metadata"]["labels"] == {
        "team": "a",
        "helm.toolkit.fluxcd.io/name": "full",
        "helm.toolkit.fluxcd.io/namespace": shared.namespace,
    }
    await shared.event("HelmChartCreated", name="full")
    changed = {"spec": {**spec, "version": "2.x"}}
    await shared.release("full", chartRef=None, chart=changed)
    found = await shared.until(
        lambda obj: obj["spec"]["version"] == "2.x", name, resource=kinds.HELM_CHART
    )
    assert "team" not in found["metadata"]["labels"]
    await shared.event("HelmChartConfigured", name="full")


@pytest.mark.shows(
    "field:HelmRelease/spec.chart.spec.sourceRef.namespace",
    "field:HelmRelease/spec.chart.spec.sourceRef.apiVersion",
    "event:HelmRelease/HelmChartDeleted",
)
async def test_a_chart_is_made_beside_its_source_and_moves_with_it(
    devworld: ReleaseWorld, shared: Team
) -> None:
    others = await devworld.team()
    ref = {
        "apiVersion": "source.toolkit.fluxcd.io/v1",
        "kind": "HelmRepository",
        "name": "charts",
        "namespace": others.namespace,
    }
    name = f"{shared.namespace}-away"
    await shared.release("away", chartRef=None, chart={"spec": {"chart": "app", "sourceRef": ref}})
    waiting = await shared.failed("SourceNotReady", "away")
    made = await others.get(kinds.HELM_CHART, name)

    assert waiting["status"]["helmChart"] == f"{others.namespace}/{name}"
    assert made["spec"]["sourceRef"]["name"] == "charts"
    assert made["spec"]["interval"] == "1h", "that of the release"
    await shared.chart(app_chart(web=""), name="own")
    await shared.release("away", chartRef={"kind": "OCIRepository", "name": "own"})
    done = await shared.ready("away", version=1)
    with pytest.raises(NotFound):
        await others.get(kinds.HELM_CHART, name)
    assert "helmChart" not in done["status"]
    await shared.event("HelmChartDeleted", name="away")
    await devworld.leave(others)


@pytest.mark.shows(
    "field:HelmRelease/spec.chartRef.kind",
    "field:HelmRelease/spec.chartRef.name",
    "field:HelmRelease/spec.chartRef.namespace",
    "field:HelmRelease/spec.chartRef.apiVersion",
)
async def test_a_chart_of_another_namespace_is_released_by_reference(
    devworld: ReleaseWorld, shared: Team
) -> None:
    others = await devworld.team()
    await others.chart(app_chart("3.0.0", web=""), "3.0.0", resource=kinds.HELM_CHART)
    ref = {
        "apiVersion": "source.toolkit.fluxcd.io/v1",
        "kind": "HelmChart",
        "name": "chart",
        "namespace": others.namespace,
    }
    await shared.release("by-reference", chartRef=ref)
    done = await shared.ready("by-reference", version=1)

    assert newest(done)["chartVersion"] == "3.0.0"
    assert done["status"]["lastAttemptedRevision"] == "3.0.0"
    await devworld.leave(others)


@pytest.mark.shows("HelmRelease/Ready/ArtifactFailed")
async def test_an_artifact_that_is_another_than_announced(shared: Team) -> None:
    await shared.chart(app_chart(web=""), name="altered")
    source = await shared.get(kinds.OCI_REPOSITORY, "altered")
    artifact = source["status"]["artifact"]
    (shared.storage / artifact["path"]).write_bytes(app_chart("6.6.6", web=""))
    await shared.release("altered", chartRef={"kind": "OCIRepository", "name": "altered"})
    failed = await shared.failed("ArtifactFailed", "altered")

    assert condition(failed, "Reconciling")["reason"] == "ProgressingWithRetry"
    assert not await shared.exists(kinds.CONFIG_MAP, "altered-settings")


@pytest.mark.shows("HelmRelease/Ready/ChartMutateError")
async def test_a_chart_of_another_version_than_its_artifact(shared: Team) -> None:
    await shared.chart(app_chart("1.0.0", web=""), "2.0.0", name="other-version")
    ref = {"kind": "OCIRepository", "name": "other-version"}
    await shared.release("other-version", chartRef=ref)
    failed = await shared.failed("ChartMutateError", "other-version")

    assert "2.0.0" in condition(failed)["message"]
    assert not await shared.exists(kinds.CONFIG_MAP, "other-version-settings")


@pytest.mark.parametrize("owner", ["early", "another"])
async def test_the_chart_of_a_first_run_that_was_killed_is_not_forgotten(
    shared: Team, owner: str
) -> None:
    name = f"{shared.namespace}-early"
    labels = {
        "helm.toolkit.fluxcd.io/name": owner,
        "helm.toolkit.fluxcd.io/namespace": shared.namespace,
    }
    left = named("source.toolkit.fluxcd.io/v1", "HelmChart", name, shared.namespace)
    left["metadata"]["labels"] = labels
    source = {"kind": "HelmRepository", "name": "charts"}
    spec = {"chart": "app", "interval": "1h", "sourceRef": source}
    await shared.apply(kinds.HELM_CHART, left | {"spec": spec})
    await shared.chart(app_chart(web=""), name="own")
    await shared.release("early", chartRef={"kind": "OCIRepository", "name": "own"})
    await shared.ready("early", version=1)

    assert await shared.exists(kinds.HELM_CHART, name) == (owner == "another")
    await shared.delete("early")
    await shared.gone("early")
