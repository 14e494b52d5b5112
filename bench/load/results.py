"""Figures as values: what a run measured, and the same as JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import msgspec
import orjson

from bench.load.audit import Counted
from bench.load.lag import Lag
from bench.load.placeholders import BadData
from bench.load.sampling import GroupUse
from bench.load.spread import Spread

__all__ = ["FloorResult", "Machine", "PhaseResult", "RunResult", "from_json", "to_json"]


@dataclass(frozen=True, slots=True)
class Machine:
    """Where figures were taken."""

    cores: int
    memory_gib: float
    kernel: str
    python: str
    fluvial: str


@dataclass(frozen=True, slots=True)
class FloorResult:
    """What a bare client needed for a phase's requests.

    Attributes:
        phase: its name.
        seconds: from the first request to the last answer.
        requests: how many there were.
        client_cpu: CPU seconds of the bare client.
        plane_cpu: CPU seconds of the control plane.

    """

    phase: str
    seconds: float
    requests: int
    client_cpu: float
    plane_cpu: float


@dataclass(frozen=True, slots=True)
class PhaseResult:
    """One phase.

    Attributes:
        phase: its name.
        objects: how many objects the phase was about; requests are divided by it.
        seconds: from the first request to the last object's end.
        settled: seconds until the controllers asked nothing more; CPU, memory, requests and lag
            are those of this time.
        latency: seconds from each object's own request to its end, by kind.
        requests: of the controllers.
        reconciles: by process and controller, where metrics tell.
        uses: CPU and memory by process group.
        lag: of event loops, by process.
        failures: what did not come about; a phase with any is no measurement.
        notes: what a reader has to know.

    """

    phase: str
    objects: int
    seconds: float
    settled: float
    latency: dict[str, Spread] = field(default_factory=dict)
    requests: tuple[Counted, ...] = ()
    reconciles: dict[str, float] = field(default_factory=dict)
    uses: tuple[GroupUse, ...] = ()
    lag: dict[str, Lag] = field(default_factory=dict)
    failures: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def requests_of(self, controller: str = "") -> int:
        """All requests of a controller, or of all of them; watches are left out."""
        return sum(
            one.count
            for one in self.requests
            if one.verb != "watch" and controller in {"", one.controller}
        )


@dataclass(frozen=True, slots=True)
class RunResult:
    """A run: one workload, one size, one control plane, one set of controllers."""

    workload: str
    count: int
    plane: str
    plane_version: str
    controllers: str
    concurrency: dict[str, int]
    machine: Machine
    date: str
    phases: tuple[PhaseResult, ...]
    floor: tuple[FloorResult, ...]
    notes: tuple[str, ...] = ()

    def floor_of(self, phase: str) -> FloorResult | None:
        """The floor of a phase."""
        return next((one for one in self.floor if one.phase == phase), None)

    def phase(self, name: str) -> PhaseResult | None:
        """A phase by name."""
        return next((one for one in self.phases if one.phase == name), None)

    @property
    def failed(self) -> bool:
        """Whether something did not come about."""
        return any(one.failures for one in self.phases)


def to_json(runs: Sequence[RunResult]) -> bytes:
    """All figures; what is infinite becomes null."""
    return orjson.dumps([_finite(asdict(run)) for run in runs], option=orjson.OPT_INDENT_2)


def from_json(text: bytes) -> list[RunResult]:
    """What ``to_json`` wrote.

    Raises:
        BadData: it is something else.

    """
    try:
        return msgspec.convert(_numbers(orjson.loads(text)), list[RunResult])
    except (orjson.JSONDecodeError, msgspec.ValidationError) as error:
        raise BadData(f"these are no figures of the harness: {error}") from error


def _numbers(value: Any) -> Any:
    """The reverse of ``_finite``; what was infinite or nothing at all is no number."""
    if isinstance(value, dict):
        return {key: _numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_numbers(item) for item in value]
    return math.nan if value is None else value


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float):
        return round(value, 4) if math.isfinite(value) else None
    return value
