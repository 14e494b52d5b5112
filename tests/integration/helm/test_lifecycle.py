"""Releases installed, upgraded and rolled back, and what is left when that fails."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import msgspec
import pytest

from fluvial.helm.errors import ActionFailed, ActionRefused, ManifestError, OwnershipError
from fluvial.helm.ownership import not_owned
from fluvial.helm.release import Status
from fluvial.helm.storage import secret_name
from fluvial.kube.discovery import NoMatch
from fluvial.kube.kinds import SECRET
from integration.apply.apply_world import CONFIG_MAPS
from integration.helm.actions import JOBS, QUICK, Actions, actions, config_map, job
from integration.helm.helm_world import ON_DEVCLUSTER, HelmWorld

_KEEP = {"helm.sh/resource-policy": "keep"}


@pytest.fixture
async def act(world: HelmWorld) -> AsyncIterator[Actions]:
    async with actions(world) as made:
        yield made


async def test_an_install_is_written_ahead_and_marked(act: Actions) -> None:
    release = await act.install({"a.yaml": config_map("a", k="1"), "b.yaml": config_map("b")})

    assert release.status is Status.DEPLOYED
    assert release.info.first_deployed == release.info.last_deployed
    assert act.world.seen == ["v1 pending-install", "v1 deployed"]
    assert await act.statuses() == {1: "deployed"}
    live = await act.world.world.live("a", CONFIG_MAPS)
    assert live["data"] == {"k": "1"}
    assert not_owned(live, name="app", namespace=act.world.namespace) == ""
    managers = {(one["manager"], one["operation"]) for one in live["metadata"]["managedFields"]}
    assert managers == {("helm-controller", "Apply")}
    assert (await act.world.storage.last("app")).server_side


async def test_an_upgrade_changes_adds_and_deletes(act: Actions) -> None:
    await act.install(
        {
            "a.yaml": config_map("a", k="1", old="1"),
            "gone.yaml": config_map("gone"),
            "kept.yaml": config_map("kept", annotations=_KEEP),
        }
    )
    act.world.seen.clear()
    release = await act.upgrade({"a.yaml": config_map("a", k="2"), "new.yaml": config_map("new")})

    assert act.world.seen == ["v2 pending-upgrade", "v1 superseded", "v2 deployed"]
    assert release.info.description == "Upgrade complete"
    assert await act.data("a") == {"k": "2"}
    assert await act.names() == {"a", "new", "kept"}


async def test_the_history_is_limited(act: Actions) -> None:
    await act.install({"a.yaml": config_map("a")})
    for n in range(3):
        await act.upgrade({"a.yaml": config_map("a", n=str(n))}, replace(QUICK, history_limit=2))

    assert await act.statuses() == {3: "superseded", 4: "deployed"}


@ON_DEVCLUSTER
async def test_a_history_of_one_is_enough_after_a_failure(act: Actions) -> None:
    with pytest.raises(ActionFailed):
        await act.install({"a.yaml": config_map("a") + "nonsense: true\n"})
    await act.upgrade({"a.yaml": config_map("a")}, replace(QUICK, history_limit=1))

    assert await act.statuses() == {2: "deployed"}


async def test_what_is_others_is_not_taken_unless_it_may(act: Actions) -> None:
    other = act.world.world.config_map("a", k="other")
    await act.world.world.admin.create(CONFIG_MAPS, other, field_manager="other")
    files = {"a.yaml": config_map("a", k="mine")}

    with pytest.raises(OwnershipError, match=r"ConfigMap/.*/a exists and cannot be taken"):
        await act.install(files, replace(QUICK, take_ownership=False))
    assert await act.statuses() == {}
    assert await act.data("a") == {"k": "other"}

    await act.install(files)
    assert await act.data("a") == {"k": "mine"}


@ON_DEVCLUSTER
@pytest.mark.parametrize("name", ["", "App", "a_b", "a,b=c", "../a", "-a", "a.", "a" * 54])
async def test_what_is_no_name_is_refused(act: Actions, name: str) -> None:
    release = msgspec.structs.replace(await act.make({}, 1), name=name)

    with pytest.raises(ActionRefused, match="is no name for a release"):
        await act.lifecycle.install(release, QUICK)
    assert await act.world.secrets() == {}


@ON_DEVCLUSTER
async def test_a_name_in_use_is_refused(act: Actions) -> None:
    await act.install({"a.yaml": config_map("a")})

    with pytest.raises(ActionRefused, match="is there already, and is deployed"):
        await act.install({"a.yaml": config_map("a", k="2")}, replace(QUICK, replace=True))
    assert await act.statuses() == {1: "deployed"}


@ON_DEVCLUSTER
async def test_a_failed_release_can_be_replaced(act: Actions) -> None:
    bad = {"a.yaml": config_map("a") + "nonsense: true\n"}
    with pytest.raises(ActionFailed):
        await act.install(bad)
    await act.install({"a.yaml": config_map("a")}, replace(QUICK, replace=True))

    assert await act.statuses() == {1: "failed", 2: "deployed"}


async def test_unknown_fields_are_refused(act: Actions) -> None:
    bad = {"a.yaml": config_map("a") + "nonsense: true\n"}

    with pytest.raises(ActionFailed, match="nonsense") as caught:
        await act.install(bad)
    assert caught.value.release.status is Status.FAILED
    assert "nonsense" in (await act.world.storage.last("app")).info.description
    assert await act.names() == set()


@ON_DEVCLUSTER
@pytest.mark.parametrize(
    ("text", "error"),
    [
        pytest.param(
            "apiVersion: example.com/v1\nkind: Nobody\nmetadata: {name: x}",
            NoMatch,
            marks=pytest.mark.slow,
        ),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {generateName: x-}", ManifestError),
        ("kind: ConfigMap\nmetadata: {name: x}", ManifestError),
    ],
    ids=["kind", "name", "version"],
)
async def test_what_cannot_be_an_object_is_refused_before_anything(
    act: Actions, text: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        await act.install({"a.yaml": config_map("a"), "x.yaml": text})

    assert await act.statuses() == {}
    assert await act.names() == set()


async def test_a_failed_upgrade_leaves_what_was_deployed(act: Actions) -> None:
    await act.install({"a.yaml": config_map("a", k="1")})
    bad = {
        "a.yaml": config_map("a", k="2"),
        "extra.yaml": config_map("extra"),
        "s.yaml": _BAD_SECRET,
    }

    with pytest.raises(ActionFailed) as caught:
        await act.upgrade(bad, replace(QUICK, cleanup_on_fail=True))
    assert "s3cr3t" not in str(caught.value)
    assert await act.statuses() == {1: "deployed", 2: "failed"}
    assert "extra" not in await act.names()

    assert (await act.lifecycle.current("app")).version == 1
    await act.upgrade({"a.yaml": config_map("a", k="3")})
    assert await act.statuses() == {1: "superseded", 2: "failed", 3: "deployed"}
    assert await act.data("a") == {"k": "3"}


_BAD_SECRET = (
    "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {password: 's3cr3t not base64!'}\n"
)
_PENDING = (
    "apiVersion: apps/v1\nkind: Deployment\n"
    "metadata: {name: d, annotations: {devcluster.fluvial.dev/health: never}}\n"
    "spec:\n  selector: {matchLabels: {app: d}}\n  template:\n"
    "    metadata: {labels: {app: d, fluvial.dev/stay-pending: '1'}}\n"
    "    spec: {containers: [{name: c, image: 'example.com/c:1'}]}\n"
)


async def test_what_is_not_ready_in_time_fails(act: Actions) -> None:
    with pytest.raises(ActionFailed, match=r"timeout waiting for: \[Deployment/.*/d"):
        await act.install({"d.yaml": _PENDING}, replace(QUICK, timeout=0.5))

    assert await act.statuses() == {1: "failed"}


@ON_DEVCLUSTER
async def test_nobody_waits_who_must_not(act: Actions) -> None:
    release = await act.install({"d.yaml": _PENDING}, replace(QUICK, wait=False))

    assert release.status is Status.DEPLOYED


async def test_hooks_run_in_their_order_and_are_deleted_as_they_say(act: Actions) -> None:
    files = {
        "a.yaml": config_map("a"),
        "1.yaml": job("second", hook="pre-install", delete_policy="hook-succeeded"),
        "2.yaml": job("first", hook="pre-install,post-upgrade", weight="-1"),
        "3.yaml": job("last", hook="post-install"),
    }
    release = await act.install(files)

    runs = {hook.name: hook.last_run for hook in release.hooks}
    assert {name: run.phase for name, run in runs.items()} == dict.fromkeys(
        ["first", "second", "last"], "Succeeded"
    )
    assert runs["first"].completed_at <= runs["second"].started_at
    assert runs["second"].completed_at <= runs["last"].started_at
    assert act.world.seen == [
        "v1 pending-install",
        *["v1 pending-install"] * 3,
        "v1 deployed",
    ]
    assert await act.world.world.names(JOBS) == {"first", "last"}
    first = await act.world.world.live("first", JOBS)
    assert not_owned(first, name="app", namespace=act.world.namespace)

    await act.upgrade(files)
    again = await act.world.world.live("first", JOBS)
    assert again["metadata"]["uid"] != first["metadata"]["uid"]
    assert await act.world.world.names(JOBS) == {"first", "last"}


@ON_DEVCLUSTER
async def test_a_failed_hook_ends_the_action(act: Actions) -> None:
    files = {
        "a.yaml": config_map("a"),
        "1.yaml": job("fine", hook="pre-install", weight="1", delete_policy="hook-succeeded"),
        "2.yaml": job(
            "bad", hook="pre-install", weight="2", delete_policy="hook-failed", fails=True
        ),
        "3.yaml": job("never", hook="pre-install", weight="3"),
    }

    with pytest.raises(ActionFailed, match=r"pre-install hook chart/templates/2\.yaml failed"):
        await act.install(files)
    stored = await act.world.storage.last("app")
    assert {hook.name: hook.last_run.phase for hook in stored.hooks} == {
        "fine": "Succeeded",
        "bad": "Failed",
        "never": "",
    }
    assert stored.status is Status.FAILED
    assert await act.names() == set()
    assert await act.world.world.names(JOBS) == set()


@ON_DEVCLUSTER
async def test_a_record_that_is_taken_away_is_told(act: Actions) -> None:
    async def steal(verb: str, name: str) -> None:
        if (verb, name) == ("apply", "a"):
            await act.world.world.admin.delete(SECRET, act.world.world.key(secret_name("app", 1)))

    act.world.world.spy.after = steal
    files = {"a.yaml": config_map("a"), "d.yaml": _PENDING}
    with pytest.raises(ActionFailed, match=r"timeout waiting.*the failure could not be recorded"):
        await act.install(files, replace(QUICK, timeout=0.3))

    assert await act.statuses() == {}
    act.world.world.spy.after = None
    await act.install({"a.yaml": config_map("a")})
    assert await act.statuses() == {1: "deployed"}


@ON_DEVCLUSTER
async def test_hooks_can_be_left_out(act: Actions) -> None:
    files = {"a.yaml": config_map("a"), "1.yaml": job("bad", hook="pre-install", fails=True)}
    release = await act.install(files, replace(QUICK, hooks=False))

    assert release.status is Status.DEPLOYED
    assert await act.world.world.names(JOBS) == set()


async def test_a_rollback_makes_a_new_revision_of_an_old_one(act: Actions) -> None:
    await act.install({"a.yaml": config_map("a", k="1"), "b.yaml": config_map("b")})
    await act.upgrade({"a.yaml": config_map("a", k="2"), "c.yaml": config_map("c")})
    act.world.seen.clear()
    release = await act.lifecycle.roll_back("app", 1, QUICK)

    assert act.world.seen == ["v3 pending-rollback", "v2 superseded", "v3 deployed"]
    assert release.info.description == "Rollback to 1"
    assert release.config == {"n": 1}
    assert await act.data("a") == {"k": "1"}
    assert await act.names() == {"a", "b"}
    assert await act.statuses() == {1: "superseded", 2: "superseded", 3: "deployed"}


async def test_what_is_pending_is_left_alone_until_it_is_unlocked(act: Actions) -> None:
    await act.install({"a.yaml": config_map("a")})
    current = await act.lifecycle.current("app")
    await act.world.storage.create(await act.make({"a.yaml": config_map("a")}, 2, current))

    with pytest.raises(ActionRefused, match="is being worked on"):
        await act.upgrade({"a.yaml": config_map("a")})
    with pytest.raises(ActionRefused, match="is being worked on"):
        await act.lifecycle.roll_back("app", 1, QUICK)

    unlocked = await act.ending.unlock("app")
    assert unlocked is not None
    assert unlocked.info.description == "Release unlocked from stale 'pending-upgrade' state"
    assert await act.ending.unlock("app") is None
    assert await act.statuses() == {1: "deployed", 2: "failed"}
    await act.upgrade({"a.yaml": config_map("a", k="3")})
    assert await act.data("a") == {"k": "3"}


async def test_fields_that_the_client_applied_are_taken_over(act: Actions) -> None:
    await act.install({"a.yaml": config_map("a", k="1", old="1")})
    # As Helm 3 leaves it: written by an update, under its own name.
    live = await act.world.world.live("a", CONFIG_MAPS)
    entry = {**live["metadata"]["managedFields"][0], "manager": "helm", "operation": "Update"}
    await act.world.world.admin.patch(
        CONFIG_MAPS,
        act.world.world.key("a"),
        [{"op": "replace", "path": "/metadata/managedFields", "value": [entry]}],
        patch_type="json",
        field_manager="test",
    )
    current = await act.lifecycle.current("app")
    release = await act.make({"a.yaml": config_map("a", k="2")}, 2, current)
    old = msgspec.structs.replace(current, apply_method="csa")
    await act.lifecycle.upgrade(release, current=old, options=QUICK)

    assert await act.data("a") == {"k": "2"}
    live = await act.world.world.live("a", CONFIG_MAPS)
    managers = {(one["manager"], one["operation"]) for one in live["metadata"]["managedFields"]}
    assert managers == {("helm-controller", "Apply")}
