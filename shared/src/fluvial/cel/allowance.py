"""How much of the evaluator's time each namespace may have.

There is one process for all, so an expression that lasts keeps all others waiting. Short ones are
served in turn and cost nothing here. What a job takes beyond a tenth of a second is charged to its
namespace, whose debt goes down by a twentieth of a second each second; while it owes more than two
seconds nothing of it is evaluated. A namespace with nothing but slow expressions has the process
for 5 % of the time, after the first one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fluvial.clock import Clock
from fluvial.workers.errors import WorkerBusy

__all__ = ["Allowance", "NamespaceMeter"]

_FREE: Final = 0.1
_MOST: Final = 2.0
_RATE: Final = 0.05


@dataclass(frozen=True, slots=True)
class _Debt:
    seconds: float
    at: float


class Allowance:
    """Who may be evaluated.

    Args:
        clock: the time.

    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._debts: dict[str, _Debt] = {}

    def of(self, namespace: str) -> NamespaceMeter:
        """For one job of a namespace."""
        return NamespaceMeter(self, namespace)

    def charge(self, namespace: str, seconds: float) -> None:
        """Note that a job of a namespace has taken some seconds."""
        if seconds <= _FREE:
            return
        owed = self._owed(namespace) + seconds - _FREE
        self._debts = {name: debt for name, debt in self._debts.items() if self._owed(name) > 0}
        self._debts[namespace] = _Debt(owed, self._clock.monotonic())

    def wait_of(self, namespace: str) -> float:
        """Seconds until a namespace is evaluated again; 0 for now."""
        return max(0.0, (self._owed(namespace) - _MOST) / _RATE)

    def _owed(self, namespace: str) -> float:
        debt = self._debts.get(namespace)
        if debt is None:
            return 0.0
        return max(0.0, debt.seconds - _RATE * (self._clock.monotonic() - debt.at))


@dataclass(frozen=True, slots=True)
class NamespaceMeter:
    """What a pool of workers asks about a namespace's jobs (``fluvial.workers.pool.Meter``)."""

    allowance: Allowance
    namespace: str

    def admit(self) -> None:
        """Return if a job may begin; raises WorkerBusy if not now."""
        if wait := self.allowance.wait_of(self.namespace):
            raise WorkerBusy(
                f"expressions of namespace {self.namespace} have taken long:"
                f" they are evaluated again in {wait:.0f}s"
            )

    def charge(self, seconds: float) -> None:
        """Note that a job has taken so long."""
        self.allowance.charge(self.namespace, seconds)
