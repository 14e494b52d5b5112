"""What the process remembers of each HelmRelease: names and digests, never values or manifests."""

from __future__ import annotations

from dataclasses import dataclass, field

from fluvial.apply import Verified
from fluvial.build.helm.model import ChartDescription
from fluvial.runtime.memory import ObjectMemory

__all__ = ["Memory"]


@dataclass(slots=True)
class Memory(ObjectMemory):
    """One HelmRelease's.

    Attributes:
        artifact: URL and digest of the chart that was described last.
        described: what it said of itself.
        in_place: what was found in place when nothing was left to do; see ``Run.attempt``.
        planned: digest of the plan that was told last.
        known: what was written and compared of its objects, where drift is detected.
        compared: when all of them were, on the monotonic clock.

    """

    artifact: tuple[str, str] = ("", "")
    described: ChartDescription | None = None
    in_place: str = ""
    planned: str = ""
    known: Verified = field(default_factory=Verified)
    compared: float | None = None
