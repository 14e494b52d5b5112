"""The conditions of Flux' kinds, as pure functions on lists.

Reconcilers hold a list of ``Condition`` and replace it by what these functions return; nothing
here reads a clock or changes its argument. The rules are those of Flux and of kstatus:

- A condition always carries the generation that it was last set for. Its transition time moves
  when status, reason or message change, and has whole seconds.
- ``Reconciling`` and ``Stalled`` exclude each other: setting one removes the other. Both are there
  only while they are true.
- A message has at most 32768 bytes, its cut marked by ``...``.
- The order is Stalled, Reconciling, Ready, then newest generation first, then by type.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime

from msgspec.structs import replace

from fluvial.api.meta import Condition, ConditionStatus
from fluvial.clock import format_time

__all__ = [
    "MAX_MESSAGE_BYTES",
    "READY",
    "RECONCILING",
    "STALLED",
    "Conditioned",
    "clip",
    "delete_condition",
    "get_condition",
    "is_true",
    "order_key",
    "set_condition",
    "sort",
    "summarise",
]

READY = "Ready"
RECONCILING = "Reconciling"
STALLED = "Stalled"

MAX_MESSAGE_BYTES = 32768
"""The longest message the CRDs' schema accepts."""

_EXCLUDES = {RECONCILING: STALLED, STALLED: RECONCILING}
_FIRST = {STALLED: 0, RECONCILING: 1, READY: 2}


def clip(message: str, *, limit: int = MAX_MESSAGE_BYTES) -> str:
    """``message`` in at most ``limit`` bytes of UTF-8, ending in ``...`` where it was cut."""
    data = message.encode("utf-8", "replace")
    if len(data) <= limit:
        return message
    return data[: limit - 3].decode("utf-8", "ignore") + "..."


def order_key(type_: str, observed_generation: int) -> tuple[int, int, str]:
    """Where a condition stands among others."""
    first = _FIRST.get(type_)
    return (3, -observed_generation, type_) if first is None else (first, 0, "")


def sort(conditions: Iterable[Condition]) -> list[Condition]:
    """The conditions in Flux' order."""
    return sorted(conditions, key=lambda item: order_key(item.type, item.observed_generation))


def get_condition(conditions: Iterable[Condition], type_: str) -> Condition | None:
    """The condition of that type, or ``None``."""
    return next((item for item in conditions if item.type == type_), None)


def is_true(conditions: Iterable[Condition], type_: str) -> bool:
    """Whether there is such a condition with status ``True``."""
    found = get_condition(conditions, type_)
    return found is not None and found.status == "True"


def delete_condition(conditions: Iterable[Condition], type_: str) -> list[Condition]:
    """The conditions without those of that type."""
    return [item for item in conditions if item.type != type_]


def set_condition(
    conditions: Iterable[Condition],
    type_: str,
    status: ConditionStatus,
    reason: str,
    message: str,
    *,
    generation: int,
    now: datetime,
) -> list[Condition]:
    """The conditions with one of them set, in Flux' order.

    Args:
        conditions: what there was.
        type_: the type to set; Reconciling removes Stalled and the other way round.
        status: ``True``, ``False`` or ``Unknown``.
        reason: one word in CamelCase.
        message: for people; cut at 32768 bytes.
        generation: the object's current ``metadata.generation``.
        now: wall time; becomes the transition time where something changed.

    """
    conditions = list(conditions)
    fresh = Condition(
        type=type_,
        status=status,
        reason=reason,
        message=clip(message),
        observed_generation=generation,
        last_transition_time=format_time(now),
    )
    old = get_condition(conditions, type_)
    if old is not None and _same_state(old, fresh):
        fresh = replace(fresh, last_transition_time=old.last_transition_time)
    gone = {type_, _EXCLUDES.get(type_)}
    return sort([*(item for item in conditions if item.type not in gone), fresh])


def summarise(
    conditions: Sequence[Condition],
    *,
    order: Sequence[str],
    negative: Collection[str],
    target: str = READY,
    generation: int,
    now: datetime,
) -> list[Condition]:
    """Set ``target`` to what the conditions named in ``order`` say together, as Flux sums them up.

    They fall into five groups, best first: a negative one that is true (target False), a positive
    one that is false (False), a positive one that is true (True), a negative one that is false
    (True), an unknown one (Unknown). Reason and message are those of the first type, in ``order``,
    within the best group that is not empty.

    Args:
        conditions: what there is; types that are not in ``order`` do not count.
        order: the types to consider.
        negative: those of them that are bad news when true.
        target: the type to set.
        generation: the object's current ``metadata.generation``.
        now: wall time.

    Returns:
        The conditions with ``target`` set; unchanged if none of ``order`` is there.

    """
    by_type = {item.type: item for item in conditions}
    best: tuple[int, Condition] | None = None
    for type_ in order:
        item = by_type.get(type_)
        if item is None or type_ == target:
            continue
        rank = _rank(item, negative=type_ in negative)
        if best is None or rank < best[0]:
            best = (rank, item)
    if best is None:
        return list(conditions)
    rank, item = best
    status: ConditionStatus = "False" if rank <= 1 else "True" if rank <= 3 else "Unknown"
    return set_condition(
        conditions, target, status, item.reason, item.message, generation=generation, now=now
    )


class Conditioned(ABC):
    """A run, as far as it says in conditions how its object is doing.

    Attributes:
        conditions: what there is, and what the status is to become.

    """

    conditions: list[Condition]

    @property
    @abstractmethod
    def generation(self) -> int:
        """The generation that the run is about."""

    @abstractmethod
    def now(self) -> datetime:
        """Wall time."""

    def set_condition(self, type_: str, status: ConditionStatus, reason: str, message: str) -> None:
        """Set a condition; Reconciling removes Stalled and the other way round."""
        self.conditions = set_condition(
            self.conditions,
            type_,
            status,
            reason,
            message,
            generation=self.generation,
            now=self.now(),
        )

    def clear(self, *types: str) -> None:
        """Take conditions away."""
        self.conditions = [item for item in self.conditions if item.type not in types]


def _rank(item: Condition, *, negative: bool) -> int:
    if item.status == "Unknown":
        return 4
    if negative:
        return 0 if item.status == "True" else 3
    return 1 if item.status == "False" else 2


def _same_state(old: Condition, new: Condition) -> bool:
    return (old.status, old.reason, old.message) == (new.status, new.reason, new.message)
