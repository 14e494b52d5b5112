"""Fields that are part of the API and not done."""

from __future__ import annotations

__all__ = ["REFUSED"]

REFUSED = ("spec.accessFrom",)
"""Flux has never done it: whoever relies on it should hear so."""
