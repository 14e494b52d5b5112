"""What wakes a HelmRepository: its own spec and a request; one of a registry, its leftovers."""

from __future__ import annotations

from fluvial.objects import JsonObject
from fluvial.runtime.triggers import (
    all_of,
    any_of,
    generation_changed,
    is_settled,
    own_key,
    reconcile_requested,
    watch_with,
)
from source_controller.helmrepository.static import is_clean, is_static
from source_controller.source.kind import Wiring

__all__ = ["connect"]


def connect(wiring: Wiring) -> None:
    """Wire the triggers."""
    asked = any_of(generation_changed, reconcile_requested)
    watch_with(wiring.own, all_of(_has_work, asked), own_key, wiring.queue, settled=is_settled)


def _has_work(old: JsonObject | None, new: JsonObject | None) -> bool:
    obj = new or old or {}
    return not (is_static(obj) and is_clean(obj))
