"""What controllers share that watch owned objects: flags that bound it, metrics that show it."""

from __future__ import annotations

from fluvial.apply.owned_kinds import WatchLimits
from fluvial.runtime.flags import Flags, FlagSet
from fluvial.runtime.metrics import Metrics

__all__ = ["DriftMetrics", "watch_flags", "watch_limits"]


def watch_flags(flags: FlagSet) -> None:
    """Declare ``--drift-watch-kinds`` and ``--drift-watch-objects``."""
    flags.integer(
        "drift-watch-kinds",
        100,
        "Kinds whose applied objects are watched, so that drift is seen at once; 0 for none.",
        minimum=0,
    )
    flags.integer(
        "drift-watch-objects", 100_000, "Applied objects that are watched at most.", minimum=1
    )


def watch_limits(flags: Flags) -> WatchLimits:
    """What those flags say."""
    return WatchLimits(kinds=flags["drift-watch-kinds"], objects=flags["drift-watch-objects"])


class DriftMetrics:
    """Shows how much is watched, and how often it woke somebody."""

    def __init__(self, metrics: Metrics) -> None:
        self._kinds = metrics.gauge(
            "fluvial_owned_kinds_watched", "Kinds whose owned objects are watched for drift."
        )
        self._objects = metrics.gauge(
            "fluvial_owned_objects_watched", "Owned objects that are watched for drift."
        )
        self._wakes = metrics.counter(
            "fluvial_drift_wakes_total", "Reconciles because others changed an owned object."
        )

    def watched(self, *, kinds: int, objects: int) -> None:
        """So much is watched now."""
        self._kinds.set(kinds)
        self._objects.set(objects)

    def woken(self) -> None:
        """An owner was woken."""
        self._wakes.inc()
