"""What this version refuses instead of ignoring; see ``fluvial.delivery.unsupported``."""

from __future__ import annotations

__all__ = ["REFUSED_ANNOTATIONS", "REFUSED_FIELDS"]

REFUSED_FIELDS: tuple[str, ...] = ()
REFUSED_ANNOTATIONS = tuple(f"fluvial.dev/{name}" for name in ("prune-limit", "drift", "apply"))
