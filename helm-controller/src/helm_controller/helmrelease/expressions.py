"""Users' expressions: of health (``healthCheckExprs``) and of dependencies (``readyExpr``)."""

from __future__ import annotations

from fluvial.apply import HealthCompiler
from fluvial.cel.checked import CheckedConditions, InvalidExpressions
from fluvial.cel.evaluator import CelEvaluator
from fluvial.cel.readiness import ReadyCompiler
from fluvial.runtime.dependencies import Judge
from fluvial.runtime.outcome import Stalled
from helm_controller.helmrelease import reasons
from helm_controller.helmrelease.references import dependency_keys
from helm_controller.helmrelease.run import Run

__all__ = ["Expressions"]


class Expressions:
    """Compiles what an object has.

    Args:
        evaluator: compiles and evaluates, in worker processes.
        additive: whether the usual check of dependencies counts beside an expression (gate
            AdditiveCELDependencyCheck).

    """

    def __init__(self, evaluator: CelEvaluator, *, additive: bool) -> None:
        conditions = CheckedConditions(evaluator)
        self._health = HealthCompiler(conditions)
        self._ready = ReadyCompiler(conditions, additive=additive)

    async def compile(self, run: Run) -> Judge | None:
        """Compile all of them; returns those of dependencies, and leaves the others in the run.

        Raises:
            Stalled: InvalidCELExpression.
            EvaluatorBusy: nobody could look at them.

        """
        spec = run.spec_of.spec
        texts = [one.ready_expr for one in spec.depends_on]
        try:
            run.health = await self._health.compile(
                spec.health_check_exprs, namespace=run.key.namespace
            )
            keys = dependency_keys(run.spec_of)
            return await self._ready.compile(run.obj, zip(keys, texts, strict=True))
        except InvalidExpressions as error:
            raise Stalled(
                reasons.INVALID_CEL_EXPRESSION,
                f"Reconciliation failed terminally due to configuration error: {error}",
            ) from error
