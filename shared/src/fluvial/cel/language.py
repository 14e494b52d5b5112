"""What expressions see: variables of any type, and Flux's extensions of the language.

Optionals, strings, encoders and sets are there; numbers of events are doubles, as in Flux, and
numbers of different types compare with each other. Only worker processes import this.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from cel_expr_python import cel
from cel_expr_python.ext import ext_encoders, ext_optional, ext_strings

from fluvial.errors import FluvialError

__all__ = ["InvalidExpression", "check", "evaluate"]

_SHOWN = 500


class InvalidExpression(FluvialError):
    """It does not compile, is of another type than wanted, or cannot be evaluated."""


def check(text: str, variables: Sequence[str], *, boolean: bool) -> None:
    """Compile an expression.

    Args:
        text: of the user.
        variables: that it may name.
        boolean: its result must be true or false.

    Raises:
        InvalidExpression: it cannot be compiled, or its result is certainly something else.

    """
    found = _compiled(text, tuple(variables)).return_type()
    if boolean and found not in (cel.Type.BOOL, cel.Type.DYN):
        raise InvalidExpression(f"must be true or false, and is of type {found.name()}")


def evaluate(text: str, data: dict[str, Any], *, doubles: bool = True) -> Any:
    """The value of an expression.

    Args:
        text: of the user.
        data: values of its variables, as JSON has them.
        doubles: whole numbers of the data are doubles, as in events; else integers, as in objects.

    Raises:
        InvalidExpression: it cannot be compiled, or not be evaluated over these values.

    """
    values = {name: _doubles(value) for name, value in data.items()} if doubles else data
    try:
        value = _compiled(text, tuple(sorted(data))).eval(data=values)
        plain = value.plain_value()
    except (RuntimeError, ValueError, TypeError) as error:
        raise InvalidExpression(_said(error)) from error
    if value.type() == cel.Type.ERROR:
        raise InvalidExpression(_said(plain))
    return plain


@functools.lru_cache(maxsize=256)
def _compiled(text: str, variables: tuple[str, ...]) -> Any:
    try:
        return _environment(variables).compile(text)
    except (RuntimeError, ValueError, TypeError) as error:
        raise InvalidExpression(_said(error)) from error


@functools.lru_cache(maxsize=16)
def _environment(variables: tuple[str, ...]) -> Any:
    return cel.NewEnv(
        variables=dict.fromkeys(variables, cel.Type.DYN),
        extensions=[
            ext_strings.ExtStrings(),
            ext_optional.ExtOptional(),
            ext_encoders.ExtEncoders(),
        ],
        functions=[
            _sets("contains", lambda one, other: all(item in one for item in other)),
            _sets("intersects", lambda one, other: any(item in one for item in other)),
            _sets(
                "equivalent",
                lambda one, other: all(i in other for i in one) and all(i in one for i in other),
            ),
        ],
    )


def _sets(name: str, implementation: Any) -> Any:
    lists = [cel.Type.LIST, cel.Type.LIST]
    return cel.FunctionDecl(
        f"sets.{name}",
        [
            cel.Overload(
                f"list_sets_{name}_list",
                return_type=cel.Type.BOOL,
                parameters=lists,
                impl=implementation,
            )
        ],
    )


def _doubles(value: Any) -> Any:
    """Whole numbers as JSON has them: as doubles, so that they compare and divide as in Flux."""
    if isinstance(value, dict):
        return {key: _doubles(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_doubles(item) for item in value]
    if isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return value


def _said(error: object) -> str:
    return " ".join(str(error).split())[:_SHOWN]
