"""What this version refuses instead of ignoring; see ``fluvial.delivery.unsupported``."""

from __future__ import annotations

__all__ = ["REFUSED_ANNOTATIONS", "REFUSED_FIELDS"]

REFUSED_FIELDS = ("spec.decryption", "spec.ignore")
REFUSED_ANNOTATIONS = tuple(
    f"fluvial.dev/{name}" for name in ("mode", "approve", "prune-limit", "drift", "apply")
)
