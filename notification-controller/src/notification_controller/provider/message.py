"""What is told, in the words that services share."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from fluvial.clock import parse_time
from notification_controller.event.model import Event

__all__ = ["Message"]


@dataclass(frozen=True, slots=True)
class Message:
    """An event as an Alert tells it.

    Attributes:
        event: its metadata has every fact under its name without prefix, sorted.
        alert: uid of the Alert.
        provider: uid of the Provider.
        alert_name: namespace and name of the Alert.
        status_name: of the status of a commit, where the Provider says it.

    """

    event: Event
    alert: str = ""
    provider: str = ""
    alert_name: str = ""
    status_name: str = ""

    @property
    def subject(self) -> str:
        """``kind/name.namespace``, the kind in lower case."""
        obj = self.event.involved_object
        return f"{obj.kind.lower()}/{obj.name}.{obj.namespace}"

    @property
    def title(self) -> str:
        """``Kind/namespace/name``, for services that show a path."""
        obj = self.event.involved_object
        return f"{obj.kind}/{obj.name}.{obj.namespace}"

    @property
    def facts(self) -> list[tuple[str, str]]:
        """Name and value of each fact, the summary first."""
        metadata = self.event.metadata
        first = [("summary", metadata["summary"])] if "summary" in metadata else []
        return first + sorted((k, v) for k, v in metadata.items() if k != "summary")

    @property
    def first_line(self) -> str:
        """Of the text."""
        return self.event.message.split("\n", 1)[0]

    @property
    def time(self) -> datetime:
        """When it happened; the epoch where that cannot be read."""
        try:
            return parse_time(self.event.timestamp)
        except ValueError:
            return datetime.fromtimestamp(0, UTC)
