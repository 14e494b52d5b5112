"""Differences between a live object and what the server would make of it.

Compared as in Flux (FKH §4.7): labels and annotations in full, the body without metadata and
status semantically. Finalizers and owner references are compared too, so that a change to them
alone is not lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["Difference", "ObjectDiff"]


@dataclass(frozen=True, slots=True)
class Difference:
    """One path (a JSON pointer) and its two values, masked; ``None`` is absent."""

    path: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class ObjectDiff:
    """All differences of one object, by path."""

    differences: tuple[Difference, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.differences)

    def text(self) -> str:
        """A readable form: ``path: before -> after``, one line a difference."""
        raise NotImplementedError
