"""What rendering charts costs: time, memory, start and leaks of the engine's worker."""

from __future__ import annotations

__all__: list[str] = []
