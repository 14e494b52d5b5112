"""Which requests a rule strikes, and what it counts."""

from __future__ import annotations

from typing import Any

import pytest

from faultproxy import Asked, Fault, Match
from faultproxy.faults import answer, delay, watch
from faultproxy.rules import Rules, Timing


def asked(**given: Any) -> Asked:
    fields: dict[str, Any] = {
        "seq": 1,
        "at": 0.0,
        "method": "PATCH",
        "verb": "patch",
        "resource": "deployments.apps",
        "subresource": "status",
        "namespace": "team",
        "name": "web",
        "path": "/apis/apps/v1/namespaces/team/deployments/web/status",
        "query": "dryRun=All",
        "agent": "kustomize-controller/1",
        "impersonated": "system:serviceaccount:team:deployer",
        "user": "admin",
    }
    return Asked(**(fields | given))


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        ({}, True),
        ({"verb": "get|patch"}, True),
        ({"verb": "get"}, False),
        ({"resource": r"^deployments\."}, True),
        ({"resource": "^secrets$"}, False),
        ({"subresource": "^$"}, False),
        ({"subresource": "status"}, True),
        ({"namespace": "^team$", "name": "^web$"}, True),
        ({"namespace": "^team$", "name": "^api$"}, False),
        ({"user": ":deployer$"}, True),
        ({"user": "^admin$"}, False),
        ({"agent": "^source"}, False),
        ({"query": "dryRun"}, True),
    ],
)
def test_all_terms_hold(terms: dict[str, str], *, expected: bool) -> None:
    assert Match.parse(terms).matches(asked()) is expected


def test_who_impersonates_nobody_acts_as_itself() -> None:
    assert Match(user="^admin$").matches(asked(impersonated=""))


@pytest.mark.parametrize(
    ("timing", "struck"),
    [
        (Timing(), [1, 2, 3, 4, 5, 6, 7, 8]),
        (Timing(times=2), [1, 2]),
        (Timing(skip=3), [4, 5, 6, 7, 8]),
        (Timing(every=3), [3, 6]),
        (Timing(skip=1, every=2, times=2), [3, 5]),
    ],
)
def test_a_rule_strikes_when_it_is_told_to(timing: Timing, struck: list[int]) -> None:
    rule = Rules().add(Match(), answer(503), timing)

    assert [number for number in range(1, 9) if rule.strikes(asked())] == struck
    assert rule.struck == len(struck)


def test_chance_is_repeated_by_its_seed() -> None:
    def draw(seed: int) -> list[bool]:
        rule = Rules().add(Match(), answer(503), Timing(probability=0.5, seed=seed))
        return [rule.strikes(asked()) for _ in range(64)]

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)
    assert 10 < sum(draw(1)) < 54


def test_delays_add_up_and_the_first_other_fault_wins() -> None:
    rules = Rules()
    rules.add(Match(), delay(1), Timing())
    rules.add(Match(), delay(2, jitter=1), Timing(seed=4))
    chosen = rules.add(Match(), answer(503), Timing())
    never = rules.add(Match(), answer(500), Timing())
    request = asked()
    delays, rule = rules.choose(request)

    assert [each.fault.seconds for each in delays] == [1, 2]
    assert 2 <= delays[1].seconds() <= 3
    assert rule is chosen
    assert never.seen == 0
    assert request.faults == ["delay", "delay", "status 503"]


def test_a_fault_of_watches_waits_for_a_watch() -> None:
    rule = Rules().add(Match(), watch("end"), Timing())

    assert not rule.strikes(asked())
    assert rule.strikes(asked(verb="watch"))
    assert rule.seen == 1


def test_what_is_taken_away_strikes_no_more_and_is_told() -> None:
    rules = Rules()
    rule = rules.add(Match(), answer(503), Timing())
    rules.clear()

    assert rules.choose(asked()) == ([], None)
    assert rule.over.is_set()


@pytest.mark.parametrize(
    "bad",
    [
        {"do": "explode"},
        {"do": "reset", "when": "never"},
        {"do": "status", "status": 99},
        {"do": "delay", "seconds": -1},
        {"do": "truncate", "how": "short"},
        {"do": "status", "status": 503, "colour": "red"},
        {},
    ],
    ids=str,
)
def test_a_fault_that_is_none_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        Fault.parse(bad)


@pytest.mark.parametrize("bad", [{"verb": "get", "who": "me"}, {"path": "("}], ids=str)
def test_a_match_that_is_none_is_refused(bad: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"unknown terms|bad expression"):
        Match.parse(bad)
