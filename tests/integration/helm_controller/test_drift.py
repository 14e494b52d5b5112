"""What others change of a release's objects is seen at once; a look that finds nothing costs little.

Every interval is an hour here, so that whatever happens is because of a watch.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest
import pytest_asyncio

from devcluster import DevCluster, Options
from devcluster.control import Entry, Match
from fluvial.apply import WatchLimits
from fluvial.helm.release import Status
from fluvial.helm.storage import secret_name
from fluvial.kube import kinds
from fluvial.kube.resource import Resource
from fluvial.objects import JsonObject, ObjectKey
from fluvial.runtime.queue import WorkQueue
from harness.helm import need_helm
from harness.release import AGENT, ReleaseWorld
from harness.team import Team, condition, newest
from helm_controller.assemble import Settings
from integration.helm_controller.release_charts import MAP, app_chart
from integration.helm_controller.spec_charts import NAME, WEB, failing

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

QUICK = WatchLimits(debounce=0.02, first_delay=0.02, tick=0.1)
SETTINGS = Settings(external_artifacts=True, drift=QUICK)
SERVICES = Resource("", "v1", "services", "Service", namespaced=True)
_SERVICE = f"""\
apiVersion: v1
kind: Service
metadata: {{name: {NAME}}}
spec: {{ports: [{{port: 80}}], selector: {{app: x}}}}
"""
_CLAIM = f"""\
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{name: {NAME}}}
spec: {{accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 1Gi}}}}}}
"""
_RELEASE_NAME = "meta.helm.sh/release-name"


@asynccontextmanager
async def _world(folder: Path, cluster: DevCluster) -> AsyncIterator[ReleaseWorld]:
    need_helm()
    folder.mkdir()
    async with ReleaseWorld.start(folder, cluster.kubeconfig(), cluster=cluster) as world:
        yield world


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def quick(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ReleaseWorld]:
    """One controller that does not take its time."""
    async with AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(DevCluster(Options()))
        folder = tmp_path_factory.mktemp("drift") / "world"
        world = await stack.enter_async_context(_world(folder, cluster))
        await world.start_controller(SETTINGS)
        yield world


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def team(quick: ReleaseWorld) -> AsyncIterator[Team]:
    """One namespace for all tests here."""
    team = await quick.team()
    await team.chart(app_chart(web=WEB))
    yield team
    await quick.leave(team)


async def _compared(team: Team, name: str, mode: str = "enabled", **spec: Any) -> None:
    """A release of which every object was compared."""
    await team.release(name, driftDetection={"mode": mode}, **spec)
    await team.ready(name, version=1)
    await team.asked("look", name)


async def _change(team: Team, name: str, greeting: str = "x") -> None:
    await team.patch(
        f"{name}-settings", {"data": {"greeting": greeting}}, resource=kinds.CONFIG_MAP
    )


async def _is_put_back(team: Team, name: str) -> JsonObject:
    return await team.until(
        lambda obj: obj["data"]["greeting"] == "hello",
        f"{name}-settings",
        resource=kinds.CONFIG_MAP,
    )


def _queue(world: ReleaseWorld) -> WorkQueue[ObjectKey]:
    assert world.controller is not None
    return world.controller.queue


async def _asked(
    world: ReleaseWorld, team: Team, act: Callable[[], Awaitable[object]]
) -> list[str]:
    """What the controller asks for in the team's namespace while something is done."""
    assert world.cluster is not None
    control = world.cluster.control
    await _queue(world).wait_idle()
    position = control.requests()[-1].seq
    await act()
    await _queue(world).wait_idle()
    return [
        f"{_verb(one)} {one.path.partition(f'/{team.namespace}/')[2]}"
        for one in control.requests(Match(agent=AGENT), after=position)
        if f"/namespaces/{team.namespace}/" in one.path
    ]


def _verb(entry: Entry) -> str:
    return "dry-run" if "dryRun" in entry.query else entry.verb


async def _run(world: ReleaseWorld, team: Team, name: str) -> list[str]:
    """What one run asks for that nothing but time has caused."""

    async def act() -> None:
        _queue(world).add(ObjectKey(team.namespace, name))

    return await _asked(world, team, act)


async def _calm(world: ReleaseWorld, team: Team, name: str) -> None:
    """Wait until the watches have all that there is."""
    async with asyncio.timeout(20):
        while await _run(world, team, name) != ["list secrets"]:
            await asyncio.sleep(0.02)


def _wakes(world: ReleaseWorld) -> float:
    return world.metrics.registry.get_sample_value("fluvial_drift_wakes_total") or 0.0


async def test_what_somebody_changes_or_deletes_is_put_back_at_once(
    quick: ReleaseWorld, team: Team
) -> None:
    await _compared(team, "app")

    async def meddle() -> None:
        await _change(team, "app")
        await _is_put_back(team, "app")
        await team.delete("app-settings", kinds.CONFIG_MAP)
        await _is_put_back(team, "app")
        notes = {"annotations": {_RELEASE_NAME: None}}
        await team.patch("app-settings", {"metadata": notes}, resource=kinds.CONFIG_MAP)
        await team.until(
            lambda obj: _RELEASE_NAME in (obj["metadata"].get("annotations") or {}),
            "app-settings",
            resource=kinds.CONFIG_MAP,
        )

    asked = await _asked(quick, team, meddle)

    assert {one for one in asked if one.startswith("dry-run")} == {
        "dry-run configmaps/app-settings"
    }, "nobody has touched the Deployment"
    await team.event("DriftCorrected", name="app", text="app-settings changed")
    await team.event("DriftCorrected", name="app", text="app-settings removed")


async def test_an_object_without_its_owners_label_gets_it_back(team: Team) -> None:
    """The watch sees it go."""
    await _compared(team, "bare")
    labels = ("helm.toolkit.fluxcd.io/name", "helm.toolkit.fluxcd.io/namespace")
    bare = {"metadata": {"labels": dict.fromkeys(labels)}}
    await team.patch("bare-settings", bare, resource=kinds.CONFIG_MAP)

    await team.until(
        lambda obj: set(labels) <= (obj["metadata"].get("labels") or {}).keys(),
        "bare-settings",
        resource=kinds.CONFIG_MAP,
    )


async def test_a_look_asks_for_the_records_alone(quick: ReleaseWorld, team: Team) -> None:
    await _compared(team, "calm")
    await _calm(quick, team, "calm")

    assert await _run(quick, team, "calm") == ["list secrets"]


async def test_everything_is_compared_now_and_then(quick: ReleaseWorld, team: Team) -> None:
    """A default that has changed shows in no version."""
    assert quick.cluster is not None
    control = quick.cluster.control
    await _compared(team, "checked", interval="20ms")
    position = control.requests()[-1].seq
    looks = Match(agent=AGENT, path=f"/{team.namespace}/.*/checked", query="dryRun")
    async with asyncio.timeout(20):
        while len({one.path for one in control.requests(looks, after=position)}) < 2:
            await asyncio.sleep(0.02)
    await team.delete("checked")
    await team.gone("checked")


async def test_own_writes_wake_nobody(quick: ReleaseWorld, team: Team) -> None:
    for name in ("own", "other"):
        await _compared(team, name)
    await _queue(quick).wait_idle()
    wakes, runs = _wakes(quick), quick.runs
    await team.release("own", driftDetection={"mode": "enabled"}, values={"greeting": "bye"})
    await team.ready("own", version=2)
    # Its events have come when those of a later change have.
    await _change(team, "other")
    await _is_put_back(team, "other")
    await _queue(quick).wait_idle()

    assert _wakes(quick) == wakes + 1
    assert quick.runs == runs + 2


async def test_a_warning_is_given_once(quick: ReleaseWorld, team: Team) -> None:
    await _compared(team, "told", "warn")
    await _change(team, "told", "x")
    await team.until(lambda obj: condition(obj, "Drifted").get("status") == "True", "told")
    before = await team.get(kinds.HELM_RELEASE, "told")
    for greeting in ("y", "z"):
        wakes = _wakes(quick)
        await _change(team, "told", greeting)
        async with asyncio.timeout(20):
            while _wakes(quick) == wakes:
                await asyncio.sleep(0.02)
        await _queue(quick).wait_idle()
    await _calm(quick, team, "told")
    after = await team.get(kinds.HELM_RELEASE, "told")
    await _change(team, "told", "hello")
    await team.until(lambda obj: condition(obj, "Drifted").get("status") == "False", "told")

    assert before["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"]
    event = await team.event("DriftDetected", name="told")
    events = (await team.client.list_all(kinds.EVENT, namespace=team.namespace)).items
    about = [one for one in events if one["involvedObject"]["name"] == "told"]
    assert [one for one in about if one["reason"] == "DriftDetected"] == [event]
    assert event.get("count", 1) == 1
    assert not [one for one in about if one["reason"] == "DriftCorrected"]


async def test_a_fight_gets_ever_slower(quick: ReleaseWorld, team: Team) -> None:
    """Another manager wants its own value, and never gives up."""
    loop = asyncio.get_running_loop()
    await _compared(team, "fought")
    started = loop.time()
    for _ in range(6):
        await _queue(quick).wait_idle()
        await _change(team, "fought")
        await _is_put_back(team, "fought")

    delays = [QUICK.first_delay * 2**turn for turn in range(5)]
    assert loop.time() - started > sum(delays)


async def test_what_is_ignored_or_left_out_stays(quick: ReleaseWorld, team: Team) -> None:
    rule = {"paths": ["/data/greeting"], "target": {"kind": "ConfigMap"}}
    detection = {"mode": "enabled", "ignore": [rule]}
    await team.release("lenient", driftDetection=detection)
    await team.ready("lenient", version=1)
    await team.asked("look", "lenient")
    await _compared(team, "excused")
    off = {"helm.toolkit.fluxcd.io/driftDetection": "disabled"}
    marked = {"metadata": {"annotations": off}, "data": {"greeting": "x"}}
    await team.patch("excused-settings", marked, resource=kinds.CONFIG_MAP)
    wakes = _wakes(quick)
    await _change(team, "lenient")
    async with asyncio.timeout(20):
        while _wakes(quick) < wakes + 1:
            await asyncio.sleep(0.02)
    await _queue(quick).wait_idle()
    for name in ("lenient", "excused"):
        left = await team.get(kinds.CONFIG_MAP, f"{name}-settings")
        assert left["data"]["greeting"] == "x"

    # What was ignored hides nothing else, and what is not left out any more is put back.
    await team.patch("lenient-settings", {"data": {"version": "x"}}, resource=kinds.CONFIG_MAP)
    await team.until(
        lambda obj: obj["data"]["version"] != "x", "lenient-settings", resource=kinds.CONFIG_MAP
    )
    on = {"metadata": {"annotations": dict.fromkeys(off)}}
    await team.patch("excused-settings", on, resource=kinds.CONFIG_MAP)
    await _is_put_back(team, "excused")


async def test_what_has_failed_keeps_its_time(quick: ReleaseWorld, team: Team) -> None:
    """A change of its objects is no reason to try again before it is time."""
    await team.chart(app_chart(web=""), name="worse")
    spec: dict[str, Any] = {
        "chartRef": {"kind": "OCIRepository", "name": "worse"},
        "upgrade": {"strategy": {"name": "RetryOnFailure", "retryInterval": "1h"}},
    }
    await _compared(team, "worse", **spec)
    worse = app_chart("2.0.0", web="", bad=failing("pre-upgrade"))
    await team.chart(worse, "2.0.0", name="worse")
    await team.failed("UpgradeFailed", "worse")
    await _compared(team, "fence-of-worse")
    await _change(team, "worse")
    await _change(team, "fence-of-worse")
    await _is_put_back(team, "fence-of-worse")
    await _queue(quick).wait_idle()

    assert await team.statuses("worse") == {1: "deployed", 2: "failed"}
    assert (await team.get(kinds.CONFIG_MAP, "worse-settings"))["data"]["greeting"] == "x"


async def test_a_watch_that_ends_or_expires_begins_again(quick: ReleaseWorld, team: Team) -> None:
    assert quick.cluster is not None
    control = quick.cluster.control
    await _compared(team, "watched")
    watches = Match(agent=AGENT, verb="watch", path="configmaps$")
    for end in (control.cut_watches, control.expire_watches):
        async with asyncio.timeout(20):
            while not end(watches):
                await asyncio.sleep(0.02)
        await _change(team, "watched")
        await _is_put_back(team, "watched")


async def test_without_drift_detection_nothing_is_watched(quick: ReleaseWorld, team: Team) -> None:
    assert quick.cluster is not None
    control = quick.cluster.control
    watches = Match(agent=AGENT, verb="watch", path="services$")
    await team.chart(app_chart(web="", service=_SERVICE), name="served")
    ref = {"kind": "OCIRepository", "name": "served"}
    spec: dict[str, Any] = {"chartRef": ref, "install": {"disableWait": True}}
    await team.release("served", **spec)
    await team.ready("served", version=1)
    await _queue(quick).wait_idle()
    assert control.requests(watches) == []

    await _compared(team, "served", **spec)
    async with asyncio.timeout(20):
        while not control.requests(watches):
            await asyncio.sleep(0.02)
    change = {"spec": {"selector": {"app": "y"}}}
    await team.patch("served", change, resource=SERVICES)
    await team.until(
        lambda obj: obj["spec"]["selector"] == {"app": "x"}, "served", resource=SERVICES
    )

    await team.release("served", **spec)
    off = await team.ready("served")
    await team.patch("served", change, resource=SERVICES)
    await _compared(team, "after")
    await _change(team, "after")
    await _is_put_back(team, "after")
    assert not condition(off, "Drifted")
    assert (await team.get(SERVICES, "served"))["spec"]["selector"] == {"app": "y"}


async def test_what_is_in_another_cluster_waits_for_the_timer(
    quick: ReleaseWorld, team: Team
) -> None:
    """The other cluster is this one by another way."""
    assert quick.cluster is not None
    config = base64.b64encode(orjson.dumps(quick.kubeconfig)).decode()
    secret = {"apiVersion": "v1", "kind": "Secret", "data": {"value": config}}
    secret["metadata"] = {"name": "remote", "namespace": team.namespace}
    await team.apply(kinds.SECRET, secret)
    await team.chart(app_chart(web="", claim=_CLAIM), name="far")
    await _compared(
        team,
        "far",
        chartRef={"kind": "OCIRepository", "name": "far"},
        kubeConfig={"secretRef": {"name": "remote"}},
        install={"disableWait": True},
    )
    await _change(team, "far")
    watches = Match(agent=AGENT, verb="watch", path="persistentvolumeclaims$")
    assert quick.cluster.control.requests(watches) == []
    assert (await team.get(kinds.CONFIG_MAP, "far-settings"))["data"]["greeting"] == "x"
    asked = await _run(quick, team, "far")

    assert [one for one in asked if one.startswith("dry-run")][:1] == [
        "dry-run configmaps/far-settings"
    ]
    await _is_put_back(team, "far")
    # What is in place costs one list a kind.
    assert sorted(set(await _run(quick, team, "far"))) == [
        *("get secrets/remote", "list configmaps"),
        *("list persistentvolumeclaims", "list secrets"),
    ]


async def _says(team: Team, name: str, statuses: dict[int, str]) -> None:
    """Wait until the records of a release are these."""
    async with asyncio.timeout(team.patience):
        while await team.statuses(name) != statuses:
            await asyncio.sleep(0.02)


async def test_a_record_that_somebody_deletes_is_made_again_at_once(
    quick: ReleaseWorld, team: Team
) -> None:
    await team.release("kept")
    await team.ready("kept", version=1)
    await _queue(quick).wait_idle()
    await team.delete(secret_name("kept", 1), kinds.SECRET)

    await _says(team, "kept", {1: "deployed"})


async def test_what_another_hand_releases_is_looked_at_when_it_is_done(
    quick: ReleaseWorld, team: Team
) -> None:
    """As Helm's tool does it: until then a look would take it for what a killed process left."""
    for name in ("taken", "fence"):
        await team.release(name)
        await team.ready(name, version=1)
    await _queue(quick).wait_idle()
    first = await team.records.last("taken")
    second = msgspec.structs.replace(first, version=2)
    await team.records.create(second.with_status(Status.PENDING_UPGRADE, "by hand"))
    await team.delete(secret_name("fence", 1), kinds.SECRET)
    await _says(team, "fence", {1: "deployed"})
    await _queue(quick).wait_idle()
    assert await team.statuses("taken") == {1: "deployed", 2: "pending-upgrade"}

    await team.records.update(first.with_status(Status.SUPERSEDED, "by hand"))
    await team.records.update(second)
    taken = await team.until(lambda obj: newest(obj).get("version") == 2, "taken")
    assert condition(taken)["status"] == "True"
    assert await team.statuses("taken") == {1: "superseded", 2: "deployed"}


async def test_a_controller_that_comes_back_finds_what_was_changed_meanwhile(
    tmp_path: Path,
) -> None:
    archive = app_chart(settings=MAP, web="")
    async with DevCluster(Options()) as cluster:
        async with _world(tmp_path / "first", cluster) as world:
            await world.start_controller(SETTINGS)
            team = await world.team()
            await team.chart(archive)
            await _compared(team, "app")
        async with _world(tmp_path / "second", cluster) as world:
            again = Team(world.client, team.namespace, world.folder / "storage", world.address)
            await again.chart(archive)
            await _change(again, "app")
            await world.start_controller(SETTINGS)
            await _is_put_back(again, "app")
            await again.delete("app-settings", kinds.CONFIG_MAP)
            await _is_put_back(again, "app")
            assert newest(await again.ready("app"))["version"] == 1
