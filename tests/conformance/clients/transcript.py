"""The answers of a client that is driven by Python, step by step."""

from __future__ import annotations

import json
from typing import Any

from conformance.clients.text import Texts

__all__ = ["Transcript", "plain"]

Json = dict[str, Any]
# What one manager wrote at a time is one entry; several in one second come in any order.
_MANAGED = "managedFields"


class Transcript:
    """Collects answers as normalised JSON; ``answers`` has them, one a step."""

    def __init__(self, texts: Texts) -> None:
        self.answers: list[Json] = []
        self._texts = texts

    def record(self, step: str, value: Any) -> None:
        """Add the answer of one step."""
        text = json.dumps(plain(value), indent=1, sort_keys=True)
        self.answers.append({"step": step, "out": self._texts.lines(text)})


def plain(value: Any) -> Any:
    """``value`` without nulls, with the entries of managedFields in the order of their managers."""
    if isinstance(value, dict):
        kept = {key: plain(item) for key, item in value.items() if item is not None}
        if isinstance(kept.get(_MANAGED), list):
            kept[_MANAGED] = sorted(kept[_MANAGED], key=lambda e: (e["operation"], e["manager"]))
        return kept
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value
