"""Which expressions of users are good, remembered so that each text is compiled once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from fluvial.cel.evaluator import CelEvaluator, EvaluatorBusy, ExpressionFailed, Program
from fluvial.errors import FluvialError

__all__ = ["CheckedConditions", "InvalidExpressions"]

_KNOWN: Final = 1024


class InvalidExpressions(FluvialError):
    """Expressions that can never work; the author must change something."""


class CheckedConditions:
    """Compiles conditions.

    Args:
        evaluator: compiles and evaluates.

    """

    def __init__(self, evaluator: CelEvaluator) -> None:
        self.evaluator = evaluator
        self._good: OrderedDict[tuple[str, tuple[str, ...]], None] = OrderedDict()

    async def check(self, program: Program, *, variables: Iterable[str], namespace: str) -> None:
        """Return if a condition is good.

        Args:
            program: of a user.
            variables: that it may name.
            namespace: of the object that has it.

        Raises:
            InvalidExpressions: it is not.
            EvaluatorBusy: nobody could look at it: try again.

        """
        key = (program.text, tuple(sorted(variables)))
        if key in self._good:
            self._good.move_to_end(key)
            return
        try:
            await self.evaluator.check(program, variables=key[1], namespace=namespace)
        except ExpressionFailed as error:
            if not error.invalid:
                raise EvaluatorBusy(str(error)) from error
            raise InvalidExpressions(str(error)) from error
        self._good[key] = None
        if len(self._good) > _KNOWN:
            self._good.popitem(last=False)
