"""A wait for hooks is ended from outside: what they say of their deletion holds all the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from msgspec import Raw

from fluvial.apply.model import Owner, Target
from fluvial.clock import RealClock
from fluvial.helm.cluster import Deleted, Located, ReleaseObjects
from fluvial.helm.errors import HookFailed, WaitEnded
from fluvial.helm.hooks import Hooks
from fluvial.helm.release import ChartMetadata, Hook, Info, Release
from fluvial.helm.running import Running
from fluvial.kube.resource import Resource
from fluvial.objects import JsonObject, ObjectKey, ObjectRef, key_of

_PODS = Resource("", "v1", "pods", "Pod", namespaced=True)


@dataclass(slots=True)
class _Storage:
    """Keeps what it is given."""

    written: list[Release] = field(default_factory=list)

    async def update(self, one: Release) -> None:
        self.written.append(one)


class _Objects(ReleaseObjects):
    """Pods in some phase that nothing makes go away; every wait is ended at once."""

    def __init__(self, target: Target, **phases: str) -> None:
        super().__init__(target, name="app", namespace="apps", pause=self._end)
        self.phases = phases
        self.made: list[str] = []
        self.deleted: list[str] = []

    async def _end(self, seconds: float) -> None:
        raise WaitEnded(f"no {seconds}s are left")

    async def locate(self, objects: Any) -> list[Located]:
        found = []
        for obj in objects:
            name = key_of(obj).name
            ref = ObjectRef("", "Pod", "apps", name)
            found.append(Located(obj, ref, _PODS, ObjectKey("apps", name)))
        return found

    async def apply(self, located: Sequence[Located], **_: Any) -> set[ObjectRef]:
        self.made += [one.key.name for one in located]
        return set()

    async def delete(self, located: Sequence[Located], **_: Any) -> list[Deleted]:
        self.deleted += [one.key.name for one in located]
        return [Deleted(one, "uid") for one in located]

    async def live(self, one: Located) -> JsonObject | None:
        phase = self.phases.get(one.key.name)
        metadata = {"uid": "uid"}
        return {"kind": "Pod", "metadata": metadata, "status": {"phase": phase}} if phase else None


def _hook(name: str, weight: int, *policies: str) -> Hook:
    return Hook(
        name=name,
        kind="Pod",
        path=f"app/{name}.yaml",
        manifest=f"apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\n",
        events=("pre-install",),
        weight=weight,
        delete_policies=policies,
    )


def _running(target: Target, *hooks: Hook) -> Running:
    release = Release(
        name="app",
        namespace="apps",
        version=1,
        info=Info(status="pending-install"),
        chart=Raw(b"{}"),
        metadata=ChartMetadata(name="app", version="1.0.0"),
        manifest="",
        hooks=hooks,
    )
    return Running(release, storage=cast("Any", _Storage()), clock=target.clock)


async def _run(objects: _Objects, target: Target, running: Running) -> None:
    await Hooks(target, objects, timeout=3600).run(running, "pre-install")


@pytest.fixture
def target() -> Target:
    """Whose clock is all that is used."""
    owner = Owner("helm.toolkit.fluxcd.io", "HelmRelease", "apps", "app")
    nothing = cast("Any", None)
    return Target(nothing, nothing, owner, clock=RealClock())


async def test_what_hangs_has_failed_and_all_that_say_so_are_deleted(target: Target) -> None:
    objects = _Objects(target, first="Succeeded", second="Succeeded", hangs="Running")
    running = _running(
        target,
        _hook("first", 1, "hook-succeeded"),
        _hook("second", 2, "hook-succeeded"),
        _hook("hangs", 3, "hook-failed"),
        _hook("never", 4, "hook-failed"),
    )
    with pytest.raises(HookFailed, match="the wait was ended"):
        await _run(objects, target, running)

    assert objects.made == ["first", "second", "hangs"]
    assert sorted(objects.deleted) == ["first", "hangs", "second"]
    phases = [one.last_run.phase for one in running.release.hooks]
    assert phases[:3] == ["Succeeded", "Succeeded", "Failed"]


async def test_nobody_waits_for_what_was_deleted_after_its_success(target: Target) -> None:
    objects = _Objects(target, first="Succeeded", second="Succeeded")
    hooks = (_hook("first", 1, "hook-succeeded"), _hook("second", 2, "hook-succeeded"))
    running = _running(target, *hooks)
    await _run(objects, target, running)

    assert sorted(objects.deleted) == ["first", "second"]
    assert {one.last_run.phase for one in running.release.hooks} == {"Succeeded"}


async def test_nothing_is_made_anew_before_the_old_is_gone(target: Target) -> None:
    objects = _Objects(target, first="Succeeded", stays="Succeeded")
    hooks = (_hook("first", 1, "hook-succeeded"), _hook("stays", 2, "before-hook-creation"))
    with pytest.raises(HookFailed, match="the wait was ended"):
        await _run(objects, target, _running(target, *hooks))

    assert objects.made == ["first"]
    assert sorted(objects.deleted) == ["first", "stays"]
