"""``python -m conformance.apiserver.compare [TOPIC[/NAME]…]``: devcluster against the recordings.

Runs every scenario against a fresh ``devcluster`` and prints, per scenario that differs, the path,
what was recorded and what came. ``known-differences.yaml`` lists scenarios that are known to differ,
each with its reason; a listed one that agrees is an error too, so that the list only shrinks.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import ssl
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from conformance.apiserver.record import run_many
from conformance.apiserver.recordings import read_topic
from conformance.apiserver.runner import ScenarioBroken, Target
from conformance.apiserver.scenario import Scenario, load_all
from devcluster import DevCluster

__all__ = [
    "KNOWN_DIFFERENCES",
    "Difference",
    "Outcome",
    "compare",
    "judge",
    "main",
    "read_known",
    "target_of",
]

KNOWN_DIFFERENCES = Path(__file__).parent / "known-differences.yaml"
Json = dict[str, Any]
_SHOWN = 12
_CLIP = 300


class _Absent:
    def __repr__(self) -> str:
        return "(absent)"


_ABSENT = _Absent()


@dataclass(frozen=True, slots=True)
class Difference:
    """One value that is not as recorded; ``path`` is readable, as in ``create.body.data.k``."""

    path: str
    recorded: Any
    got: Any

    def __str__(self) -> str:
        return f"{self.path}\n    recorded: {_clip(self.recorded)}\n    got:      {_clip(self.got)}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one scenario compared; ``problem`` is empty when all is as it should be."""

    scenario: str
    problem: str


def compare(recorded: list[Json], got: list[Json]) -> list[Difference]:
    """All differences between two runs of one scenario, step by step."""
    steps = [answer["step"] for answer in recorded]
    came = [answer["step"] for answer in got]
    if steps != came:
        return [Difference("steps", steps, came)]
    return [
        difference
        for left, right in zip(recorded, got, strict=True)
        for difference in _differences(left["step"], left, right)
    ]


def judge(
    scenario: Scenario, got: list[Json] | ScenarioBroken, known: dict[str, str]
) -> Outcome:
    """Compare one run with its recording, in the light of the known differences."""
    recorded = read_topic(scenario.topic).get(scenario.name)
    if recorded is None:
        return Outcome(scenario.id, "not recorded: run `make record`")
    if isinstance(got, ScenarioBroken):
        text = str(got)
    else:
        differences = compare(recorded, got)
        text = "\n".join(str(difference) for difference in differences[:_SHOWN])
        if len(differences) > _SHOWN:
            text += f"\n… and {len(differences) - _SHOWN} more"
    if scenario.id in known:
        reason = known[scenario.id]
        agreed = f"agrees now; take it off {KNOWN_DIFFERENCES.name} (it was there for: {reason})"
        return Outcome(scenario.id, "" if text else agreed)
    return Outcome(scenario.id, text)


def read_known(file: Path = KNOWN_DIFFERENCES) -> dict[str, str]:
    """Scenario id to the reason why it differs.

    Raises:
        ValueError: an entry has no reason.

    """
    entries: dict[str, str] = yaml.safe_load(file.read_text()) or {}
    empty = [name for name, reason in entries.items() if not str(reason or "").strip()]
    if empty:
        raise ValueError(f"{file.name}: no reason for {', '.join(empty)}")
    return entries


def target_of(cluster: DevCluster) -> Target:
    """How scenarios reach a ``devcluster``."""
    context = ssl.create_default_context(cadata=cluster.ca_pem.decode())
    return Target(url=cluster.url, token=cluster.admin_token, ssl=context)


def main(arguments: list[str] | None = None) -> int:
    """Compare; 1 when anything is not as recorded or listed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="topics or topic/name; all when omitted")
    parser.add_argument("--ignore-known", action="store_true", help="show the known ones, too")
    options = parser.parse_args(arguments)
    known = {} if options.ignore_known else read_known()
    names = options.names
    chosen = [s for s in load_all() if not names or s.id in names or s.topic in names]
    results = asyncio.run(_run(chosen))
    outcomes = [judge(scenario, results[scenario.id], known) for scenario in chosen]
    bad = [outcome for outcome in outcomes if outcome.problem]
    for outcome in bad:
        sys.stdout.write(f"== {outcome.scenario}\n{outcome.problem}\n\n")
    listed = sum(1 for scenario in chosen if scenario.id in known)
    sys.stdout.write(f"{len(chosen) - len(bad)} of {len(chosen)} as expected ({listed} known)\n")
    return 1 if bad else 0


async def _run(chosen: list[Scenario]) -> dict[str, list[Json] | ScenarioBroken]:
    async with DevCluster() as cluster:
        return await run_many(chosen, target_of(cluster))


def _differences(path: str, recorded: Any, got: Any) -> Iterator[Difference]:
    if isinstance(recorded, dict) and isinstance(got, dict):
        for key in sorted({*recorded, *got}, key=str):
            here = f"{path}.{key}" if "." not in str(key) else f"{path}[{key}]"
            yield from _differences(here, recorded.get(key, _ABSENT), got.get(key, _ABSENT))
        return
    if isinstance(recorded, list) and isinstance(got, list):
        for index in range(max(len(recorded), len(got))):
            left = recorded[index] if index < len(recorded) else _ABSENT
            right = got[index] if index < len(got) else _ABSENT
            yield from _differences(f"{path}[{index}]", left, right)
        return
    # 1 and True, or 1 and 1.0, are equal in Python and different in JSON.
    if type(recorded) is not type(got) or recorded != got:
        yield Difference(path, recorded, got)


def _clip(value: Any) -> str:
    text = repr(value) if value is _ABSENT else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _CLIP else text[:_CLIP] + "…"


if __name__ == "__main__":
    raise SystemExit(main())
