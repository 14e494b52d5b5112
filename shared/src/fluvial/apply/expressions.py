"""Health by expressions of a user: ``spec.healthCheckExprs``.

An object whose kind has expressions is judged by these alone: what is not observed yet is in
progress; then the first of ``inProgress``, ``failed`` and ``current`` that is true; else it is in
progress. They see its top-level fields as variables. One that cannot be evaluated makes the
status unknown, with the reason, until it can be or time is up.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from fluvial.api.kustomize import CustomHealthCheck
from fluvial.apply.health_kinds import Health, HealthStatus
from fluvial.cel.checked import CheckedConditions, InvalidExpressions
from fluvial.cel.evaluator import CelEvaluator, EvaluatorBusy, ExpressionFailed, Program
from fluvial.objects import JsonObject, ObjectRef, split_api_version

__all__ = ["HealthCompiler", "HealthExpressions"]

_BUSY_SECONDS: Final = 2.0
_WORD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
# Words that the language has taken and that no variable can have.
_TAKEN: Final = frozenset(
    {
        "bool", "bytes", "double", "dyn", "false", "in", "int", "list", "map", "null",
        "null_type", "optional_type", "string", "true", "type", "uint",
    }
)  # fmt: skip
_ORDER: Final = (
    ("inProgress", HealthStatus.IN_PROGRESS),
    ("failed", HealthStatus.FAILED),
    ("current", HealthStatus.CURRENT),
)

_Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class _Check:
    """The expressions for one kind, in their order."""

    programs: tuple[Program, ...]
    statuses: tuple[HealthStatus, ...]
    names: frozenset[str]


@dataclass(frozen=True, slots=True, eq=False)
class HealthExpressions:
    """What one object says about the health of kinds; goes into a ``Target``.

    Attributes:
        evaluator: evaluates, in processes of the namespace.
        namespace: of the object that has the expressions.
        checks: by group and kind; kind ``""`` for every kind of the group.

    """

    evaluator: CelEvaluator
    namespace: str
    checks: dict[_Key, _Check] = field(repr=False)

    def covers(self, ref: ObjectRef) -> bool:
        """Whether there are expressions for the kind."""
        return self._of(ref) is not None

    def _of(self, ref: ObjectRef) -> _Check | None:
        return self.checks.get((ref.group, ref.kind)) or self.checks.get((ref.group, ""))

    async def read(self, ref: ObjectRef, live: JsonObject) -> Health:
        """Status of an object whose kind is covered.

        Args:
            ref: the object.
            live: as the API server answers it; of what it has, the message may quote something.

        """
        check = self._of(ref)
        if check is None:
            return Health(HealthStatus.UNKNOWN, "there is no expression for the kind")
        if (behind := _not_observed(live)) is not None:
            return behind
        data = {name: live[name] for name in check.names if name in live}
        try:
            index = await self.evaluator.first(check.programs, data=data, namespace=self.namespace)
        except EvaluatorBusy as error:
            return Health(HealthStatus.UNKNOWN, str(error), _BUSY_SECONDS)
        except ExpressionFailed as error:
            return Health(HealthStatus.UNKNOWN, str(error))
        if index is None:
            return Health(HealthStatus.IN_PROGRESS, "no expression is true yet")
        return Health(check.statuses[index], f"{check.programs[index].label} is true")


def _not_observed(live: JsonObject) -> Health | None:
    status = live.get("status")
    observed = status.get("observedGeneration") if isinstance(status, dict) else None
    generation = (live.get("metadata") or {}).get("generation")
    if not isinstance(observed, int) or isinstance(observed, bool) or observed == generation:
        return None
    text = f"generation is {generation}, the controller has seen {observed}"
    return Health(HealthStatus.IN_PROGRESS, text)


class HealthCompiler:
    """Makes expressions of what specs say.

    Args:
        conditions: compiles, and remembers what is good.

    """

    def __init__(self, conditions: CheckedConditions) -> None:
        self._conditions = conditions

    async def compile(
        self, checks: Sequence[CustomHealthCheck], *, namespace: str
    ) -> HealthExpressions | None:
        """The expressions of ``spec.healthCheckExprs``; ``None`` where there are none.

        Args:
            checks: of the object.
            namespace: of the object.

        Raises:
            InvalidExpressions: one is invalid, or a kind has two (Flux: InvalidCELExpression,
                without another try until the object changes).
            EvaluatorBusy: nobody could look at them: try again.

        """
        found: dict[_Key, _Check] = {}
        for number, check in enumerate(checks):
            key = (split_api_version(check.api_version)[0], check.kind)
            where = f"spec.healthCheckExprs[{number}]"
            if key in found:
                what = f"kind {check.kind}" if check.kind else "all kinds"
                raise InvalidExpressions(f"{where}: {what} of group {key[0]!r} is there twice")
            found[key] = await self._compiled(check, where, namespace)
        if not found:
            return None
        return HealthExpressions(self._conditions.evaluator, namespace, found)

    async def _compiled(self, check: CustomHealthCheck, where: str, namespace: str) -> _Check:
        if not check.current:
            raise InvalidExpressions(f"{where}.current: there is no expression")
        texts = {
            "inProgress": check.in_progress,
            "failed": check.failed,
            "current": check.current,
        }
        given = [(Program(f"{where}.{name}", texts[name]), s) for name, s in _ORDER if texts[name]]
        for program, _ in given:
            await self._conditions.check(
                program, variables=_names([program.text]), namespace=namespace
            )
        return _Check(
            programs=tuple(program for program, _ in given),
            statuses=tuple(status for _, status in given),
            names=frozenset(_names(program.text for program, _ in given)),
        )


def _names(texts: Iterable[str]) -> set[str]:
    """What may be a variable: which fields an object has is known when there is one."""
    return {word for text in texts for word in _WORD.findall(text)} - _TAKEN
