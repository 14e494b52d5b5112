"""What was measured, beside what was aimed at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Figure", "percentile", "table"]


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure.

    Attributes:
        name: what it is of.
        value: in ``unit``.
        unit: such as ``/s`` or ``MiB``.
        target: what it should be, in the same unit; None for what only explains another figure.
        at_most: whether less is better.
        note: how it came about: percentiles, CPU, sizes.

    """

    name: str
    value: float
    unit: str
    target: float | None = None
    at_most: bool = False
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None without one."""
        if self.target is None:
            return None
        return self.value <= self.target if self.at_most else self.value >= self.target


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which ``share`` of them lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def table(figures: Sequence[Figure]) -> str:
    """The figures as a Markdown table."""
    rows = [("figure", "measured", "target", "met", "")]
    rows += [
        (
            figure.name,
            f"{_number(figure.value)} {figure.unit}",
            _target(figure),
            {True: "yes", False: "no", None: ""}[figure.met],
            figure.note,
        )
        for figure in figures
    ]
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    lines = [_line(row, widths) for row in rows]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def _line(row: tuple[str, ...], widths: Sequence[int]) -> str:
    cells = (f" {cell:<{width}} " for cell, width in zip(row, widths, strict=True))
    return "|" + "|".join(cells) + "|"


def _target(figure: Figure) -> str:
    if figure.target is None:
        return ""
    return f"{'≤' if figure.at_most else '≥'} {_number(figure.target)}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.2f}"
