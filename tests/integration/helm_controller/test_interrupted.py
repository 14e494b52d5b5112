"""A HelmRelease is deleted, suspended or changed while its action waits for what never comes.

Its timeout is an hour, so that whatever ends has been ended. Objects and hooks hang until the test
heals them; the test's own finalizer keeps the HelmRelease to be looked at when it has been let go.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import pytest
import pytest_asyncio

from devcluster import DevCluster, Options
from fluvial.kube import kinds
from fluvial.kube.resource import Resource
from fluvial.objects import JsonObject, ObjectKey
from harness.helm import need_helm
from harness.release import ReleaseWorld
from harness.team import DEPLOYMENTS, JOBS, Team, condition, newest
from helm_controller.assemble import Settings
from integration.helm_controller.release_charts import app_chart, hook, job, web

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

_HOLD: Final = "fluvial.dev/test"
_HEALTH: Final = "devcluster.fluvial.dev/health"
_NEVER: Final = web().replace(
    "{name: web}",
    f'{{name: web, annotations: {{{_HEALTH}: {{{{ .Values.health | default "never" | quote }}}}}}}}',
    1,
)
"""A Deployment that is never ready, unless a value says otherwise."""
_POLICY: Final = "helm.sh/hook-delete-policy"
_KEPT: Final = {"uninstall": {"keepHistory": True}}


def _deleted_after(text: str, policy: str) -> str:
    """A hook that is deleted by a policy."""
    return text.replace("annotations: {", f'annotations: {{"{_POLICY}": {policy}, ', 1)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def gated(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ReleaseWorld]:
    """A controller with the gate CancelHealthCheckOnNewRevision."""
    need_helm()
    folder = tmp_path_factory.mktemp("interrupted")
    async with (
        DevCluster(Options()) as cluster,
        ReleaseWorld.start(folder, cluster.kubeconfig(), cluster=cluster) as world,
    ):
        await world.start_controller(
            Settings(external_artifacts=True, cancels_on_new_revision=True)
        )
        yield world


@pytest_asyncio.fixture(loop_scope="session")
async def changing(gated: ReleaseWorld) -> AsyncIterator[Team]:
    """A namespace of it."""
    team = await gated.team()
    yield team
    await gated.leave(team)


async def _release(team: Team, **spec: Any) -> None:
    """A HelmRelease that stays when it has been let go."""
    await team.release(timeout="1h", **spec)
    obj = await team.until(lambda obj: bool(obj["metadata"].get("finalizers")))
    held = [*obj["metadata"]["finalizers"], _HOLD]
    await team.patch("app", {"metadata": {"finalizers": held}})


async def _hangs(team: Team, resource: Resource, name: str, *, action: str = "install") -> None:
    """Returns once an action waits for an object."""
    await team.until(lambda _: True, name, resource=resource)
    await team.until(
        lambda obj: f"'{action}' action" in condition(obj, "Reconciling").get("message", "")
    )


async def _let_go(team: Team) -> JsonObject:
    """The HelmRelease once the controller has let it go; then it goes."""
    obj = await team.until(lambda obj: obj["metadata"].get("finalizers") == [_HOLD])
    await team.patch("app", {"metadata": {"finalizers": None}})
    await team.gone()
    return obj


async def _heal(team: Team, name: str = "web", resource: Resource = DEPLOYMENTS) -> None:
    await team.patch(name, {"metadata": {"annotations": {_HEALTH: None}}}, resource=resource)


async def _nothing_is_left(team: Team) -> None:
    assert await team.names(kinds.CONFIG_MAP) == set()
    assert await team.names(DEPLOYMENTS) == set()
    assert "deployed" not in (await team.statuses()).values()
    assert not [one for one in (await team.statuses()).values() if one.startswith("pending")]


_HANGS: Final[Mapping[str, tuple[dict[str, str], Resource, str]]] = {
    "objects": ({"web": _NEVER}, DEPLOYMENTS, "web"),
    "hook": ({"bad": hook("bad", "post-install", hangs=True)}, JOBS, "bad"),
}


@pytest.mark.parametrize("what", _HANGS)
@pytest.mark.shows(
    "HelmRelease/Ready/HealthCheckCanceled",
    "HelmRelease/Released/HealthCheckCanceled",
    "event:HelmRelease/HealthCheckCanceled",
)
async def test_a_deletion_does_not_wait_for_an_install(devteam: Team, what: str) -> None:
    files, resource, name = _HANGS[what]
    await devteam.chart(app_chart(**{"web": "", **files}))
    await _release(devteam, **_KEPT)
    await _hangs(devteam, resource, name)
    assert await devteam.statuses() == {1: "pending-install"}
    await devteam.delete()
    last = await _let_go(devteam)

    assert newest(last)["status"] == "failed"
    assert condition(last)["reason"] == "HealthCheckCanceled"
    assert condition(last, "Released")["reason"] == "HealthCheckCanceled"
    assert "is being deleted" in condition(last)["message"]
    assert last["status"]["installFailures"] == last["status"]["failures"] == 1
    event = await devteam.event("HealthCheckCanceled")
    assert event["type"] == "Normal"
    assert await devteam.statuses() == {1: "uninstalled"}
    await _nothing_is_left(devteam)


async def test_hooks_of_an_interrupted_action_are_deleted_as_they_say(devteam: Team) -> None:
    """After a failure, and after their success, as after any failure."""
    gone = _deleted_after(hook("gone", "pre-install"), "hook-succeeded")
    bad = _deleted_after(hook("bad", "pre-install", hangs=True), "hook-failed")
    kept = hook("kept", "pre-install")
    bad = bad.replace("annotations: {", 'annotations: {"helm.sh/hook-weight": "9", ', 1)
    await devteam.chart(app_chart(web="", gone=gone, bad=bad, kept=kept))
    await _release(devteam)
    await _hangs(devteam, JOBS, "bad")
    await devteam.delete()
    await _let_go(devteam)

    assert await devteam.names(JOBS) == {"kept"}
    assert await devteam.statuses() == {}


@pytest.mark.shows("HelmRelease/TestSuccess/HealthCheckCanceled")
async def test_a_deletion_does_not_wait_for_a_test(team: Team) -> None:
    await team.chart(app_chart(web="", check=hook("check", "test", hangs=True)))
    await _release(team, test={"enable": True}, install={"remediation": {"retries": 3}})
    await _hangs(team, JOBS, "check", action="test")
    await team.delete()
    last = await _let_go(team)

    assert condition(last, "TestSuccess")["reason"] == "HealthCheckCanceled"
    assert newest(last)["testHooks"]["check"]["phase"] == "Failed"
    assert await team.statuses() == {}
    await _nothing_is_left(team)


async def test_a_deletion_does_not_wait_for_an_upgrade_or_roll_it_back(devteam: Team) -> None:
    remediation = {"remediation": {"retries": 3, "remediateLastFailure": True}}
    await devteam.chart(app_chart())
    await _release(devteam, upgrade=remediation, **_KEPT)
    await devteam.ready(version=1)
    await devteam.chart(app_chart("2.0.0", web=_NEVER), "2.0.0")
    await _hangs(devteam, DEPLOYMENTS, "web", action="upgrade")
    await devteam.until(
        lambda obj: obj["metadata"]["annotations"].get(_HEALTH), "web", resource=DEPLOYMENTS
    )
    await devteam.delete()
    last = await _let_go(devteam)

    assert [one["status"] for one in last["status"]["history"]] == ["failed", "deployed"]
    assert last["status"]["upgradeFailures"] == 1
    assert condition(last, "Remediated") == {}
    assert await devteam.statuses() == {1: "superseded", 2: "uninstalled"}
    await _nothing_is_left(devteam)


@pytest.mark.shows("HelmRelease/Remediated/HealthCheckCanceled")
async def test_a_deletion_does_not_wait_for_a_remedy(devteam: Team) -> None:
    """An uninstall that hangs is begun anew, with what the object says of it by then."""
    stuck = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: stuck, finalizers: [a.b/c]}\n"
    bad = hook("bad", "post-install", fails=True)
    await devteam.chart(app_chart(web="", stuck=stuck, bad=bad))
    remedy = {"remediation": {"retries": 1, "remediateLastFailure": True}}
    await _release(devteam, install=remedy)
    await devteam.until(
        lambda obj: obj["metadata"].get("deletionTimestamp"), "stuck", resource=kinds.CONFIG_MAP
    )
    await devteam.delete()
    await devteam.event("HealthCheckCanceled", text="uninstall")
    await devteam.patch("stuck", {"metadata": {"finalizers": None}}, resource=kinds.CONFIG_MAP)
    last = await _let_go(devteam)

    assert condition(last, "Remediated")["reason"] == "HealthCheckCanceled"
    assert await devteam.statuses() == {}
    await _nothing_is_left(devteam)


async def test_without_the_gate_a_change_waits_for_the_action(devteam: Team) -> None:
    """As a status, a label, an annotation and a request do."""
    await devteam.chart(app_chart(web=_NEVER))
    await _release(devteam)
    await _hangs(devteam, DEPLOYMENTS, "web")
    await devteam.patch("app", {"metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}}})
    await devteam.annotate(requestedAt="now")
    await devteam.release(timeout="1h", values={"health": "well"})
    assert await devteam.statuses() == {1: "pending-install"}
    await _heal(devteam)
    done = await devteam.ready(version=2)

    assert [one["status"] for one in done["status"]["history"]] == ["deployed", "superseded"]
    assert "failures" not in done["status"]
    await _end(devteam)


async def test_a_suspended_action_goes_on_even_if_its_object_is_deleted(devteam: Team) -> None:
    """Nothing is uninstalled then, so the release is to be as good as it can."""
    await devteam.chart(app_chart(web=_NEVER))
    await _release(devteam)
    await _hangs(devteam, DEPLOYMENTS, "web")
    await devteam.release(timeout="1h", suspend=True)
    await devteam.delete()
    await _heal(devteam)
    last = await _let_go(devteam)

    assert condition(last)["reason"] == "InstallSucceeded"
    assert await devteam.statuses() == {1: "deployed"}
    assert await devteam.names(DEPLOYMENTS) == {"web"}


async def _end(team: Team) -> None:
    """Delete what a test has left."""
    await team.patch("app", {"metadata": {"finalizers": None}})
    await team.delete()


@pytest.mark.parametrize("what", ["spec", "source", "values"])
async def test_behind_the_gate_what_is_new_does_not_wait(changing: Team, what: str) -> None:
    """The revision is stored as failed and counted once; what is new is released at once."""
    team = changing
    await _config(team, "hello")
    await team.chart(app_chart(web=_NEVER))
    values = [{"kind": "ConfigMap", "name": "given"}]
    await _release(team, valuesFrom=values)
    await _hangs(team, DEPLOYMENTS, "web")
    # Neither of these changes what is released.
    await team.patch("given", {"metadata": {"labels": {"a": "b"}}}, resource=kinds.CONFIG_MAP)
    await team.patch("app", {"metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}}})
    assert await team.statuses() == {1: "pending-install"}
    if what == "spec":
        await team.release(timeout="1h", valuesFrom=values, values={"health": "well"})
    elif what == "source":
        await team.chart(app_chart("2.0.0"), "2.0.0")
    else:
        await _config(team, "hello", health="well")
    event = await team.event("HealthCheckCanceled")
    done = await team.ready(version=2)

    assert event["type"] == "Normal"
    first = await team.records.get("app", 1)
    assert first.info.description.startswith('Release "app" failed: the wait was ended: ')
    assert newest(done)["status"] == "deployed"
    assert await team.statuses() == {1: "superseded", 2: "deployed"}
    assert "failures" not in done["status"]
    await _end(team)


async def _config(team: Team, greeting: str, **values: str) -> None:
    """Values in a ConfigMap whose changes wake."""
    lines = "".join(f"{name}: {text}\n" for name, text in {"greeting": greeting, **values}.items())
    await team.data(kinds.CONFIG_MAP, "given", **{"values.yaml": lines})
    watched = {"reconcile.fluxcd.io/watch": "Enabled"}
    await team.patch("given", {"metadata": {"labels": watched}}, resource=kinds.CONFIG_MAP)


async def test_behind_the_gate_an_interruption_is_counted_once(changing: Team) -> None:
    """Without retries and without anything new nothing follows; with a change it is begun anew."""
    team = changing
    await team.chart(app_chart(web=_NEVER))
    await _release(team)
    await _hangs(team, DEPLOYMENTS, "web")
    await team.annotate(requestedAt="now")
    stalled = await team.stalled("RetriesExceeded")
    assert stalled["status"]["installFailures"] == stalled["status"]["failures"] == 1
    assert await team.statuses() == {1: "failed"}
    await team.chart(app_chart("2.0.0"), "2.0.0")
    done = await team.ready(version=2)

    assert "failures" not in done["status"]
    assert await team.statuses() == {1: "superseded", 2: "deployed"}
    await _end(team)


async def test_behind_the_gate_a_hook_is_run_to_its_end(changing: Team) -> None:
    team = changing
    slow = job("slow", hook="pre-install", hangs=True)
    await team.chart(app_chart(web="", slow=slow))
    await _release(team)
    await _hangs(team, JOBS, "slow")
    await team.release(timeout="1h", values={"greeting": "good night"})
    key = ObjectKey(team.namespace, "slow")
    assert (await team.client.get(JOBS, key))["metadata"]["name"] == "slow"
    await _heal(team, "slow", JOBS)
    await team.ready(version=2)

    assert await team.statuses() == {1: "superseded", 2: "deployed"}
    await _end(team)
