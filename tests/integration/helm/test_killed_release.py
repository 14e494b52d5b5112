"""Killed at every write, then decided anew: the end is that of a life without it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import pytest

from fluvial.api.helm_actions import ServerSideApplyMode
from fluvial.helm import options
from fluvial.helm.errors import ReleaseNotFound
from fluvial.helm.facts import Action, Attempts, Facts, Kind, Step
from fluvial.helm.history import History, Verification, recorded, verify
from fluvial.helm.policy import Policy, Remedy
from fluvial.helm.release import Release, Status
from fluvial.helm.state import decide
from integration.helm.actions import QUICK, Actions, actions, config_map, job
from integration.helm.helm_world import HelmWorld

_WRITES = frozenset({"create", "apply", "patch", "delete"})
_UNINSTALL = options.UninstallOptions(timeout=10.0)
_FIRST = {
    "a.yaml": config_map("a", k="1"),
    "gone.yaml": config_map("gone"),
    "hook.yaml": job("hook", hook="pre-install"),
}
_SECOND = {
    "a.yaml": config_map("a", k="2"),
    "new.yaml": config_map("new"),
    "hook.yaml": job("hook", hook="pre-upgrade"),
}


class _Killed(BaseException):
    """The process is gone."""


@dataclass(slots=True)
class _Controller:
    """What a reconcile does of a release: observe, decide, act. It forgets when it is killed."""

    act: Actions
    history: History = ()
    options: options.ApplyOptions = QUICK

    async def reconcile(self, files: Mapping[str, str], *, number: int) -> None:
        """Do what it takes to have these files released, whose values say which they are."""
        policy = Policy(install=Remedy(retries=1), upgrade=Remedy(retries=1))
        attempts = Attempts()
        for _ in range(8):
            step = decide(await self._observe(number), policy, attempts)
            self.history = step.history
            if step.action is Action.DONE:
                return
            await self._do(step, files, number)
            attempts = replace(attempts, done=attempts.done | {step.action.kind} - {Kind.RELEASE})
        raise AssertionError("it does not end")

    async def _observe(self, number: int) -> Facts:
        try:
            last = await self.act.world.storage.last("app")
        except ReleaseNotFound:
            return Facts(None, self.history)
        same = self.history and verify(self.history[0], last) is Verification.SAME
        difference = "" if last.config == {"n": number} else "values"
        unobserved = "" if same else "not made by us"
        return Facts(last.status, self.history, unobserved, difference)

    async def _do(self, step: Step, files: Mapping[str, str], number: int) -> None:
        act = self.act
        written: list[Release | None] = []
        if step.action is Action.INSTALL:
            version = await act.lifecycle.next_version("app")
            by_server = self.options.by_server(None)
            made = await act.make(files, version, values=number, server_side=by_server)
            written = [await act.lifecycle.install(made, self.options)]
        elif step.action is Action.UPGRADE:
            current = await act.lifecycle.current("app")
            version = await act.lifecycle.next_version("app")
            by_server = self.options.by_server(await act.world.storage.last("app"))
            made = await act.make(files, version, current, values=number, server_side=by_server)
            written = [await act.lifecycle.upgrade(made, current=current, options=self.options)]
        elif step.action is Action.UNLOCK:
            written = [await act.ending.unlock("app")]
        elif step.action is Action.FINISH_UNINSTALL:
            await act.ending.uninstall("app", _UNINSTALL)
        else:
            raise AssertionError(step)
        releases = [one for one in written if one is not None]
        self.history = recorded(self.history, releases, action="upgrade")


async def _killed(act: Actions, at: int, life: Callable[[], Awaitable[object]]) -> bool:
    """Live until the write of this number, before or after it takes effect; whether it came."""
    writes = 0

    async def count(verb: str, name: str) -> None:
        nonlocal writes
        if verb in _WRITES:
            writes += 1
            if writes == at // 2 + 1:
                raise _Killed

    spy = act.world.world.spy
    spy.before, spy.after = (count, None) if at % 2 == 0 else (None, count)
    try:
        await life()
    except _Killed:
        return True
    finally:
        spy.before = spy.after = None
    return False


async def _check(act: Actions, data: dict[str, dict[str, str]]) -> None:
    statuses = await act.statuses()

    assert {name: await act.data(name) for name in await act.names()} == data
    assert list(statuses.values()).count("deployed") == 1
    assert list(statuses.values())[-1] == "deployed"
    assert not [one for one in statuses.values() if Status(one).is_pending]


@pytest.mark.slow
async def test_an_install_killed_at_every_write(devworld: HelmWorld) -> None:
    async with actions(devworld) as act:
        at = 0
        while await _killed(act, at, lambda: _Controller(act).reconcile(_FIRST, number=1)):
            await _Controller(act).reconcile(_FIRST, number=1)
            await _check(act, {"a": {"k": "1"}, "gone": {}})
            await act.ending.uninstall("app", _UNINSTALL)
            at += 1

        # Two records and a hook's, two objects and the hook: each before and after.
        assert at >= 12


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["enabled", "disabled"])
async def test_an_upgrade_killed_at_every_write(
    devworld: HelmWorld, mode: ServerSideApplyMode
) -> None:
    given = replace(QUICK, server_side=mode)
    async with actions(devworld) as act:
        at = 0
        while True:
            controller = _Controller(act, options=given)
            await controller.reconcile(_FIRST, number=1)
            seen = controller.history
            upgrade = partial(_Controller(act, seen, given).reconcile, _SECOND, number=2)
            if not await _killed(act, at, upgrade):
                break
            await _Controller(act, seen, given).reconcile(_SECOND, number=2)
            await _check(act, {"a": {"k": "2"}, "new": {}})
            await act.ending.uninstall("app", _UNINSTALL)
            at += 1

        assert at >= 16


@pytest.mark.slow
async def test_an_uninstall_killed_at_every_write(devworld: HelmWorld) -> None:
    async with actions(devworld) as act:
        at = 0
        while True:
            await _Controller(act).reconcile(_FIRST, number=1)
            if not await _killed(act, at, lambda: act.ending.uninstall("app", _UNINSTALL)):
                break
            if await act.statuses():
                await act.ending.uninstall("app", _UNINSTALL)
            assert await act.names() == set()
            assert await act.statuses() == {}
            at += 1

        assert at >= 6
