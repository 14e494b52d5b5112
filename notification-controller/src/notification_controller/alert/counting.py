"""The account of what is told: what Alerts match is delivered, told otherwise, dropped, or waits.

For each event that an Alert matches ``fluvial_alerted_events_total`` rises by one, and in the end
one of the outcomes of ``fluvial_notifications_total`` does; what waits meanwhile is a gauge.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from fluvial.runtime.metrics import Metrics
from notification_controller.alert import lanes

__all__ = ["ALERT_GONE", "ALERT_SUSPENDED", "Counting"]

ALERT_GONE = "the Alert does not exist any more"
ALERT_SUSPENDED = "the Alert is suspended"

_REASONS: Mapping[str, str] = {
    lanes.LANE_FULL: "lane_full",
    lanes.NO_ROOM: "no_room",
    lanes.ENDING: "shutdown",
    ALERT_GONE: "alert_gone",
    ALERT_SUSPENDED: "alert_suspended",
}


class Counting:
    """Counts messages.

    Args:
        metrics: of the controller.
        waiting: tells how many wait, in lanes and in groups.

    Attributes:
        totals: how many were matched, and came to each end, since the start.

    """

    def __init__(self, metrics: Metrics, waiting: Callable[[], float]) -> None:
        self.totals: Counter[str] = Counter()
        self._matched = metrics.counter(
            "fluvial_alerted_events_total", "Events that an Alert tells of, once for each Alert."
        )
        self._ended = metrics.counter(
            "fluvial_notifications_total",
            "Messages by what became of them: delivered, failed or dropped; grouped counts events"
            " that another's message tells of, suppressed those whose failure was told before.",
            ("outcome",),
        )
        self._dropped = metrics.counter(
            "fluvial_notifications_dropped_total",
            "Messages that were dropped, by why.",
            ("reason",),
        )
        metrics.gauge(
            "fluvial_notifications_waiting",
            "Messages that wait, or are being sent: what a process that is killed loses.",
        ).set_function(waiting)

    def matched(self) -> None:
        """An Alert tells of an event."""
        self._matched.inc()
        self.totals["matched"] += 1

    def ended(self, outcome: str, why: str = "", *, number: int = 1) -> None:
        """So many events came to this end."""
        self._ended.labels(outcome).inc(number)
        self.totals[outcome] += number
        if outcome == "dropped":
            self._dropped.labels(_REASONS.get(why, "other")).inc(number)
