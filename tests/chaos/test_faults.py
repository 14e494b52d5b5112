"""Faults between the controllers and a control plane: the end is that of a healthy one.

Each fault strikes in a first apply, in an upgrade that prunes, and in a deletion. Whatever it is,
the objects, the inventory and the status come to what they are without it; nothing is deleted
that must stay, nothing is left in no inventory, finalizers hold until their work is done, and the
number of requests stays in proportion to the faults.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import pytest

from chaos.faulty import BOTH, KUSTOMIZE, FaultyWorld
from faultproxy import Fault, Match, Rule
from faultproxy.faults import (
    answer,
    conflict,
    delay,
    redirect,
    reset,
    slow,
    truncate,
    unauthorized,
    watch,
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(300),  # several lives side by side
]

REQUESTS = Match(
    agent=BOTH,
    verb="get|list|create|update|patch|delete|deletecollection",
    path="^(?!.*/events(/|$)).*CASE",  # Events decide nothing about objects
)
WRITES = replace(REQUESTS, verb="create|update|patch|delete")
DISCOVERY = Match(agent=KUSTOMIZE, path="^/apis?$")  # all cases'
WATCHES = Match(agent=BOTH, verb="watch")  # all cases'


@dataclass(frozen=True, slots=True)
class Strike:
    """A rule to be."""

    match: Match
    fault: Fault
    times: int = 0
    every: int = 1
    probability: float = 1.0
    seed: int = 0


def _some(fault: Fault, times: int, match: Match = REQUESTS) -> tuple[Strike, ...]:
    """Every second request, so that many different ones are struck and not one many times."""
    return (Strike(match, fault, times=times, every=2),)


def _all(fault: Fault, times: int, match: Match = REQUESTS) -> tuple[Strike, ...]:
    """All requests, until there have been so many."""
    return (Strike(match, fault, times=times),)


REFUSALS: dict[str, tuple[Strike, ...]] = {
    "429 with Retry-After": _some(answer(429, retry_after=1), 3),
    "429 for long": _all(answer(429, retry_after=0), 50),
    "503": _some(answer(503), 30),
    "503 for long": _all(answer(503), 9),
    "500": _some(answer(500), 30),
    "502 without a Status": _some(answer(502, body="text"), 30),
    "504 with nothing": _some(answer(504, body="none"), 30),
    "conflict": _some(conflict(), 12, WRITES),
    "401": _some(unauthorized(), 3),
    "redirect": _some(redirect("https://127.0.0.1:1/"), 2),
    "tenant refused": _some(answer(503), 30, replace(REQUESTS, user=":deployer$")),
}
CONNECTIONS: dict[str, tuple[Strike, ...]] = {
    "discovery": _some(truncate("chunk"), 4, DISCOVERY),
    "latency": (Strike(REQUESTS, delay(0.002, jitter=0.02), seed=1),),
    "reset before": _some(reset("before"), 30),
    "reset after it took effect": _some(reset("after"), 30, WRITES),
    "reset in the body": _some(reset("body"), 30),
    "truncated by length": _some(truncate("length"), 30),
    "truncated by chunk": _some(truncate("chunk"), 30),
    "dribble": (Strike(REQUESTS, slow(512, 0.001), every=3),),
    "weather": (
        Strike(REQUESTS, delay(0, jitter=0.02), probability=0.5, seed=2),
        Strike(REQUESTS, answer(503), probability=0.05, seed=3),
        Strike(REQUESTS, reset("before"), probability=0.05, seed=4),
        Strike(WRITES, reset("after"), probability=0.1, seed=5),
        Strike(WRITES, conflict(), probability=0.05, seed=6),
        Strike(REQUESTS, truncate("length"), probability=0.05, seed=7),
        Strike(REQUESTS, answer(429, retry_after=0), probability=0.1, seed=8),
    ),
}
WATCH_FAULTS: dict[str, tuple[Strike, ...]] = {
    "watches closed at once": _all(watch("end"), 6, WATCHES),
    "watches reset": _all(watch("reset", events=1), 6, WATCHES),
    "watches expired": _all(watch("gone"), 6, WATCHES),
    "watches with garbage": _all(watch("garbage"), 6, WATCHES),
    "slow watches": (Strike(WATCHES, slow(64, 0.001)),),
    "late events": (Strike(WATCHES, watch("late", seconds=0.03)),),
}
PHASES: tuple[tuple[str, Callable[[FaultyWorld, str], Awaitable[None]]], ...] = (
    ("first apply", FaultyWorld.first_apply),
    ("upgrade", FaultyWorld.upgrade),
    ("deletion", FaultyWorld.delete_all),
)


@contextmanager
def struck(world: FaultyWorld, strikes: tuple[Strike, ...], case: str) -> Iterator[list[Rule]]:
    """Rules in place for as long as the context lasts."""
    rules = [
        world.proxy.add(
            replace(each.match, path=each.match.path.replace("CASE", case)),
            each.fault,
            times=each.times,
            every=each.every,
            probability=each.probability,
            seed=each.seed,
        )
        for each in strikes
    ]
    if any(each.fault.is_of_watches or each.match is WATCHES for each in strikes):
        world.proxy.end_streams(WATCHES)
    try:
        yield rules
    finally:
        for rule in rules:
            world.proxy.remove(rule.id)


async def live(world: FaultyWorld, strikes: tuple[Strike, ...]) -> list[str]:
    """A life in which every phase is struck; what was not as it should be, a line each."""
    clean = await world.clean()
    case = await world.new_case()
    position = world.proxy.position
    found: list[str] = []
    rules: list[Rule] = []
    for name, phase in PHASES:
        with struck(world, strikes, case) as rules_of_phase:
            await phase(world, case)
        rules += rules_of_phase
        found += [f"{name}: {line}" for line in await world.comes_to(case, clean.ends[name])]
    wrong = world.deletions(case, after=position) - clean.deletions
    found += [f"should not have been asked for: {path}" for path in sorted(wrong)]
    requests = world.requests_of(case, after=position)
    bound = 3 * clean.requests + 8 * sum(rule.struck for rule in rules if rule.timing.times)
    if requests > bound:
        found.append(f"{requests} requests, {clean.requests} without faults")
    for strike in strikes:
        # It may find nothing to strike in one phase, such as a watch that is not begun anew.
        if not sum(rule.happened for rule in rules if rule.fault is strike.fault):
            found.append(f"{strike.fault.label} did not happen")
    await world.remove(case)
    return found


async def _lives(world: FaultyWorld, faults: dict[str, tuple[Strike, ...]]) -> list[str]:
    """One life for each fault, side by side: a rule strikes the requests of one case."""
    await world.clean()
    ends = await asyncio.gather(*(live(world, strikes) for strikes in faults.values()))
    world.check_controllers()
    return [f"{name}: {line}" for name, lines in zip(faults, ends, strict=True) for line in lines]


GROUPS = {"refusals": REFUSALS, "connections": CONNECTIONS}


@pytest.mark.parametrize("group", GROUPS)
async def test_on_devcluster(on_devcluster: FaultyWorld, group: str) -> None:
    found = await _lives(on_devcluster, GROUPS[group])

    assert not found, "\n".join(found)


@pytest.mark.parametrize("group", GROUPS)
async def test_on_the_real_control_plane(on_real: FaultyWorld, group: str) -> None:
    found = await _lives(on_real, GROUPS[group])

    assert not found, "\n".join(found)


@pytest.mark.parametrize("name", WATCH_FAULTS)
async def test_watches_on_devcluster(on_devcluster: FaultyWorld, name: str) -> None:
    found = await _lives(on_devcluster, {name: WATCH_FAULTS[name]})

    assert not found, "\n".join(found)


@pytest.mark.parametrize("name", WATCH_FAULTS)
async def test_watches_on_the_real_control_plane(on_real: FaultyWorld, name: str) -> None:
    found = await _lives(on_real, {name: WATCH_FAULTS[name]})

    assert not found, "\n".join(found)
