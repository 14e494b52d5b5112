"""Whether an Alert is for an event."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass

import re2

from fluvial.api.notification import Alert, EventSource
from notification_controller.event.model import Event

__all__ = ["Match", "match"]

_CACHED = 1024


@dataclass(frozen=True, slots=True)
class Match:
    """What comes of comparing an Alert with an event.

    Attributes:
        told: the Alert is for it.
        about: it is about an object of the Alert's sources, whatever else it says.
        labels: labels that the object must have for that, one mapping for each source that fits
            otherwise; empty where none is needed.
        invalid: expressions that are none, with what is wrong with each.

    """

    told: bool
    about: bool = False
    labels: tuple[Mapping[str, str], ...] = ()
    invalid: tuple[str, ...] = ()


_NO = Match(told=False)


def match(alert: Alert, event: Event) -> Match:
    """Compare everything but the labels of the object, which have to be read."""
    spec = alert.spec
    fitting = [one for one in spec.event_sources if _fits(one, event, alert.metadata.namespace)]
    if not fitting:
        return _NO
    if spec.suspend or (spec.event_severity not in ("info", event.severity)):
        return Match(told=False, about=True)
    wanted, broken = _matching(spec.inclusion_list, event.message)
    unwanted, more = _matching(spec.exclusion_list, event.message)
    told = (wanted or not spec.inclusion_list) and not unwanted
    labels = tuple(one.match_labels for one in fitting)
    needed = () if any(not one for one in labels) else labels
    return Match(told=told, about=True, labels=needed, invalid=(*broken, *more))


def _fits(source: EventSource, event: Event, own: str) -> bool:
    obj = event.involved_object
    return (
        (source.namespace or own) == obj.namespace
        and source.kind == obj.kind
        and source.name in {"*", obj.name}
    )


def _matching(patterns: tuple[str, ...], message: str) -> tuple[bool, list[str]]:
    """Whether any expression is somewhere in a message, and which are no expressions."""
    found, broken = False, []
    for pattern in patterns:
        compiled = _compiled(pattern)
        if isinstance(compiled, str):
            broken.append(f"{pattern!r}: {compiled}")
        elif compiled.search(message):
            found = True
    return found, broken


@functools.lru_cache(maxsize=_CACHED)
def _compiled(pattern: str) -> re2._Regexp | str:
    try:
        return re2.compile(pattern, options=_OPTIONS)
    except re2.error as error:
        return str(error)


_OPTIONS = re2.Options()
_OPTIONS.log_errors = False
_OPTIONS.max_mem = 8 << 20
