"""Helm's own tool and helm-controller work on the same releases, on both control planes."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from fluvial.helm import digests, gotime
from fluvial.kube import kinds
from fluvial.objects import JsonObject
from harness.helm import HelmSdk, helm_sdk
from harness.release import ReleaseWorld
from harness.team import Team, condition, newest
from integration.helm_controller.release_charts import ON_DEVCLUSTER, app_chart, hook

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

_CHART = app_chart(check=hook("check", "test"), ready=hook("ready", "pre-install,pre-upgrade"))
_REFERENCE = {"kind": "HelmChart", "name": "chart"}
_VALUES = {"greeting": "good morning"}
_EXTRA = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: extra}\n"


@pytest_asyncio.fixture(loop_scope="session")
async def helm(world: ReleaseWorld, team: Team, tmp_path: Path) -> AsyncIterator[HelmSdk]:
    """Helm's tool as the admin, in the team's namespace."""
    contexts = [
        {**entry, "context": {**entry["context"], "namespace": team.namespace}}
        for entry in world.kubeconfig["contexts"]
    ]
    kubeconfig = {**world.kubeconfig, "contexts": contexts}
    (tmp_path / "chart.tgz").write_bytes(_CHART)
    async with helm_sdk(kubeconfig, team.namespace, tmp_path) as sdk:
        yield sdk


@pytest.fixture
def package(tmp_path: Path) -> str:
    """The chart as a file."""
    return str(tmp_path / "chart.tgz")


async def _history(helm: HelmSdk) -> list[tuple[int, str]]:
    listed = await helm.do("history", name="app")
    return [(int(one["revision"]), one["status"]) for one in listed]


async def test_what_helm_has_installed_is_adopted(helm: HelmSdk, team: Team, package: str) -> None:
    """No revision is made of it, and nothing is written to its objects."""
    await helm.do("install", chart=package, name="app", values=_VALUES)
    before = await team.get(kinds.CONFIG_MAP, "app-settings")
    await team.chart(_CHART, resource=kinds.HELM_CHART)
    await team.release(chartRef=_REFERENCE, values=_VALUES)
    done = await team.ready(version=1)

    assert await _history(helm) == [(1, "deployed")]
    assert await team.get(kinds.CONFIG_MAP, "app-settings") == before
    assert [one["version"] for one in done["status"]["history"]] == [1]

    # From here on it is ours.
    await team.release(chartRef=_REFERENCE, values={"greeting": "good night"})
    await team.ready(version=2)
    assert await _history(helm) == [(1, "superseded"), (2, "deployed")]
    await team.delete()
    await team.gone()
    assert await helm.do("list") in ([], None)


@ON_DEVCLUSTER
async def test_what_differs_from_helm_s_is_upgraded(
    helm: HelmSdk, team: Team, package: str
) -> None:
    await helm.do("install", chart=package, name="app", values=_VALUES)
    await team.chart(_CHART, resource=kinds.HELM_CHART)
    await team.release(chartRef=_REFERENCE, values={"greeting": "good night"})
    await team.ready(version=2)

    settings = await team.get(kinds.CONFIG_MAP, "app-settings")
    assert settings["data"]["greeting"] == "good night"
    assert await _history(helm) == [(1, "superseded"), (2, "deployed")]


async def test_helm_goes_on_with_ours_and_we_notice(
    helm: HelmSdk, team: Team, package: str
) -> None:
    """At once: nobody asks for a look."""
    await team.chart(_CHART, resource=kinds.HELM_CHART)
    await team.release(chartRef=_REFERENCE, values=_VALUES)
    await team.ready(version=1)
    listed = await helm.do("list")
    assert [(one["name"], one["status"]) for one in listed] == [("app", "deployed")]

    # An upgrade that is not ours is undone by one of ours.
    Path(package).write_bytes(app_chart(extra=_EXTRA))
    await helm.do("upgrade", chart=package, name="app", values=_VALUES)
    done = await team.ready(version=3)
    assert "extra" in (await team.records.get("app", 2)).manifest
    assert condition(done, "Released")["reason"] == "UpgradeSucceeded"
    assert await team.names(kinds.CONFIG_MAP) == {"app-settings"}

    # A rollback to what is wanted is a revision that we take over as it is.
    await helm.do("rollback", name="app", version=1)
    done = await team.ready(version=4)
    assert (await _history(helm))[-1] == (4, "deployed")
    assert [one["version"] for one in done["status"]["history"]] == [4]

    # What is uninstalled is installed again.
    await helm.do("uninstall", name="app")
    done = await team.ready(version=1)
    assert newest(done)["action"] == "install"
    assert await _history(helm) == [(1, "deployed")]


@ON_DEVCLUSTER
@pytest.mark.parametrize("digest", ["sha512", "helm 3", "another"])
async def test_what_flux_has_left_is_continued(
    helm: HelmSdk, team: Team, package: str, digest: str
) -> None:
    """Its status and the record say the same, or the release is what an upgrade would make."""
    await helm.do("install", chart=package, name="app", values=_VALUES)
    before = await team.get(kinds.CONFIG_MAP, "app-settings")
    await team.chart(_CHART, resource=kinds.HELM_CHART)
    made = await team.release(chartRef=_REFERENCE, values=_VALUES, suspend=True)
    record = await team.records.last("app")
    algorithm = digest if digest.startswith("sha") else "sha256"
    snapshot = {
        "apiVersion": "v1" if digest == "helm 3" else "v2",
        "action": "install",
        "chartName": "app",
        "chartVersion": "1.0.0",
        "configDigest": digests.config_digest(record.config),
        "digest": digests.release_digest(record, algorithm=algorithm),
        "firstDeployed": gotime.seconds_only(record.info.first_deployed),
        "lastDeployed": gotime.seconds_only(record.info.last_deployed),
        "name": "app",
        "namespace": team.namespace,
        "status": "deployed",
        "version": 1,
    }
    if digest in {"another", "helm 3"}:
        snapshot["digest"] = f"sha256:{'0' * 64}"
    await team.patch("app", {"status": _status_of_flux(made, snapshot)}, subresource="status")
    await team.release(chartRef=_REFERENCE, values=_VALUES)
    done = await team.ready(version=1)

    assert await _history(helm) == [(1, "deployed")]
    assert await team.get(kinds.CONFIG_MAP, "app-settings") == before
    kept = [snapshot] if digest != "another" else [newest(done)]
    assert done["status"]["history"] == kept
    assert newest(done)["version"] == 1


@ON_DEVCLUSTER
async def test_a_long_life_under_flux_is_continued(helm: HelmSdk, team: Team, package: str) -> None:
    """Two revisions, a test, post-renderers, failures forgotten, requests handled: all of it stays.

    The objects were post-rendered by Flux, and nobody knows how: were the chart rendered again, its
    objects would differ from those that are there.
    """
    again = {"greeting": "good evening"}
    await helm.do("install", chart=package, name="app", values=_VALUES)
    await helm.do("upgrade", chart=package, name="app", values=again)
    before = await team.get(kinds.CONFIG_MAP, "app-settings")
    records = [await team.records.get("app", version) for version in (2, 1)]
    newest_snapshot, older = [
        {
            "apiVersion": "v2",
            "action": action,
            "appVersion": one.metadata.app_version,
            "chartName": "app",
            "chartVersion": "1.0.0",
            "configDigest": digests.config_digest(one.config),
            "digest": digests.release_digest(one),
            "firstDeployed": gotime.seconds_only(one.info.first_deployed),
            "lastDeployed": gotime.seconds_only(one.info.last_deployed),
            "name": "app",
            "namespace": team.namespace,
            "status": one.info.status,
            "version": one.version,
        }
        for one, action in zip(records, ("upgrade", "install"), strict=True)
    ]
    newest_snapshot["testHooks"] = {
        "check": {
            "lastCompleted": newest_snapshot["lastDeployed"],
            "lastStarted": newest_snapshot["lastDeployed"],
            "phase": "Succeeded",
        }
    }
    history = [
        {key: text for key, text in one.items() if text != ""} for one in (newest_snapshot, older)
    ]
    spec: dict[str, Any] = {
        "chartRef": _REFERENCE,
        "values": again,
        "test": {"enable": True},
        "commonMetadata": {"labels": {"team": "a"}},
        "postRenderers": [{"kustomize": {"images": [{"name": "x", "newTag": "2"}]}}],
        "upgrade": {"remediation": {"retries": 2}},
    }
    await team.chart(_CHART, resource=kinds.HELM_CHART)
    made = await team.release(**spec, suspend=True)
    rendered = b'[{"kustomize":{"images":[{"name":"x","newTag":"2"}]}}]\n'
    config_map = f"{team.namespace}_app-settings__ConfigMap"
    status = _status_of_flux(made, history[0]) | {
        "history": history,
        "inventory": {"entries": [{"id": config_map, "v": "v1"}]},
        "lastAttemptedReleaseAction": "upgrade",
        "lastHandledForceAt": "monday",
        "lastHandledReconcileAt": "monday",
        "lastHandledResetAt": "sunday",
        "lastReleaseRevision": 2,
        "observedPostRenderersDigest": f"sha256:{hashlib.sha256(rendered).hexdigest()}",
        "observedCommonMetadataDigest": "sha256:"
        + hashlib.sha256(b'{"labels":{"team":"a"}}\n').hexdigest(),
    }
    status["conditions"].append(
        status["conditions"][0] | {"type": "TestSuccess", "reason": "TestSucceeded"}
    )
    await team.patch("app", {"status": status}, subresource="status")
    await team.release(**spec)
    await team.annotate(requestedAt="tuesday")
    done = await team.until(lambda obj: obj["status"]["lastHandledReconcileAt"] == "tuesday")

    assert await _history(helm) == [(1, "superseded"), (2, "deployed")]
    assert await team.get(kinds.CONFIG_MAP, "app-settings") == before
    changes = {"lastHandledReconcileAt", "observedGeneration", "lastAttemptedGeneration"}
    stays = status.keys() - changes - {"conditions", "helmChart", "lastReleaseRevision"}
    assert {name: done["status"].get(name) for name in stays} == {
        name: status[name] for name in stays
    }
    assert condition(done)["status"] == "True"
    assert condition(done, "TestSuccess")["reason"] == "TestSucceeded"


def _status_of_flux(obj: JsonObject, snapshot: JsonObject) -> JsonObject:
    """What Flux writes after an install."""
    message = (
        f"Helm install succeeded for release {snapshot['namespace']}/app.v1 with chart app@1.0.0"
    )
    conditions = [
        {
            "type": kind,
            "status": "True",
            "reason": "InstallSucceeded",
            "message": message,
            "observedGeneration": obj["metadata"]["generation"],
            "lastTransitionTime": snapshot["lastDeployed"],
        }
        for kind in ("Ready", "Released")
    ]
    return {
        "observedGeneration": obj["metadata"]["generation"],
        "conditions": conditions,
        "helmChart": "",
        "history": [snapshot],
        "lastAttemptedConfigDigest": snapshot["configDigest"],
        "lastAttemptedGeneration": obj["metadata"]["generation"],
        "lastAttemptedReleaseAction": "install",
        "lastAttemptedReleaseActionDuration": "1.5s",
        "lastAttemptedRevision": "1.0.0",
        "storageNamespace": snapshot["namespace"],
    }
