"""Users' expressions of one object: of health (``healthCheckExprs``), of dependencies (``readyExpr``)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from fluvial.api.kustomize import CustomHealthCheck
from fluvial.apply.expressions import HealthCompiler, HealthExpressions
from fluvial.cel.checked import CheckedConditions, InvalidExpressions
from fluvial.cel.evaluator import CelEvaluator
from fluvial.cel.readiness import ReadyCompiler
from fluvial.objects import JsonObject, ObjectKey, key_of
from fluvial.runtime.dependencies import Judge
from fluvial.runtime.outcome import Stalled

__all__ = ["Expressions"]

_INVALID: Final = "InvalidCELExpression"


class Expressions:
    """Compiles what objects have.

    Args:
        evaluator: compiles and evaluates, in worker processes.
        additive: whether the usual check of dependencies counts beside an expression (gate
            AdditiveCELDependencyCheck).

    """

    def __init__(self, evaluator: CelEvaluator, *, additive: bool) -> None:
        conditions = CheckedConditions(evaluator)
        self._health = HealthCompiler(conditions)
        self._ready = ReadyCompiler(conditions, additive=additive)

    async def compile(
        self,
        obj: JsonObject,
        *,
        checks: Sequence[CustomHealthCheck],
        dependencies: Iterable[tuple[ObjectKey, str]],
    ) -> tuple[HealthExpressions | None, Judge | None]:
        """Compile all of them; each is ``None`` where there are none.

        Args:
            obj: whose they are.
            checks: ``spec.healthCheckExprs``.
            dependencies: of each entry of ``spec.dependsOn``: the key, and the expression or ``""``.

        Raises:
            Stalled: InvalidCELExpression.
            EvaluatorBusy: nobody could look at them.

        """
        try:
            health = await self._health.compile(checks, namespace=key_of(obj).namespace)
            return health, await self._ready.compile(obj, dependencies)
        except InvalidExpressions as error:
            raise Stalled(
                _INVALID, f"Reconciliation failed terminally due to configuration error: {error}"
            ) from error
