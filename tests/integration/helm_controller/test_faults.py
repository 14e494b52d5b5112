"""Whatever goes wrong with an upgrade: the reason is told, tries are counted, nothing is lost.

Each fault meets a release that works. What was there before is there afterwards, and revisions are
only made as often as the spec allows; a chart that is put right is then released. On devcluster one
after the other, on the real control plane side by side: what the server has a part in, and all of
it with ``FLUVIAL_CHAOS=all``.
"""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from devcluster import DevCluster, Options
from fluvial.helm.storage import secret_name
from fluvial.kube import kinds
from fluvial.kube.resource import Resource
from fluvial.objects import JsonObject
from harness.helm import need_helm
from harness.release import ReleaseWorld
from harness.team import Team, condition, named
from helm_controller.assemble import Settings
from integration.helm_controller.release_charts import app_chart, pod_hook

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

_QUOTAS = Resource("", "v1", "resourcequotas", "ResourceQuota", namespaced=True)
_SCHEMA = '{"type": "object", "properties": {"greeting": {"type": "string", "maxLength": 9}}}'
_LOOP = "{{ range until 30000 }}{{ range until 30000 }}{{ end }}{{ end }}"
_FLOOD = '{{ range until 1000 }}{{ repeat 100000 "x" }}{{ end }}'
_EXTRA = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: extra}\n"
_UNKNOWN = "apiVersion: example.com/v1\nkind: Shelf\nmetadata: {name: one}\n"
_ELSEWHERE = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, namespace: nowhere}\n"
Prepare = Callable[[Team], Awaitable[None]]


async def _nothing(team: Team) -> None:
    del team


async def _bad_values(team: Team) -> None:
    await team.data(kinds.SECRET, "values", **{"values.yaml": "password: [very secret"})


async def _quota(team: Team) -> None:
    used = len((await team.client.list_all(kinds.CONFIG_MAP, namespace=team.namespace)).items)
    obj = named("v1", "ResourceQuota", "tight", team.namespace)
    made = await team.apply(_QUOTAS, obj | {"spec": {"hard": {"count/configmaps": str(used)}}})
    if not (made.get("status") or {}).get("used"):
        await team.until(
            lambda quota: bool((quota.get("status") or {}).get("used")), "tight", resource=_QUOTAS
        )


async def _foreign(team: Team) -> None:
    await team.data(kinds.CONFIG_MAP, "extra", whose="another's")


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with the second version, and what is said of it.

    Attributes:
        chart: its archive.
        reason: of Ready.
        text: in its message.
        prepare: what happens before.
        spec: of the HelmRelease.
        revisions: that are made of it; each is undone by one more.

    """

    chart: bytes
    reason: str
    text: str = ""
    prepare: Prepare = _nothing
    spec: dict[str, Any] = field(default_factory=dict)
    revisions: int = 0


def _chart(version: str = "1.0.0", **files: str) -> bytes:
    return app_chart(version, web="", **files)


def _next(**files: str) -> bytes:
    return _chart("2.0.0", **files)


FAULTS = {
    "an archive that is none": Fault(b"this is no archive", "ArtifactFailed"),
    "values that cannot be read": Fault(
        _next(),
        "ValuesError",
        "values",
        _bad_values,
        {"valuesFrom": [{"kind": "Secret", "name": "values"}]},
    ),
    "values that the schema refuses": Fault(
        _next(**{"values.schema.json": _SCHEMA}),
        "UpgradeFailed",
        "greeting",
        spec={"values": {"greeting": "much too long for it"}},
    ),
    "a template that fails": Fault(_next(bad='{{ fail "not so" }}'), "UpgradeFailed", "not so"),
    "a template without end": Fault(_next(bad=_FLOOD), "UpgradeFailed", "memory"),
    "a hook that fails": Fault(
        _next(bad=pod_hook("bad", "pre-upgrade", fails=True)), "UpgradeFailed", "bad", revisions=2
    ),
    "a hook that hangs": Fault(
        _next(bad=pod_hook("bad", "pre-upgrade", hangs=True)),
        "UpgradeFailed",
        "bad",
        spec={"timeout": "1s"},
        revisions=2,
    ),
    "a test that fails": Fault(
        _next(bad=pod_hook("bad", "test", fails=True)),
        "TestFailed",
        "bad",
        spec={"test": {"enable": True}},
        revisions=2,
    ),
    "an object of somebody else": Fault(
        _next(extra=_EXTRA),
        "UpgradeFailed",
        "cannot be taken",
        _foreign,
        {"upgrade": {"disableTakeOwnership": True}},
    ),
    "a kind that is not served": Fault(_next(extra=_UNKNOWN), "UpgradeFailed", "Shelf"),
    "a namespace that is not there": Fault(_next(extra=_ELSEWHERE), "UpgradeFailed", "nowhere"),
}
_WITHOUT_SERVER = {
    "an archive that is none",
    "values that cannot be read",
    "values that the schema refuses",
    "a template that fails",
    "a template without end",
}
# Quotas are the real server's alone.
_QUOTA = Fault(_next(extra=_EXTRA), "UpgradeFailed", "exceeded quota", _quota, revisions=2)


@pytest.mark.parametrize("name", FAULTS)
async def test_an_upgrade_goes_wrong(devteam: Team, name: str) -> None:
    await _goes_wrong(devteam, FAULTS[name])


async def test_a_template_loops(tmp_path: Path) -> None:
    need_helm()
    async with (
        DevCluster(Options()) as cluster,
        ReleaseWorld.start(tmp_path, cluster.kubeconfig(), cluster=cluster) as world,
    ):
        await world.start_controller(Settings(render_seconds=1.0))
        fault = Fault(_next(bad=_LOOP), "UpgradeFailed", "took longer")
        await _goes_wrong(await world.team(), fault)


async def _goes_wrong(team: Team, fault: Fault) -> None:
    await team.chart(_chart(), resource=kinds.HELM_CHART)
    spec = _spec(fault.spec)
    if "valuesFrom" in spec:
        await team.data(kinds.SECRET, "values", **{"values.yaml": "greeting: hello"})
    if "values" not in spec:
        spec["values"] = {"greeting": "hello"}
    await team.release(**spec)
    await team.ready(version=1)
    before = await team.get(kinds.CONFIG_MAP, "app-settings")

    await fault.prepare(team)
    await team.chart(fault.chart, "2.0.0", resource=kinds.HELM_CHART)
    await team.annotate(requestedAt="now")
    failed = await _given_up(team, fault)

    assert fault.text in str([condition(failed, kind)["message"] for kind in _told(failed)])
    assert "very secret" not in str(failed)
    after = await team.get(kinds.CONFIG_MAP, "app-settings")
    assert after["data"] == before["data"]
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    statuses = await team.statuses()
    assert len(statuses) == 1 + 2 * fault.revisions
    assert list(statuses.values())[-1] == "deployed"
    assert not [one for one in statuses.values() if one.startswith("pending")]
    if fault.revisions:
        assert failed["status"]["upgradeFailures"] == fault.revisions
        assert condition(failed, "Stalled")["reason"] == "RetriesExceeded"
        # Asking again is no reason to try again.
        again = await team.asked("again")
        assert again["status"]["upgradeFailures"] == fault.revisions
        assert again["status"]["history"] == failed["status"]["history"]
        assert await team.statuses() == statuses


def _spec(changes: dict[str, Any]) -> dict[str, Any]:
    upgrade = {"remediation": {"retries": 1}, **changes.get("upgrade", {})}
    reference = {"kind": "HelmChart", "name": "chart"}
    return {"chartRef": reference, **changes, "upgrade": upgrade}


def _told(obj: JsonObject) -> list[str]:
    kinds_told = ("Ready", "Released", "TestSuccess", "Stalled")
    return [kind for kind in kinds_told if condition(obj, kind)]


async def _given_up(team: Team, fault: Fault) -> JsonObject:
    """The object once all retries are used, or, where nothing was written, once it is told."""

    def told(obj: JsonObject) -> bool:
        found = [
            condition(obj, kind).get("reason") for kind in ("Ready", "Released", "TestSuccess")
        ]
        if fault.reason not in found:
            return False
        return bool(condition(obj, "Stalled")) if fault.revisions else True

    return await team.until(told)


async def test_a_chart_that_is_put_right_is_released(devteam: Team) -> None:
    """Who has given up begins anew with the next version."""
    team = devteam
    reference = {"kind": "HelmChart", "name": "chart"}
    await team.chart(
        _chart(bad=pod_hook("bad", "pre-install", fails=True)), resource=kinds.HELM_CHART
    )
    await team.release(chartRef=reference, install={"remediation": {"retries": 1}})
    failed = await team.stalled("RetriesExceeded")
    assert failed["status"]["installFailures"] == 2
    assert condition(failed, "Released")["reason"] == "InstallFailed"

    await team.chart(_chart("1.0.1"), "1.0.1", resource=kinds.HELM_CHART)
    done = await team.ready()
    assert done["status"]["history"][0]["chartVersion"] == "1.0.1"
    assert "installFailures" not in done["status"]


async def test_a_release_namespace_that_is_not_there(devteam: Team) -> None:
    await _has_no_namespace(devteam)


async def _has_no_namespace(team: Team) -> None:
    await team.chart(_chart(), resource=kinds.HELM_CHART)
    reference = {"kind": "HelmChart", "name": "chart"}
    # Nobody may do anything in a namespace that nobody has made, but for the admin.
    await team.release(
        chartRef=reference, targetNamespace=f"{team.namespace}-none", serviceAccountName=None
    )
    failed = await team.failed("InstallFailed")

    assert f"{team.namespace}-none" in condition(failed)["message"]


async def _installed(team: Team) -> str:
    await team.chart(_chart(), resource=kinds.HELM_CHART)
    await team.release(chartRef={"kind": "HelmChart", "name": "chart"})
    await team.ready(version=1)
    uid: str = (await team.get(kinds.CONFIG_MAP, "app-settings"))["metadata"]["uid"]
    return uid


async def test_a_record_that_was_deleted(devteam: Team) -> None:
    await _loses_its_record(devteam)


async def _loses_its_record(team: Team) -> None:
    """The release is made again over its objects, which stay."""
    uid = await _installed(team)
    await team.delete(secret_name("app", 1), kinds.SECRET)
    await team.asked("after the loss")
    done = await team.ready(version=1)

    assert done["status"]["history"][0]["action"] == "install"
    assert (await team.get(kinds.CONFIG_MAP, "app-settings"))["metadata"]["uid"] == uid
    assert await team.statuses() == {1: "deployed"}


_SPOILT = b"H4sIAAAA"


@pytest.mark.parametrize("content", [b"", _SPOILT, b"bm8gcmVjb3Jk"])
async def test_a_record_that_was_spoilt(devteam: Team, content: bytes) -> None:
    await _has_a_spoilt_record(devteam, content)


async def _has_a_spoilt_record(team: Team, content: bytes = _SPOILT) -> None:
    """It is told, nothing is made over it, and everything stays."""
    uid = await _installed(team)
    data = {"data": {"release": base64.b64encode(content).decode()}}
    await team.patch(secret_name("app", 1), data, resource=kinds.SECRET)
    await team.annotate(requestedAt="after it was spoilt")
    failed = await team.failed("StateError")

    assert secret_name("app", 1) in condition(failed)["message"]
    assert (await team.get(kinds.CONFIG_MAP, "app-settings"))["metadata"]["uid"] == uid
    assert len((await team.client.list_all(kinds.SECRET, namespace=team.namespace)).items) == 1


# --- on the real control plane -------------------------------------------------------------------


async def test_all_of_it_on_the_real_control_plane(realworld: ReleaseWorld) -> None:
    """Side by side, each in a namespace of its own."""
    upgrades = {**FAULTS, "a quota that is used up": _QUOTA}
    if os.environ.get("FLUVIAL_CHAOS") != "all":
        upgrades = {name: fault for name, fault in upgrades.items() if name not in _WITHOUT_SERVER}
    cases: dict[str, Callable[[Team], Awaitable[None]]] = {
        name: partial(_goes_wrong, fault=fault) for name, fault in upgrades.items()
    }
    cases["no namespace for the release"] = _has_no_namespace
    cases["a record that was deleted"] = _loses_its_record
    cases["a record that was spoilt"] = _has_a_spoilt_record

    async def one(play: Callable[[Team], Awaitable[None]]) -> None:
        team = await realworld.team()
        team.patience = 90.0  # so many at once
        await play(team)
        await realworld.leave(team)

    tasks = [asyncio.create_task(one(play), name=name) for name, play in cases.items()]
    ended = await asyncio.gather(*tasks, return_exceptions=True)

    assert {name: error for name, error in zip(cases, ended, strict=True) if error} == {}
