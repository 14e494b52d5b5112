"""Everything that is played on both control planes: kubectl's scripts and the other clients."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from conformance.clients import asyncio_dynamic, asyncio_typed, helm, kubectl
from conformance.clients.plane import Plane
from conformance.clients.script import load_all

__all__ = ["Play", "all_plays"]

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Play:
    """A use of a client: ``run`` returns its transcript, one answer a step."""

    topic: str
    name: str
    run: Callable[[Plane], Awaitable[list[Json]]]

    @property
    def id(self) -> str:
        """``topic/name``."""
        return f"{self.topic}/{self.name}"


def all_plays() -> list[Play]:
    """Every play; those of kubectl are sorted by id."""
    scripts = [Play(s.topic, s.name, partial(kubectl.play, s)) for s in load_all()]
    others = [
        Play("asyncio", "typed", asyncio_typed.play),
        Play("asyncio", "dynamic", asyncio_dynamic.play),
        Play("helm", "life", helm.play),
    ]
    return [*scripts, *others]
