"""Messages of one Alert that wait for each other, to be told as one.

A window begins with its first event and does not slide. A group of one is told as it came; of more,
one message about the Alert lists the first of them, errors before others. What waits is bounded:
where there is no room, the oldest group is told before its time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from fluvial.api.notification import Alert
from fluvial.clock import Clock
from fluvial.durations import format_duration
from notification_controller.alert.lanes import Job
from notification_controller.event.model import Event, InvolvedObject

__all__ = ["LISTED", "REASON", "Groups"]

REASON = "EventsGrouped"
LISTED = 20
"""Events that one message lists."""

_ROOM = 2_000
_BYTES = 16 << 20
_LINE = 250
_CONTROLLER = "notification-controller"


@dataclass(slots=True)
class _Group:
    """What one Alert has to tell when its window ends.

    Attributes:
        last: the only one, or the last that came.
        lines: of those that are listed, and whether each is an error.
        facts: that all of them say.

    """

    last: Job
    window: float
    lines: list[tuple[bool, str]] = field(default_factory=list)
    facts: dict[str, str] = field(default_factory=dict)
    keys: list[bytes] = field(default_factory=list)
    count: int = 0
    errors: int = 0
    timestamp: str = ""
    weight: int = 0

    def add(self, job: Job) -> None:
        event = job.message.event
        first = self.count == 0
        said = event.metadata.items()
        self.facts = dict(said) if first else dict(self.facts.items() & said)
        self.count += 1
        self.errors += event.is_error
        self.timestamp = event.timestamp
        self.keys += job.keys
        self._list(event)
        # The text of the first is needed only as long as it is the only one.
        self.last = job if first else replace(job, message=replace(job.message, event=_bare(event)))
        texts = sum(len(line) for _, line in self.lines) + 32 * len(self.keys)
        facts = sum(len(name) + len(value) for name, value in self.facts.items())
        self.weight = texts + facts + self.last.message.event.size

    def _list(self, event: Event) -> None:
        if len(self.lines) < LISTED:
            self.lines.append((event.is_error, _line(event)))
            return
        if not event.is_error:
            return
        for at in reversed(range(LISTED)):
            if not self.lines[at][0]:
                del self.lines[at]
                self.lines.append((True, _line(event)))
                return

    def job(self) -> Job:
        """What is told."""
        if self.count == 1:
            return self.last
        return replace(
            self.last,
            message=replace(self.last.message, event=self._event()),
            keys=tuple(self.keys),
        )

    def _event(self) -> Event:
        alert, uid = self.last.alert, self.last.message.alert
        return Event(
            involved_object=InvolvedObject(
                api_version=Alert.API_VERSION,
                kind=Alert.KIND,
                name=alert.name,
                namespace=alert.namespace,
                uid=uid,
            ),
            severity="error" if self.errors else "info",
            timestamp=self.timestamp,
            message=self._text(),
            reason=REASON,
            metadata=dict(sorted(self.facts.items())),
            reporting_controller=_CONTROLLER,
        )

    def _text(self) -> str:
        head = f"{self.count} events in {format_duration(self.window)}{_errors(self.errors)}"
        listed = [f"- {line}" for _, line in self.lines]
        left = self.count - len(listed)
        if left:
            told = sum(is_error for is_error, _ in self.lines)
            listed.append(f"- and {left} more{_errors(self.errors - told)}")
        return "\n".join((head, *listed))


class Groups:
    """The open windows.

    Args:
        told: takes what is told when a window ends, and how many events that stands for.
        clock: ends windows.
        room: groups that are open.
        room_bytes: characters that are kept in all.

    """

    def __init__(
        self,
        told: Callable[[Job, int], None],
        *,
        clock: Clock,
        room: int = _ROOM,
        room_bytes: int = _BYTES,
    ) -> None:
        self._told = told
        self._clock = clock
        self._room = room
        self._room_bytes = room_bytes
        self._groups: dict[str, _Group] = {}
        self._ends: dict[str, asyncio.Task[None]] = {}
        self._held = 0
        self.waiting = 0

    def add(self, job: Job, window: float) -> None:
        """Take a message; the first of an Alert begins a window of so many seconds."""
        uid = job.message.alert
        group = self._groups.get(uid)
        if group is None:
            while self._groups and len(self._groups) >= self._room:
                self._close(next(iter(self._groups)))
            group = self._groups[uid] = _Group(job, window)
            self._ends[uid] = asyncio.create_task(
                self._wait(uid, window), name=f"group of {job.alert}"
            )
        before = group.weight
        group.add(job)
        self._held += group.weight - before
        self.waiting += 1
        while self._held > self._room_bytes:
            self._close(next(iter(self._groups)))

    async def flush(self) -> None:
        """Tell of all that waits: the controller ends."""
        for uid in list(self._groups):
            self._close(uid)
        await asyncio.gather(*self._ends.values(), return_exceptions=True)

    async def _wait(self, uid: str, window: float) -> None:
        try:
            await self._clock.sleep(window)
        finally:
            if self._ends.get(uid) is asyncio.current_task():
                del self._ends[uid]
        self._close(uid)

    def _close(self, uid: str) -> None:
        """Tell of a group, before its time or not."""
        group = self._groups.pop(uid)
        ending = self._ends.pop(uid, None)
        if ending is not None:
            ending.cancel()
        self._held -= group.weight
        self.waiting -= group.count
        self._told(group.job(), group.count)


def _line(event: Event) -> str:
    obj = event.involved_object
    mark = "error " if event.is_error else ""
    first = event.message.split("\n", 1)[0]
    line = f"{mark}{obj.kind}/{obj.namespace}/{obj.name} {event.reason}: {first}"
    return line if len(line) <= _LINE else line[: _LINE - 1] + "…"


def _errors(number: int) -> str:
    return f", {number} of them errors" if number else ""


def _bare(event: Event) -> Event:
    """Of an event that is listed, what still matters."""
    return Event(
        involved_object=InvolvedObject(),
        severity=event.severity,
        timestamp="",
        message="",
        reason="",
    )
