"""Which object a run begins with."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from fluvial.objects import JsonObject, ObjectKey
from kustomize_controller.kustomization.memory import Memories

KEY = ObjectKey("team", "app")


class Clock:
    """Stands still until told."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds


def obj(version: int, uid: str = "u") -> JsonObject:
    return {"metadata": {"name": "app", "resourceVersion": str(version), "uid": uid}}


@pytest.mark.parametrize(
    ("cached", "after", "expected"),
    [
        (obj(8), 0.0, obj(9)),
        (obj(10), 0.0, obj(10)),
        (obj(8), 59.0, obj(9)),
        (obj(8), 61.0, obj(8)),
        (obj(3, "other"), 0.0, obj(3, "other")),
    ],
    ids=["behind", "ahead", "slow", "restored from a backup", "made anew"],
)
def test_the_newer_one_but_not_for_ever(
    cached: JsonObject, after: float, expected: JsonObject
) -> None:
    clock = Clock()
    memories = Memories(lambda key: None, clock)
    memories.of(KEY).latest = (obj(9), 0.0)
    clock.seconds = after

    assert memories.newest(KEY, cached) == expected
