"""What a tenant who writes HelmReleases, their status and their records cannot get by it."""

from __future__ import annotations

import base64
import gzip
from collections.abc import AsyncIterator

import orjson
import pytest
import pytest_asyncio

from fluvial.kube import kinds
from fluvial.objects import ObjectKey
from harness.release import ReleaseWorld
from harness.team import Team, condition, named, newest
from integration.helm_controller.release_charts import app_chart

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

_SECRET = "correct-horse-battery"
_REF = {"kind": "OCIRepository", "name": "plain"}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shared(devworld: ReleaseWorld) -> AsyncIterator[Team]:
    """One namespace for all tests here."""
    team = await devworld.team()
    await team.chart(app_chart(web=""), name="plain")
    yield team
    await devworld.leave(team)


@pytest.mark.shows("event:HelmRelease/HelmChartSyncErr", "HelmRelease/Ready/HelmChartSyncErr")
async def test_a_chart_object_of_others_is_left_alone(shared: Team) -> None:
    """Namespace and name are joined, so two HelmReleases may mean one HelmChart."""
    name = f"{shared.namespace}-taken"
    theirs = named("source.toolkit.fluxcd.io/v1", "HelmChart", name, shared.namespace)
    theirs["metadata"]["labels"] = {
        "helm.toolkit.fluxcd.io/name": "other",
        "helm.toolkit.fluxcd.io/namespace": "elsewhere",
    }
    source = {"kind": "HelmRepository", "name": "theirs"}
    spec = {"chart": "theirs", "interval": "1h", "sourceRef": source}
    await shared.apply(kinds.HELM_CHART, theirs | {"spec": spec})
    mine = {"spec": {"chart": "mine", "sourceRef": {"kind": "HelmRepository", "name": "mine"}}}
    await shared.release("taken", chartRef=None, chart=mine)
    await shared.failed("HelmChartSyncErr", "taken", text="belongs to another HelmRelease")
    await shared.event("HelmChartSyncErr", name="taken")
    assert (await shared.get(kinds.HELM_CHART, name))["spec"]["chart"] == "theirs"

    await shared.delete("taken")
    await shared.gone("taken")
    assert await shared.exists(kinds.HELM_CHART, name)


async def test_a_forged_status_deletes_no_chart_of_others(
    devworld: ReleaseWorld, shared: Team
) -> None:
    """Neither one that somebody has made by hand, nor that of another HelmRelease."""
    others = await devworld.team()
    await others.chart(app_chart(web=""), resource=kinds.HELM_CHART, name="by-hand")
    source = {"kind": "HelmRepository", "name": "charts"}
    await others.release(
        "theirs", chartRef=None, chart={"spec": {"chart": "a", "sourceRef": source}}
    )
    made = f"{others.namespace}-theirs"
    await others.failed("SourceNotReady", "theirs")
    for number, name in enumerate(("by-hand", made)):
        await shared.release(f"forged-{number}", suspend=True, chartRef=_REF)
        await shared.client.patch(
            kinds.HELM_RELEASE,
            ObjectKey(shared.namespace, f"forged-{number}"),
            {"status": {"helmChart": f"{others.namespace}/{name}"}},
            patch_type="merge",
            field_manager="test",
            subresource="status",
        )
        await shared.release(f"forged-{number}", chartRef=_REF, suspend=False)
        done = await shared.ready(f"forged-{number}", version=1)
        assert "helmChart" not in done["status"]

    assert await others.exists(kinds.HELM_CHART, "by-hand")
    assert await others.exists(kinds.HELM_CHART, made)
    await devworld.leave(others)


async def test_values_of_secrets_are_told_to_nobody(
    shared: Team, caplog: pytest.LogCaptureFixture
) -> None:
    """Not by what the server says of a name made of one, either."""
    odd = f"{_SECRET} is no name"
    await shared.data(kinds.SECRET, "password", **{"values.yaml": f"greeting: {odd}\n"})
    bad = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Values.greeting | quote }}}\n"
    await shared.chart(app_chart("2.0.0", web="", bad=bad), "2.0.0", name="telling")
    await shared.release(
        "telling",
        chartRef={"kind": "OCIRepository", "name": "telling"},
        valuesFrom=[{"kind": "Secret", "name": "password"}],
    )
    failed = await shared.failed("InstallFailed", "telling")
    event = await shared.event("InstallFailed", name="telling")

    assert _SECRET not in orjson.dumps(failed["status"]["conditions"]).decode()
    assert _SECRET not in event["message"]
    assert _SECRET not in caplog.text


@pytest.mark.parametrize("name", ["../../kube-system/secrets/x", "%2e%2e"])
async def test_a_name_that_leaves_its_place(shared: Team, name: str) -> None:
    await shared.release(
        "leaving", chartRef=_REF, valuesFrom=[{"kind": "Secret", "name": name}], interval="1h"
    )
    failed = await shared.failed("ValuesError", "leaving")

    assert await shared.statuses("leaving") == {}
    assert condition(failed)["status"] == "False"
    await shared.delete("leaving")
    await shared.gone("leaving")


@pytest.mark.shows("HelmRelease/Ready/StateError")
async def test_a_record_that_cannot_be_read_is_not_installed_over(shared: Team) -> None:
    await shared.release("damaged", chartRef=_REF)
    before = await shared.ready("damaged", version=1)
    secret = "sh.helm.release.v1.damaged.v1"
    broken = {"data": {"release": base64.b64encode(b"bm90IGEgcmVsZWFzZQ==").decode()}}
    await shared.patch(secret, broken, resource=kinds.SECRET)
    await shared.annotate("damaged", requestedAt="look")
    failed = await shared.failed("StateError", "damaged", text=secret)

    assert newest(failed) == newest(before)
    page = await shared.client.list_all(kinds.SECRET, namespace=shared.namespace)
    records = [
        one["metadata"]["name"] for one in page.items if ".damaged." in one["metadata"]["name"]
    ]
    assert records == [secret]


async def test_a_record_that_was_altered_is_released_anew(shared: Team) -> None:
    """Its digest is no longer that of the snapshot, so nobody vouches for what it says."""
    await shared.release("altered", chartRef=_REF)
    await shared.ready("altered", version=1)
    name = "sh.helm.release.v1.altered.v1"
    secret = await shared.get(kinds.SECRET, name)
    text = gzip.decompress(base64.b64decode(base64.b64decode(secret["data"]["release"])))
    record = orjson.loads(text)
    record["manifest"] = record["manifest"].replace("hello", "altered")
    altered = base64.b64encode(gzip.compress(orjson.dumps(record)))
    data = {"data": {"release": base64.b64encode(altered).decode()}}
    await shared.patch(name, data, resource=kinds.SECRET)
    await shared.annotate("altered", requestedAt="look")
    await shared.ready("altered", version=2)

    settings = await shared.get(kinds.CONFIG_MAP, "altered-settings")
    assert settings["data"]["greeting"] == "hello"
