"""Rules: which requests meet which fault, how often, and how often they did."""

from __future__ import annotations

import asyncio
import random
from dataclasses import asdict, dataclass, field
from typing import Any

from faultproxy.asked import Asked
from faultproxy.faults import Fault
from faultproxy.match import Match

__all__ = ["Rule", "Rules", "Timing"]


@dataclass(frozen=True, slots=True)
class Timing:
    """When a rule strikes; see the package."""

    times: int = 0
    skip: int = 0
    every: int = 1
    probability: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.times < 0 or self.skip < 0 or self.every < 1:
            raise ValueError("times and skip are not negative, every is at least 1")
        if not 0 < self.probability <= 1:
            raise ValueError("probability is more than 0 and at most 1")


@dataclass(slots=True, eq=False)
class Rule:
    """A rule in place.

    Attributes:
        seen: requests that match.
        struck: those that were chosen.
        happened: those whose fault the client has met.
        over: set once the rule is taken away.

    """

    id: int
    match: Match
    fault: Fault
    timing: Timing
    seen: int = 0
    struck: int = 0
    happened: int = 0
    over: asyncio.Event = field(default_factory=asyncio.Event)
    _random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.timing.seed)  # noqa: S311 - repeatable, nothing secret

    @property
    def spent(self) -> bool:
        """Whether it has struck as often as it shall."""
        return 0 < self.timing.times <= self.struck

    def strikes(self, asked: Asked) -> bool:
        """Count a request; whether the fault is for it."""
        if self.fault.is_of_watches and asked.verb != "watch":
            return False
        if self.spent or not self.match.matches(asked):
            return False
        self.seen += 1
        beyond = self.seen - self.timing.skip
        if beyond <= 0 or beyond % self.timing.every:
            return False
        if self.timing.probability < 1 and self._random.random() >= self.timing.probability:
            return False
        self.struck += 1
        return True

    def seconds(self) -> float:
        """How long this time, jitter included."""
        return self.fault.seconds + self._random.uniform(0, self.fault.jitter)

    def shown(self) -> dict[str, Any]:
        """For the endpoint."""
        return {
            "id": self.id,
            "match": asdict(self.match),
            "fault": asdict(self.fault),
            **asdict(self.timing),
            "seen": self.seen,
            "struck": self.struck,
            "happened": self.happened,
        }


class Rules:
    """All rules, in the order in which they were made."""

    def __init__(self) -> None:
        self._rules: dict[int, Rule] = {}
        self._last = 0

    def add(self, match: Match, fault: Fault, timing: Timing) -> Rule:
        """A new rule, after all others."""
        self._last += 1
        rule = Rule(self._last, match, fault, timing)
        self._rules[rule.id] = rule
        return rule

    def get(self, number: int) -> Rule | None:
        """A rule by its id."""
        return self._rules.get(number)

    def all(self) -> list[Rule]:
        """Those in place."""
        return list(self._rules.values())

    def remove(self, number: int) -> None:
        """Take one away; what it keeps hanging is cut."""
        rule = self._rules.pop(number, None)
        if rule is not None:
            rule.over.set()

    def clear(self) -> None:
        """Take all away."""
        for number in list(self._rules):
            self.remove(number)

    def choose(self, asked: Asked) -> tuple[list[Rule], Rule | None]:
        """The delays for a request, and what else happens to it."""
        delays: list[Rule] = []
        for rule in self.all():
            if not rule.strikes(asked):
                continue
            asked.faults.append(rule.fault.label)
            if rule.fault.do != "delay":
                return delays, rule
            delays.append(rule)
        return delays, None
