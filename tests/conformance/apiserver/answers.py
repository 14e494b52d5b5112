"""The committed answers of the real API server: one JSON file a topic."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

__all__ = ["RECORDINGS", "read_topic", "write_topic"]

RECORDINGS = Path(__file__).parent / "recordings"
Json = dict[str, Any]


def read_topic(topic: str, folder: Path = RECORDINGS) -> dict[str, list[Json]]:
    """Scenario name to answers; empty when nothing is recorded."""
    file = folder / f"{topic}.json"
    if not file.exists():
        return {}
    answers: dict[str, list[Json]] = json.loads(file.read_text())["scenarios"]
    return answers


def write_topic(
    topic: str, answers: dict[str, list[Json]], *, server: str, folder: Path = RECORDINGS
) -> None:
    """Replace a topic's recordings; ``server`` is the version that gave them."""
    document = {"server": server, "scenarios": answers}
    text = json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False)
    (folder / f"{topic}.json").write_text(text + "\n")
