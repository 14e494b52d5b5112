"""Transcripts against the recordings of the real control plane, and the differences accepted.

``known-differences.yaml`` is a list of entries with a ``reason``, ``lines`` (patterns) and ``steps``
(``topic/script: step``). In these steps the lines with a match of one of the patterns are not
compared. A listed step that agrees as it stands is an error, as is a pattern without any match: the
list only shrinks.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from conformance.apiserver.answers import read_topic

__all__ = [
    "KNOWN_DIFFERENCES",
    "RECORDINGS",
    "Known",
    "differences",
    "judge",
    "read_known",
    "recorded",
    "shown",
]

HERE = Path(__file__).parent
RECORDINGS = HERE / "recordings"
KNOWN_DIFFERENCES = HERE / "known-differences.yaml"
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Known:
    """Lines that may differ in some steps, and why; ``steps`` are as in ``topic/script: step``."""

    reason: str
    lines: tuple[re.Pattern[str], ...]
    steps: frozenset[str]


def read_known(file: Path = KNOWN_DIFFERENCES) -> list[Known]:
    """The accepted differences.

    Raises:
        ValueError: an entry has no reason, no lines or no steps.

    """
    known: list[Known] = []
    for entry in yaml.safe_load(file.read_text()) or []:
        reason = str(entry.get("reason") or "").strip()
        lines, steps = entry.get("lines") or [], entry.get("steps") or []
        if not (reason and lines and steps):
            raise ValueError(f"{file.name}: an entry needs a reason, lines and steps: {entry}")
        patterns = tuple(re.compile(line) for line in lines)
        known.append(Known(reason, patterns, frozenset(steps)))
    return known


def recorded(name: str) -> list[Json] | None:
    """What the real control plane made of ``topic/script``."""
    topic, _, script = name.partition("/")
    return read_topic(topic, RECORDINGS).get(script)


def shown(answer: Json) -> list[str]:
    """An answer as lines of text."""
    rest = {key: value for key, value in answer.items() if key not in ("step", "out", "err")}
    lines = [] if rest in ({}, {"code": 0}) else json.dumps(rest, indent=1).splitlines()
    return [*lines, *answer.get("out", ()), *(f"stderr: {line}" for line in answer.get("err", ()))]


def differences(name: str, wanted: list[Json], got: list[Json]) -> list[str]:
    """What differs between two transcripts of one script, as texts for a reader."""
    return judge(name, wanted, got, [])


def judge(name: str, wanted: list[Json], got: list[Json], known: Iterable[Known]) -> list[str]:
    """What is wrong with a transcript in the light of the known differences.

    Args:
        name: ``topic/script``.
        wanted: as recorded.
        got: as played.
        known: what may differ, in any script.

    """
    steps = [answer["step"] for answer in wanted]
    came = [answer["step"] for answer in got]
    if steps != came:
        return [f"{name}: steps {came}, recorded were {steps}"]
    problems: list[str] = []
    for left, right in zip(wanted, got, strict=True):
        step = f"{name}: {left['step']}"
        listed = [entry for entry in known if step in entry.steps]
        problems += _judge_step(step, shown(left), shown(right), listed)
    return problems


def _judge_step(step: str, wanted: list[str], got: list[str], listed: list[Known]) -> list[str]:
    diff = _diff(wanted, got, [p for entry in listed for p in entry.lines])
    problems = [f"== {step}\n{diff}"] if diff else []
    for entry in listed:
        others = [p for other in listed if other is not entry for p in other.lines]
        if not _diff(wanted, got, others):
            problems.append(f"{step}: agrees now; take it off {KNOWN_DIFFERENCES.name}")
        unused = [p.pattern for p in entry.lines if not any(map(p.search, [*wanted, *got]))]
        if unused and len(entry.steps) == 1:
            problems.append(f"{step}: no line matches {unused}")
    return problems


def _diff(wanted: list[str], got: list[str], left_out: list[re.Pattern[str]]) -> str:
    def kept(lines: list[str]) -> list[str]:
        return [line for line in lines if not any(p.search(line) for p in left_out)]

    return "\n".join(
        difflib.unified_diff(kept(wanted), kept(got), "recorded", "got", n=1, lineterm="")
    )
