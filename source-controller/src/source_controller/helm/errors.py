"""What can go wrong with charts, and what it means for whoever wants one.

ChartError
├── InvalidChart        it is no chart that Helm takes, or one that is not safe to read
├── NoSuchChart         the index or the source has no such chart, or no such version of it
├── ValuesFailed        a values file is missing or cannot be read
├── VersionFailed       the chart's version cannot get build metadata
├── DependencyFailed    a chart that it needs cannot be had
├── StorageFailed       the disk is full, or the like; try again
└── WorkFailed          the worker died, ran out of time or is overloaded; try again
"""

from __future__ import annotations

from fluvial.errors import FluvialError

__all__ = [
    "ChartError",
    "DependencyFailed",
    "InvalidChart",
    "NoSuchChart",
    "StorageFailed",
    "ValuesFailed",
    "VersionFailed",
    "WorkFailed",
    "by_code",
]


class ChartError(FluvialError):
    """Root of the errors about charts; the text is for a status."""


class InvalidChart(ChartError):
    """What is there is no chart, or breaks a limit."""


class NoSuchChart(ChartError):
    """Nothing has that name, or no version fits."""


class ValuesFailed(ChartError):
    """Values files cannot be merged."""


class VersionFailed(ChartError):
    """The version in the chart is none."""


class DependencyFailed(ChartError):
    """A dependency is missing, or is not what is asked for."""


class StorageFailed(ChartError):
    """A file of ours cannot be read or written."""


class WorkFailed(ChartError):
    """The work was not done, and it is not known whose fault that is."""


_KINDS = {
    kind.__name__: kind
    for kind in (
        InvalidChart,
        NoSuchChart,
        ValuesFailed,
        VersionFailed,
        DependencyFailed,
        StorageFailed,
    )
}


def by_code(code: str, message: str) -> ChartError:
    """The error that a worker reported by the name of its class, or another failure of it."""
    kind = _KINDS.get(code)
    return kind(message) if kind else WorkFailed(f"the Helm worker failed: {message}")
