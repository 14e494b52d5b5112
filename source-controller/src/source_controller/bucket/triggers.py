"""What wakes a Bucket: its own spec, and a request."""

from __future__ import annotations

from fluvial.runtime.triggers import (
    any_of,
    generation_changed,
    is_settled,
    own_key,
    reconcile_requested,
    watch_with,
)
from source_controller.source.kind import Wiring

__all__ = ["connect"]


def connect(wiring: Wiring) -> None:
    """Wire the triggers."""
    watch_with(
        wiring.own,
        any_of(generation_changed, reconcile_requested),
        own_key,
        wiring.queue,
        settled=is_settled,
    )
