"""What an event says once an Alert and the object itself have added their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fluvial.api.notification import Alert
from notification_controller.event.model import EVENT_GROUP, Event

__all__ = ["Merged", "merge"]

_SUMMARY = "summary"


@dataclass(frozen=True, slots=True)
class Merged:
    """An event as it is told.

    Attributes:
        event: with all facts, under names without prefixes.
        conflicts: for each fact that several say, who they are: the last one counts.

    """

    event: Event
    conflicts: Mapping[str, tuple[str, ...]]


def merge(event: Event, alert: Alert) -> Merged:
    """Join the facts, from weak to strong: the object's annotations, the Alert's, the controller's.

    Args:
        event: cleaned.
        alert: that tells it.

    """
    general, own = f"{EVENT_GROUP}/", f"{event.involved_object.group}/"
    sources: list[tuple[str, Mapping[str, str]]] = [
        ("involved object annotations", _below(event.metadata, general)),
        ("Alert object .spec.eventMetadata", alert.spec.event_metadata),
        (
            "Alert object .spec.summary",
            {_SUMMARY: alert.spec.summary} if alert.spec.summary else {},
        ),
        ("involved object controller metadata", _below(event.metadata, own)),
    ]
    merged: dict[str, str] = {}
    said: dict[str, tuple[str, ...]] = {}
    for who, facts in sources:
        for name, value in facts.items():
            merged[name] = value
            said[name] = (*said.get(name, ()), who)
    conflicts = {name: who for name, who in said.items() if len(who) > 1}
    return Merged(event.with_metadata(dict(sorted(merged.items()))), conflicts)


def _below(metadata: Mapping[str, str], prefix: str) -> dict[str, str]:
    return {
        name.removeprefix(prefix): value
        for name, value in metadata.items()
        if name.startswith(prefix)
    }
