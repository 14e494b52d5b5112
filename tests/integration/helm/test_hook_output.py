"""What hooks and failed tests have written, and the last steps of an action."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from fluvial.apply.masking import Masker
from fluvial.helm import options
from fluvial.helm.errors import ActionFailed
from fluvial.helm.steps import ActionLog
from fluvial.kube.kinds import POD
from fluvial.objects import JsonObject
from integration.apply.apply_world import ROLES
from integration.helm.actions import QUICK, Actions, actions, config_map, job
from integration.helm.helm_world import ON_DEVCLUSTER, HelmWorld

_TEST = options.TestOptions(timeout=10.0)
_WRITTEN = "one\\nthe password is s3cr3t\\n\\e[1mtwo\\e[0m\\n"


@pytest.fixture
async def act(world: HelmWorld) -> AsyncIterator[Actions]:
    async with actions(world) as made:
        made.target = replace(made.target, masker=Masker(["s3cr3t"]))
        made.log = ActionLog(made.target)
        yield made


def _log(act: Actions) -> ActionLog:
    assert act.log is not None
    return act.log


def _pod(name: str, *, hook: str, fails: bool = False, policy: str = "") -> str:
    marks = {
        "helm.sh/hook": hook,
        "devcluster.fluvial.dev/log": _WRITTEN,
        "helm.sh/hook-delete-policy": "hook-succeeded,hook-failed",
    }
    if policy:
        marks["helm.sh/hook-output-log-policy"] = policy
    if fails:
        marks["devcluster.fluvial.dev/health"] = "fail"
    notes = ", ".join(f'"{key}": "{text}"' for key, text in marks.items())
    labels = '"fluvial.dev/fail": "1"' if fails else ""
    return (
        f"apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, labels: {{{labels}}}, "
        f"annotations: {{{notes}}}}}\n"
        "spec: {restartPolicy: Never, nodeName: nowhere, containers: [{name: c, image: 'example.com/c:1'}]}\n"
    )


async def test_a_failed_test_tells_what_it_has_written(act: Actions) -> None:
    """Where there is no kubelet, it tells that, and the failure is the test's."""
    await act.install({"t.yaml": _pod("t", hook="test", fails=True)})

    with pytest.raises(ActionFailed, match=r"test hook chart/templates/t\.yaml failed") as caught:
        await act.ending.test("app", _TEST)
    (output,) = _log(act).outputs
    assert (output.hook, output.pod) == ("test hook chart/templates/t.yaml", "t")
    assert output.container == "c"
    if act.world.world.kind == "devcluster":
        assert output.text == "one\nthe password is ***\n[1mtwo[0m"
    else:
        assert output.text == ""
        assert output.problem
    assert "password" not in str(caught.value) + str(_log(act))
    assert await act.world.world.names(POD) == set()


_POLICIES = [
    ("hook-succeeded", False, 1),
    ("hook-succeeded", True, 0),
    ("hook-failed", True, 1),
    ("hook-failed", False, 0),
    ("hook-succeeded,hook-failed", False, 1),
    ("", True, 0),
]


@ON_DEVCLUSTER
async def test_hooks_tell_what_their_annotation_says(act: Actions) -> None:
    for policy, fails, kept in _POLICIES:
        act.log = ActionLog(act.target)
        files = {"h.yaml": _pod("h", hook="pre-install", fails=fails, policy=policy)}
        with pytest.raises(ActionFailed) if fails else contextlib.nullcontext():
            await act.install(files)
        await act.ending.uninstall("app", options.UninstallOptions(timeout=10.0))

        assert (policy, fails, len(_log(act).outputs)) == (policy, fails, kept)
        assert all("***" in one.text for one in _log(act).outputs)


@ON_DEVCLUSTER
async def test_the_pods_of_a_job_are_read_as_the_tenant(act: Actions) -> None:
    admin, namespace = act.world.world.admin, act.world.namespace
    pod: JsonObject = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "h-1",
            "namespace": namespace,
            "labels": {"job-name": "h"},
            "annotations": {"devcluster.fluvial.dev/log": "written"},
        },
        "spec": {"containers": [{"name": "c", "image": "x"}, {"name": "d", "image": "x"}]},
    }
    await admin.create(POD, pod, field_manager="test")
    files = {"h.yaml": job("h", hook="pre-install", fails=True, output_log_policy="hook-failed")}
    with pytest.raises(ActionFailed):
        await act.install(files)
    assert [(one.pod, one.container, one.text) for one in _log(act).outputs] == [
        ("h-1", "c", "written"),
        ("h-1", "d", "written"),
    ]

    rules = [
        {"apiGroups": ["*"], "resources": ["configmaps", "secrets", "jobs", "pods"], "verbs": ["*"]}
    ]
    await admin.patch(
        ROLES,
        act.world.world.key("tenant"),
        {"rules": rules},
        patch_type="merge",
        field_manager="test",
    )
    act.log = ActionLog(act.target)
    with pytest.raises(ActionFailed):
        await act.install(files, replace(QUICK, replace=True))
    assert [one.text for one in _log(act).outputs] == ["", ""]
    assert "pods/log" in _log(act).outputs[0].problem or "forbidden" in str(_log(act).outputs[0])


@ON_DEVCLUSTER
async def test_the_last_steps_are_told_without_values(act: Actions) -> None:
    await act.install(
        {
            "a.yaml": config_map("a", k="s3cr3t"),
            "b.yaml": config_map("gone"),
            "h.yaml": job("h", hook="pre-install"),
        }
    )
    lines = [re.sub(r"^\S+Z ", "", line) for line in str(_log(act)).splitlines()]
    namespace = act.world.namespace
    assert lines == [
        f"stored release {namespace}/app.v1 as pending-install",
        # The hook's run is recorded before it is made.
        "(1 duplicate line(s) omitted)",
        "running pre-install hook chart/templates/h.yaml, up to 10s",
        f"applied Job/{namespace}/h",
        "pre-install hook chart/templates/h.yaml succeeded",
        f"applied ConfigMap/{namespace}/a",
        f"applied ConfigMap/{namespace}/gone",
        "waiting for 2 objects to be ready, up to 10s",
        "2 objects are ready",
        f"stored release {namespace}/app.v1 as deployed",
    ]
    message = _log(act).after("it failed")
    assert message.startswith("it failed\n\nLast Helm logs:\n\n2")

    act.log = ActionLog(act.target)
    await act.upgrade({"a.yaml": config_map("a", k="s3cr3t")})
    assert f"deleted ConfigMap/{namespace}/gone" in str(act.log)
    act.log = ActionLog(act.target)
    await act.ending.uninstall("app", options.UninstallOptions(timeout=10.0))
    assert "1 deleted objects are gone" in str(act.log)
