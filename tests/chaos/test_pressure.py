"""A server that does not answer, or wants to be left alone: nobody else waits, nobody hammers."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise

import pytest

from chaos.cases import poll
from chaos.faulty import BOTH, KUSTOMIZE, FaultyWorld
from faultproxy import Asked, Match, Rule
from faultproxy.faults import answer, hang
from fluvial.kube import kinds

pytestmark = [
    pytest.mark.slow,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(300),  # several lives side by side
]

RETRY_AFTER = 2
REFUSED = 8


async def _until_struck(rule: Rule, times: int) -> None:
    async def has() -> bool:
        return rule.happened >= times

    await poll(has, f"the fault did not happen {times} times: {rule.shown()}")


async def _a_hanging_request_holds_up_nobody_else(world: FaultyWorld, when: str) -> None:
    """The tenant's write gets no answer; another tenant's set is applied meanwhile."""
    clean = await world.clean()
    stuck, other = await world.new_case(), await world.new_case()
    match = Match(
        agent=KUSTOMIZE, verb="patch", resource=r"^deployments\.apps$", namespace=f"^{stuck}$"
    )
    rule = world.proxy.add(match, hang(when), times=1)
    await world.git_repository(stuck)
    await world.kustomization(stuck)
    await _until_struck(rule, 1)
    await world.first_apply(other)
    waiting = not rule.over.is_set()
    world.proxy.remove(rule.id)
    await world.settled(kinds.KUSTOMIZATION, stuck, "v1")
    found = await world.comes_to(stuck, clean.ends["first apply"])
    found += await world.comes_to(other, clean.ends["first apply"])
    for case in (stuck, other):
        await world.delete_all(case)
        await world.remove(case)

    assert waiting
    assert not found, "\n".join(found)


async def _who_says_429_is_left_alone(world: FaultyWorld) -> None:
    """No request is made again before the time that the server asked for."""
    clean = await world.clean()
    case = await world.new_case()
    position = world.proxy.position
    match = Match(agent=BOTH, path=f"^(?!.*/events(/|$)).*{case}")
    rule = world.proxy.add(match, answer(429, retry_after=RETRY_AFTER))
    await world.git_repository(case)
    await world.kustomization(case)
    await _until_struck(rule, REFUSED)
    world.proxy.remove(rule.id)
    asked = world.proxy.requests(match, after=position)
    await world.settled(kinds.KUSTOMIZATION, case, "v1")
    found = await world.comes_to(case, clean.ends["first apply"])
    await world.delete_all(case)
    await world.remove(case)

    assert _early(asked) == []
    assert not found, "\n".join(found)


def _early(asked: list[Asked]) -> list[str]:
    """Requests that were made again too soon after a refusal."""
    same: dict[tuple[str, ...], list[Asked]] = defaultdict(list)
    for each in asked:
        same[each.agent, each.acting, each.method, each.path, each.query].append(each)
    return [
        f"{again.method} {again.path} after {again.at - refused.answered:.2f}s"
        for entries in same.values()
        for refused, again in pairwise(entries)
        if refused.status == 429 and again.at - refused.answered < RETRY_AFTER
    ]


@pytest.mark.parametrize("when", ["before", "after", "headers"])
async def test_a_hanging_request_on_devcluster(on_devcluster: FaultyWorld, when: str) -> None:
    await _a_hanging_request_holds_up_nobody_else(on_devcluster, when)


@pytest.mark.parametrize("when", ["before", "after", "headers"])
async def test_a_hanging_request_on_the_real_control_plane(on_real: FaultyWorld, when: str) -> None:
    await _a_hanging_request_holds_up_nobody_else(on_real, when)


async def test_who_says_429_is_left_alone_on_devcluster(on_devcluster: FaultyWorld) -> None:
    await _who_says_429_is_left_alone(on_devcluster)


async def test_who_says_429_is_left_alone_on_the_real_control_plane(on_real: FaultyWorld) -> None:
    await _who_says_429_is_left_alone(on_real)
