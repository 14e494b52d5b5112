"""What the annotations of an Alert ask for, beyond Flux; without them all is as in Flux."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fluvial.durations import format_duration, parse_duration

__all__ = ["FAILURES", "GROUP_WINDOW", "PREFIX", "RECOVERY", "Wishes", "read_wishes"]

PREFIX = "fluvial.dev/"
GROUP_WINDOW = PREFIX + "group-window"
FAILURES = PREFIX + "failures"
RECOVERY = PREFIX + "recovery"

_SHORTEST, _LONGEST = 1.0, 3600.0
_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Wishes:
    """How an Alert wants to tell what it tells.

    Attributes:
        window: seconds from the first event for which events are gathered; 0 tells each at once.
        once: a failure is told once, until it changes or clears.
        recovery: the end of a failure that was told is told.
        invalid: annotations that say nothing valid, with what is wrong with each; they count as
            not there.

    """

    window: float = 0.0
    once: bool = False
    recovery: bool = False
    invalid: tuple[str, ...] = ()

    @property
    def remembers(self) -> bool:
        """Whether failures have to be remembered."""
        return self.once or self.recovery

    @property
    def any(self) -> bool:
        """Whether anything is other than in Flux."""
        return self.remembers or self.window > 0


def read_wishes(annotations: Mapping[str, str]) -> Wishes:
    """What is asked for, and which annotations of ours cannot be followed."""
    values: dict[str, float | bool] = {}
    invalid: list[str] = []
    for name in sorted(annotations):
        if not name.startswith(PREFIX):
            continue
        reader = _READERS.get(name)
        try:
            if reader is None:
                raise ValueError(f"is none of {', '.join(_READERS)}")  # noqa: TRY301 - one way out
            values[name] = reader(annotations[name])
        except ValueError as error:
            invalid.append(f"annotation {name[:_SHOWN]} {error}")
    return Wishes(
        window=float(values.get(GROUP_WINDOW, 0.0)),
        once=bool(values.get(FAILURES, False)),
        recovery=bool(values.get(RECOVERY, False)),
        invalid=tuple(invalid),
    )


def _window(text: str) -> float:
    wanted = (
        f"must be a duration from {format_duration(_SHORTEST)} to {format_duration(_LONGEST)},"
        f" not {text[:_SHOWN]!r}"
    )
    try:
        seconds = parse_duration(text)
    except ValueError:
        raise ValueError(wanted) from None
    if not _SHORTEST <= seconds <= _LONGEST:
        raise ValueError(wanted)
    return seconds


def _choice(off: str, on: str) -> Callable[[str], bool]:
    def read(text: str) -> bool:
        if text not in {off, on}:
            raise ValueError(f"must be {off} or {on}, not {text[:_SHOWN]!r}")
        return text == on

    return read


_READERS: Mapping[str, Callable[[str], float | bool]] = {
    GROUP_WINDOW: _window,
    FAILURES: _choice("each", "once"),
    RECOVERY: _choice("off", "tell"),
}
