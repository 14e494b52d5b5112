"""Readiness of dependencies by expressions of a user: ``spec.dependsOn[].readyExpr``.

An expression sees the object as ``self`` and its dependency as ``dep``, and takes the place of the
usual check, or comes before it where the operator says so (Flux: gate AdditiveCELDependencyCheck).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from fluvial.cel.checked import CheckedConditions
from fluvial.cel.evaluator import CelEvaluator, EvaluatorBusy, ExpressionFailed, Program
from fluvial.objects import JsonObject, ObjectKey, key_of

__all__ = ["ReadyCompiler", "ReadyExpressions"]

_VARIABLES: Final = ("dep", "self")


@dataclass(frozen=True, slots=True, eq=False)
class ReadyExpressions:
    """What one object says of when its dependencies are ready.

    Attributes:
        evaluator: evaluates, in processes of the namespace.
        owner: the object.
        programs: by dependency.
        additive: whether the usual check counts as well.

    """

    evaluator: CelEvaluator
    owner: JsonObject = field(repr=False)
    programs: Mapping[ObjectKey, tuple[Program, ...]] = field(repr=False)
    additive: bool = False

    async def verdict(self, key: ObjectKey, dependency: JsonObject) -> str | None:
        """Why a dependency is not ready, ``""`` if it is, ``None`` if no expression says.

        Args:
            key: of the dependency.
            dependency: as the API server has it.

        """
        programs = self.programs.get(key)
        if programs is None:
            return None
        data = {"self": self.owner, "dep": dependency}
        namespace = key_of(self.owner).namespace
        for program in programs:
            try:
                index = await self.evaluator.first([program], data=data, namespace=namespace)
            except (EvaluatorBusy, ExpressionFailed) as error:
                return f"cannot be judged: {error}"
            if index is None:
                return "is not ready according to readyExpr"
        return ""


class ReadyCompiler:
    """Makes expressions of what specs say.

    Args:
        conditions: compiles, and remembers what is good.
        additive: whether the usual check counts as well.

    """

    def __init__(self, conditions: CheckedConditions, *, additive: bool = False) -> None:
        self._conditions = conditions
        self._additive = additive

    async def compile(
        self, owner: JsonObject, expressions: Iterable[tuple[ObjectKey, str]]
    ) -> ReadyExpressions | None:
        """The expressions of ``spec.dependsOn``; ``None`` where there are none.

        Args:
            owner: the object.
            expressions: of each entry of ``dependsOn``, in order: the dependency and the text, or
                ``""``.

        Raises:
            InvalidExpressions: one is invalid (Flux: InvalidCELExpression, without another try
                until the object changes).
            EvaluatorBusy: nobody could look at them: try again.

        """
        found: dict[ObjectKey, tuple[Program, ...]] = {}
        for number, (key, text) in enumerate(expressions):
            if not text:
                continue
            program = Program(f"spec.dependsOn[{number}].readyExpr", text)
            await self._conditions.check(
                program, variables=_VARIABLES, namespace=key_of(owner).namespace
            )
            found[key] = (*found.get(key, ()), program)
        if not found:
            return None
        return ReadyExpressions(self._conditions.evaluator, owner, found, additive=self._additive)
