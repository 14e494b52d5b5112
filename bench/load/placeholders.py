"""``$(name)`` in data files: Kubernetes' own form, which no shell and no Flux substitution takes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from fluvial.errors import FluvialError

__all__ = ["BadData", "fill"]

_PLACEHOLDER = re.compile(r"\$\(([A-Za-z0-9_.:-]+)\)")


class BadData(FluvialError):
    """A data file of the harness cannot be used; the message says what to mend."""


def fill(value: Any, lookup: Mapping[str, Any] | Callable[[str], Any]) -> Any:
    """A copy of a JSON value with every placeholder replaced, by the parameter as a text.

    Args:
        value: any JSON value; keys of maps are left alone.
        lookup: the parameters, or a function that knows them.

    Raises:
        BadData: a placeholder names no parameter.

    """
    if isinstance(value, dict):
        return {key: fill(item, lookup) for key, item in value.items()}
    if isinstance(value, list):
        return [fill(item, lookup) for item in value]
    if not isinstance(value, str) or "$(" not in value:
        return value
    return _PLACEHOLDER.sub(lambda match: str(_find(match[1], lookup)), value)


def _find(name: str, lookup: Mapping[str, Any] | Callable[[str], Any]) -> Any:
    try:
        return lookup(name) if callable(lookup) else lookup[name]
    except KeyError:
        raise BadData(f"$({name}) is no parameter") from None
