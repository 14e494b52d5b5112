"""The worker's side: expressions in, answers out."""

from __future__ import annotations

from typing import Any

from fluvial.cel import language
from fluvial.objects import JsonObject
from fluvial.workers import landlock
from fluvial.workers.errors import WorkerError

__all__ = ["INVALID", "run"]

INVALID = "InvalidExpression"


def run(method: str, payload: JsonObject) -> JsonObject:
    """The worker's target.

    Args:
        method: ``check``, ``evaluate`` or ``first``.
        payload: for ``check`` the ``text``, its ``variables`` and whether it is ``boolean``; for
            ``evaluate`` the ``programs`` (each a ``text`` and the ``name`` that later ones know it
            by, or none), the ``data`` of all, whether its numbers are ``doubles``, and ``each``:
            further data, one answer for each; for ``first`` the ``programs`` and the ``data``:
            those after the first that is true are not evaluated.

    Raises:
        WorkerError: code ``InvalidExpression``.

    """
    _fence()
    try:
        if method == "check":
            language.check(payload["text"], payload["variables"], boolean=payload["boolean"])
            return {}
        if method == "evaluate":
            return {"answers": [_evaluate(payload, more) for more in payload["each"]]}
        if method == "first":
            return {"index": _first(payload["programs"], payload["data"])}
    except language.InvalidExpression as error:
        raise WorkerError(INVALID, str(error)) from error
    raise WorkerError("Internal", f"unknown method {method!r}")


def _evaluate(payload: JsonObject, more: JsonObject) -> list[Any]:
    data = {**payload["data"], **more}
    values: JsonObject = {}
    answers = []
    for program in payload["programs"]:
        known = {**data, "vars": values} if payload["with_vars"] else data
        try:
            value = language.evaluate(program["text"], known, doubles=payload["doubles"])
        except language.InvalidExpression as error:
            raise language.InvalidExpression(f"{program['label']}: {error}") from error
        if program["name"]:
            values[program["name"]] = value
        answers.append(value)
    return answers


def _first(programs: list[JsonObject], data: JsonObject) -> int:
    for index, program in enumerate(programs):
        try:
            value = language.evaluate(program["text"], data, doubles=False)
        except language.InvalidExpression as error:
            raise language.InvalidExpression(f"{program['label']}: {error}") from error
        if not isinstance(value, bool):
            raise language.InvalidExpression(f"{program['label']}: must be true or false")
        if value:
            return index
    return -1


def _fence() -> None:
    """No file but the libraries, no connection, from the first job on."""
    if not _fenced:
        landlock.fence(read=landlock.paths_of_libraries(), write=[], ports=())
        _fenced.append(True)


_fenced: list[bool] = []
