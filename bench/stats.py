"""Small statistics and what ``/proc`` says about a process."""

from __future__ import annotations

import os
import statistics
from pathlib import Path

__all__ = ["Table", "cpu_seconds", "resident_mib"]


class Table:
    """Named series, printed as p50, p95, maximum."""

    def __init__(self, title: str, unit: str) -> None:
        self._title = f"{title} ({unit})" if unit else title
        self._series: dict[str, list[float]] = {}

    def add(self, name: str, value: float) -> None:
        """One measurement."""
        self._series.setdefault(name, []).append(value)

    def text(self) -> str:
        """The table."""
        width = max(len(name) for name in self._series)
        lines = [self._title]
        for name, values in self._series.items():
            if len(values) == 1:
                lines.append(f"  {name:<{width}}  {values[0]:9.2f}")
                continue
            lines.append(
                f"  {name:<{width}}  p50 {statistics.median(values):8.1f}"
                f"  p95 {_percentile(values, 0.95):8.1f}  max {max(values):8.1f}"
            )
        return "\n".join(lines)


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far, without its children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mib(pid: int) -> float:
    """Resident memory of a process in MiB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
