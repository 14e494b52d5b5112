"""Fields that are part of the API and not done yet."""

from __future__ import annotations

__all__ = ["REFUSED"]

REFUSED: tuple[str, ...] = ()
