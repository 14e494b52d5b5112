"""Every example of the page of HelmRelease becomes a release."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import pytest

from fluvial.kube import kinds
from fluvial.objects import JsonObject, ObjectKey
from harness.pages import examples
from harness.team import DEPLOYMENTS, Team, newest
from integration.helm_controller.release_charts import app_chart, hook
from integration.helm_controller.spec_charts import NAME, WEB

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

_PAGE = Path(__file__).parents[3] / "docs/spec/helmrelease.md"
_NAMESPACE = "team-a"


async def test_every_example_becomes_a_release(devteam: Team) -> None:
    """The test plays source-controller, with a chart that every example could mean."""
    archive = app_chart("1.2.0", web=WEB, check=hook(f"{NAME}-check", "test"))
    documents = examples(_PAGE, namespace=(_NAMESPACE, devteam.namespace))
    releases = [obj for obj in documents if obj["kind"] == "HelmRelease"]
    await devteam.chart(archive, "1.2.0", name="shop")
    for obj in documents:
        if obj["kind"] == "ConfigMap":
            await devteam.apply(kinds.CONFIG_MAP, obj)
    for obj in releases:
        await devteam.apply(kinds.HELM_RELEASE, obj)
        if "chart" in obj["spec"]:
            await _package(devteam, obj, archive)
    done = await asyncio.gather(*(devteam.ready(obj["metadata"]["name"]) for obj in releases))

    assert len(done) >= 4
    assert {newest(obj)["status"] for obj in done} == {"deployed"}
    # What the pages promise of these examples.
    assert newest(done[1])["name"] == "shop-next"
    oci = await devteam.get(DEPLOYMENTS, "shop-next")
    patched = await devteam.get(DEPLOYMENTS, "shop-patched")
    settings = await devteam.get(kinds.CONFIG_MAP, "shop-patched-settings")
    assert _image(oci) == "example.com/web:2"
    assert _image(patched) == "registry.example.com/web:1"
    assert settings["metadata"]["annotations"]["checked"] == "yes"
    assert settings["metadata"]["labels"]["team"] == "a"


def _image(obj: JsonObject) -> str:
    image: str = obj["spec"]["template"]["spec"]["containers"][0]["image"]
    return image


async def _package(team: Team, release: JsonObject, archive: bytes) -> None:
    """Write an artifact into the status of the HelmChart that was made for a release."""
    name = f"{team.namespace}-{release['metadata']['name']}"
    made = await team.until(lambda obj: True, name, resource=kinds.HELM_CHART)
    digest = hashlib.sha256(archive).hexdigest()
    path = f"helmchart/{team.namespace}/{name}/{digest}.tar.gz"
    (team.storage / path).parent.mkdir(parents=True, exist_ok=True)
    (team.storage / path).write_bytes(archive)
    artifact = {
        "path": path,
        "url": f"{team.address}/{path}",
        "revision": "1.2.0",
        "digest": f"sha256:{digest}",
        "lastUpdateTime": "2026-01-01T00:00:00Z",
        "size": len(archive),
    }
    ready = {
        "type": "Ready",
        "status": "True",
        "reason": "Succeeded",
        "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    generation = made["metadata"]["generation"]
    status = {"observedGeneration": generation, "artifact": artifact, "conditions": [ready]}
    await team.client.patch(
        kinds.HELM_CHART,
        ObjectKey(team.namespace, name),
        {"status": status},
        patch_type="merge",
        field_manager="test",
        subresource="status",
    )
