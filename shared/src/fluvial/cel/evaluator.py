"""The controller's side of CEL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fluvial.cel.allowance import Allowance
from fluvial.cel.job import INVALID
from fluvial.clock import Clock, RealClock
from fluvial.errors import FluvialError
from fluvial.log import Logger
from fluvial.objects import JsonObject
from fluvial.workers.errors import WorkerBusy, WorkerError, WorkerStartFailed, WorkerTimeout
from fluvial.workers.pool import WorkerPool

__all__ = ["CelEvaluator", "EvaluatorBusy", "ExpressionFailed", "Program", "cel_pool"]

_TARGET = "fluvial.cel.job:run"
_MEMORY = 256 << 20
_SECONDS = 5.0
_SLICE = 0.1
_CLOSED = "Closed"  # how a pool says that it is, or is about to be


class ExpressionFailed(FluvialError):
    """An expression is invalid, cannot be evaluated over its data, or takes too long.

    Attributes:
        invalid: whether it was looked at, so that it will fail again over the same data.

    """

    def __init__(self, message: str, *, invalid: bool = True) -> None:
        super().__init__(message)
        self.invalid = invalid


class EvaluatorBusy(FluvialError):
    """Nobody could look at an expression, which may be a good one: ask again."""


@dataclass(frozen=True, slots=True)
class Program:
    """An expression.

    Attributes:
        label: the field that has it, for messages.
        text: itself.
        name: under which later programs find its value, as ``vars.<name>``; ``""`` for none.

    """

    label: str
    text: str
    name: str = ""


def cel_pool(*, size: int, log: Logger) -> WorkerPool:
    """The pool that ``CelEvaluator`` works with; use it as a context manager.

    No process is started before the first expression.
    """
    return WorkerPool(
        target=_TARGET,
        size=size,
        memory_bytes=_MEMORY,
        keep_spare=False,
        slice_seconds=_SLICE,
        log=log,
    )


class CelEvaluator:
    """Checks and evaluates expressions in worker processes.

    A namespace whose expressions take long is put off, so that it keeps no other one waiting.

    Args:
        pool: from ``cel_pool``.
        clock: the time.

    """

    def __init__(self, pool: WorkerPool, *, clock: Clock | None = None) -> None:
        self._pool = pool
        self._allowance = Allowance(clock or RealClock())

    async def check(
        self, program: Program, *, variables: Sequence[str], namespace: str, boolean: bool = True
    ) -> None:
        """Compile an expression.

        Args:
            program: of a user.
            variables: that it may name.
            namespace: of the object: no process works for two.
            boolean: its value must be true or false.

        Raises:
            ExpressionFailed: it is invalid.
            EvaluatorBusy: nobody could look at it.

        """
        job = {"text": program.text, "variables": sorted(variables), "boolean": boolean}
        try:
            await self._call("check", job, namespace)
        except ExpressionFailed as error:
            raise ExpressionFailed(f"{program.label}: {error}", invalid=error.invalid) from error

    async def decide(
        self,
        program: Program,
        *,
        data: Mapping[str, Any],
        each: Sequence[Mapping[str, Any]],
        namespace: str,
        doubles: bool = True,
    ) -> list[bool]:
        """Evaluate one condition over many objects.

        Args:
            program: the condition.
            data: variables that are the same for all.
            each: the other variables, one mapping for each answer.
            namespace: of the object that has the expression.
            doubles: whether whole numbers are doubles, as in events, or integers.

        Raises:
            ExpressionFailed: one of them cannot be evaluated, or is neither true nor false.
            EvaluatorBusy: nobody could look at it.

        """
        answers = await self._evaluate(
            [program],
            data=data,
            each=each,
            namespace=namespace,
            with_vars=False,
            doubles=doubles,
        )
        return [_boolean(program, answer[0]) for answer in answers]

    async def first(
        self, programs: Sequence[Program], *, data: Mapping[str, Any], namespace: str
    ) -> int | None:
        """Which of several conditions is the first that is true; those after it do not count.

        Args:
            programs: the conditions.
            data: their variables, fields of an object: whole numbers are integers.
            namespace: of the object that has the expressions.

        Raises:
            ExpressionFailed: one that counts cannot be evaluated, or is neither true nor false.
            EvaluatorBusy: nobody could look at it.

        """
        job = {
            "programs": [{"label": one.label, "text": one.text} for one in programs],
            "data": dict(data),
        }
        index: int = (await self._call("first", job, namespace))["index"]
        return index if index >= 0 else None

    async def text(self, program: Program, *, data: Mapping[str, Any], namespace: str) -> str:
        """Evaluate an expression to a text.

        Args:
            program: the expression.
            data: its variables.
            namespace: of the object that has the expression.

        Raises:
            ExpressionFailed: it cannot be evaluated, or its value is no text.

        """
        answers = await self._evaluate(
            [program], data=data, each=[{}], namespace=namespace, with_vars=False
        )
        value = answers[0][0]
        if not isinstance(value, str):
            raise ExpressionFailed(f"{program.label}: must be a text")
        return value

    async def validate(
        self,
        variables: Sequence[Program],
        conditions: Sequence[Program],
        *,
        data: Mapping[str, Any],
        namespace: str,
    ) -> list[bool]:
        """Evaluate conditions over data and over variables that are computed from it.

        Raises:
            ExpressionFailed: an expression cannot be evaluated, or a condition is neither true
                nor false.
            EvaluatorBusy: nobody could look at it.

        """
        answers = await self._evaluate(
            [*variables, *conditions], data=data, each=[{}], namespace=namespace, with_vars=True
        )
        values = answers[0][len(variables) :]
        return [_boolean(program, value) for program, value in zip(conditions, values, strict=True)]

    async def _evaluate(
        self,
        programs: Sequence[Program],
        *,
        data: Mapping[str, Any],
        each: Sequence[Mapping[str, Any]],
        namespace: str,
        with_vars: bool,
        doubles: bool = True,
    ) -> list[list[Any]]:
        job = {
            "programs": [
                {"label": one.label, "text": one.text, "name": one.name} for one in programs
            ],
            "data": dict(data),
            "each": [dict(one) for one in each],
            "with_vars": with_vars,
            "doubles": doubles,
        }
        found: list[list[Any]] = (await self._call("evaluate", job, namespace))["answers"]
        return found

    async def _call(self, method: str, job: JsonObject, namespace: str) -> JsonObject:
        meter = self._allowance.of(namespace)
        try:
            meter.admit()
            return await self._pool.call(
                method,
                job,
                timeout=_SECONDS,
                trust_domain=namespace,
                retry_timeout=False,
                meter=meter,
            )
        except WorkerTimeout as error:
            text = f"takes longer than {_SECONDS:g}s"
            raise ExpressionFailed(text, invalid=False) from error
        except (WorkerBusy, WorkerStartFailed) as error:
            raise EvaluatorBusy(f"the CEL workers cannot be had: {error.message}") from error
        except WorkerError as error:
            if error.code == _CLOSED:
                raise EvaluatorBusy("the controller ends") from error
            invalid = error.code == INVALID
            prefix = "" if invalid else "the CEL worker failed: "
            raise ExpressionFailed(prefix + error.message, invalid=invalid) from error


def _boolean(program: Program, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ExpressionFailed(f"{program.label}: must be true or false")
    return value
