"""``spec.values`` and ``spec.valuesFrom``, and where a release goes."""

from __future__ import annotations

from collections.abc import AsyncIterator

import orjson
import pytest
import pytest_asyncio

from fluvial.helm.storage import ReleaseStorage
from fluvial.kube import kinds
from fluvial.objects import ObjectKey
from harness.release import ReleaseWorld
from harness.team import Team, condition, newest
from integration.helm_controller.release_charts import app_chart

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

_DUMP = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: {{ .Release.Name }}-dump}
data: {values: {{ .Values | toJson | quote }}}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shared(devworld: ReleaseWorld) -> AsyncIterator[Team]:
    """One namespace for all tests here, whose account may do anything, also make namespaces."""
    team = await devworld.team(role="cluster-admin", everywhere=True)
    yield team
    await devworld.leave(team)


@pytest.mark.shows(
    "field:HelmRelease/spec.values",
    "field:HelmRelease/spec.valuesFrom[].kind",
    "field:HelmRelease/spec.valuesFrom[].literal",
    "field:HelmRelease/spec.valuesFrom[].name",
    "field:HelmRelease/spec.valuesFrom[].optional",
    "field:HelmRelease/spec.valuesFrom[].targetPath",
    "field:HelmRelease/spec.valuesFrom[].valuesKey",
)
async def test_values_come_from_everywhere_in_order(shared: Team) -> None:
    await shared.data(kinds.CONFIG_MAP, "first", **{"values.yaml": "a: 1\nm: {p: 1, q: 1}\n"})
    await shared.data(kinds.SECRET, "second", mine="m: {q: 2}\nb: from a Secret\n", text="7")
    await shared.data(kinds.CONFIG_MAP, "third", text="a,b=c")
    refs = [
        {"kind": "ConfigMap", "name": "first"},
        {"kind": "Secret", "name": "second", "valuesKey": "mine"},
        {"kind": "ConfigMap", "name": "nowhere", "optional": True},
        {"kind": "Secret", "name": "second", "valuesKey": "text", "targetPath": "deep.number"},
        {
            "kind": "ConfigMap",
            "name": "third",
            "valuesKey": "text",
            "targetPath": "text",
            "literal": True,
        },
    ]
    await shared.chart(app_chart(web="", dump=_DUMP), name="dump")
    await shared.release(
        "values",
        chartRef={"kind": "OCIRepository", "name": "dump"},
        valuesFrom=refs,
        values={"m": {"r": 3}, "greeting": None},
    )
    await shared.ready("values", version=1)
    dump = await shared.get(kinds.CONFIG_MAP, "values-dump")

    assert orjson.loads(dump["data"]["values"]) == {
        "a": 1,
        "b": "from a Secret",
        "deep": {"number": 7},
        "image": "example.com/web:1",
        "m": {"p": 1, "q": 2, "r": 3},
        "text": "a,b=c",
    }


@pytest.mark.shows("HelmRelease/Ready/ValuesError", "event:HelmRelease/failure")
async def test_values_that_are_not_there(shared: Team) -> None:
    await shared.chart(app_chart(web=""), name="plain")
    await shared.release(
        "no-values",
        chartRef={"kind": "OCIRepository", "name": "plain"},
        valuesFrom=[{"kind": "Secret", "name": "nowhere"}],
    )
    failed = await shared.failed("ValuesError", "no-values")

    assert f"Secret {shared.namespace}/nowhere" in condition(failed)["message"]
    assert condition(failed, "Reconciling")["reason"] == "ProgressingWithRetry"
    assert (await shared.event("ValuesError", name="no-values"))["type"] == "Warning"
    assert await shared.statuses("no-values") == {}


@pytest.mark.shows(
    "field:HelmRelease/spec.releaseName",
    "field:HelmRelease/spec.targetNamespace",
    "field:HelmRelease/spec.storageNamespace",
    "field:HelmRelease/spec.install.createNamespace",
    "field:HelmRelease/spec.serviceAccountName",
)
async def test_a_release_has_the_name_and_places_that_are_asked_for(
    devworld: ReleaseWorld, shared: Team
) -> None:
    target, store = f"{shared.namespace}-target", await devworld.team()
    await shared.chart(app_chart(web=""), name="plain")
    await shared.release(
        "placed",
        chartRef={"kind": "OCIRepository", "name": "plain"},
        releaseName="other",
        targetNamespace=target,
        storageNamespace=store.namespace,
        install={"createNamespace": True},
    )
    done = await shared.ready("placed", version=1)
    settings = await shared.client.get(kinds.CONFIG_MAP, ObjectKey(target, "other-settings"))
    space = await shared.get(kinds.NAMESPACE, target)
    records = ReleaseStorage(shared.client, store.namespace, observe=lambda _: None)

    assert (newest(done)["name"], newest(done)["namespace"]) == ("other", target)
    assert done["status"]["storageNamespace"] == store.namespace
    assert settings["metadata"]["annotations"]["meta.helm.sh/release-namespace"] == target
    assert space["metadata"]["labels"]["name"] == target
    assert [one.status for one in await records.revisions("other")] == ["deployed"]
    await devworld.leave(store)
