"""What Go's own libraries answered (``vectors/``; each file says which)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

__all__ = ["vectors"]


def vectors(name: str) -> list[Any]:
    """The recorded cases of one topic."""
    path = Path(__file__).parent / "vectors" / f"{name}.json"
    cases: list[Any] = json.loads(path.read_text(encoding="utf-8"))["cases"]
    return cases
