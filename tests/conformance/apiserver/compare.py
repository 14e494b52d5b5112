"""``python -m conformance.apiserver.compare [TOPIC[/NAME]…]``: devcluster against the recordings.

Runs every scenario against a fresh ``devcluster`` and prints, per step that differs, the path, what
was recorded and what came. ``known-differences.yaml`` lists the steps that are known to differ, with
a reason per scenario; a listed step that agrees is an error too, so that the list only shrinks.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import ssl
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from conformance.apiserver.answers import read_topic
from conformance.apiserver.record import run_many
from conformance.apiserver.runner import ScenarioBroken, Target
from conformance.apiserver.scenario import Scenario, load_all
from devcluster import DevCluster, Options
from fluvial.log import setup_logging

__all__ = [
    "KNOWN_DIFFERENCES",
    "Difference",
    "Known",
    "Outcome",
    "compare",
    "judge",
    "main",
    "read_known",
    "target_of",
    "write_known",
]

KNOWN_DIFFERENCES = Path(__file__).parent / "known-differences.yaml"
Json = dict[str, Any]
_SHOWN = 12
_CLIP = 300
_HEADER = """\
# Where devcluster does not answer as the real API server does, and why it may. A step that is
# listed and agrees fails the test: `python -m conformance.apiserver.compare --shrink` takes it off.
"""


class _Absent:
    def __repr__(self) -> str:
        return "(absent)"


_ABSENT = _Absent()


@dataclass(frozen=True, slots=True)
class Difference:
    """One value of one step that is not as recorded; ``path`` is as in ``body.data.k``."""

    step: str
    path: str
    recorded: Any
    got: Any

    def __str__(self) -> str:
        where = f"{self.step}: {self.path}"
        return f"{where}\n    recorded: {_clip(self.recorded)}\n    got:      {_clip(self.got)}"


@dataclass(frozen=True, slots=True)
class Known:
    """The steps of one scenario that are known to differ, and why; ``*`` means any, or none."""

    reason: str
    steps: frozenset[str]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one scenario compared; ``problem`` is empty when all is as it should be."""

    scenario: str
    problem: str
    differing: frozenset[str] = frozenset()


_NONE_KNOWN = Known("", frozenset())


def compare(recorded: list[Json], got: list[Json]) -> list[Difference]:
    """All differences between two runs of one scenario, step by step."""
    steps = [answer["step"] for answer in recorded]
    came = [answer["step"] for answer in got]
    if steps != came:
        return [Difference("*", "steps", steps, came)]
    found: list[Difference] = []
    for left, right in zip(recorded, got, strict=True):
        step = left["step"]
        if left.get("status") != right.get("status"):
            found.append(Difference(step, "status", _gist(left), _gist(right)))
        else:
            found += [Difference(step, *rest) for rest in _differences("", left, right)]
    return found


def judge(
    scenario: Scenario, got: list[Json] | ScenarioBroken, known: Mapping[str, Known]
) -> Outcome:
    """Compare one run with its recording, in the light of the known differences."""
    recorded = read_topic(scenario.topic).get(scenario.name)
    if recorded is None:
        return Outcome(scenario.id, "not recorded; python -m conformance.apiserver.record")
    if isinstance(got, ScenarioBroken):
        differences = [Difference("*", "ran to its end", True, str(got))]
    else:
        differences = compare(recorded, got)
    differing = frozenset(difference.step for difference in differences)
    listed = known.get(scenario.id, _NONE_KNOWN)
    shown = [d for d in differences if d.step not in listed.steps]
    lines = [str(difference) for difference in shown[:_SHOWN]]
    if len(shown) > _SHOWN:
        lines.append(f"… and {len(shown) - _SHOWN} more")
    agreeing = sorted(listed.steps - differing)
    lines += [f"{step}: agrees now; take it off {KNOWN_DIFFERENCES.name}" for step in agreeing]
    return Outcome(scenario.id, "\n".join(lines), differing)


def read_known(file: Path = KNOWN_DIFFERENCES) -> dict[str, Known]:
    """Scenario id to what is known to differ.

    Raises:
        ValueError: an entry has no reason or no steps.

    """
    entries = yaml.safe_load(file.read_text()) or {}
    known: dict[str, Known] = {}
    for name, entry in entries.items():
        reason, steps = str(entry.get("reason") or "").strip(), entry.get("steps") or []
        if not reason or not steps:
            raise ValueError(f"{file.name}: {name} needs a reason and steps")
        known[name] = Known(reason, frozenset(map(str, steps)))
    return known


def write_known(known: Mapping[str, Known], file: Path = KNOWN_DIFFERENCES) -> None:
    """Replace the list, sorted."""
    lines = [_HEADER]
    for name, entry in sorted(known.items()):
        steps = [json.dumps(step) for step in sorted(entry.steps)]
        lines += [f"{name}:", f"  reason: {json.dumps(entry.reason)}", "  steps:"]
        lines += [f"    - {step}" for step in steps]
    file.write_text("\n".join(lines) + ("\n" if known else "\n{}\n"))


def target_of(cluster: DevCluster) -> Target:
    """How scenarios reach a ``devcluster``, which has its control endpoint on."""
    context = ssl.create_default_context(cadata=cluster.ca_pem.decode())

    async def compact() -> None:
        url = f"{cluster.control_url}/history/compact"
        async with aiohttp.ClientSession() as session, session.post(url, json={}) as answer:
            answer.raise_for_status()

    return Target(cluster.url, cluster.admin_token, context, compact)


def main(arguments: list[str] | None = None) -> int:
    """Compare; 1 when anything is not as recorded or listed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="topics or topic/name; all when omitted")
    parser.add_argument("--shrink", action="store_true", help="take off the list what agrees")
    parser.add_argument("--all", action="store_true", help="show the known differences, too")
    options = parser.parse_args(arguments)
    setup_logging(level="error")
    known = {} if options.all else read_known()
    names = options.names
    chosen = [s for s in load_all() if not names or s.id in names or s.topic in names]
    results = asyncio.run(_run(chosen))
    outcomes = [judge(scenario, results[scenario.id], known) for scenario in chosen]
    if options.shrink:
        _shrink(outcomes, known)
        outcomes = [judge(s, results[s.id], read_known()) for s in chosen]
    bad = [outcome for outcome in outcomes if outcome.problem]
    for outcome in bad:
        sys.stdout.write(f"== {outcome.scenario}\n{outcome.problem}\n\n")
    differing = sum(1 for outcome in outcomes if outcome.differing)
    sys.stdout.write(
        f"{len(chosen)} scenarios, {len(chosen) - differing} agree with the real server, "
        f"{len(bad)} not as expected\n"
    )
    return 1 if bad else 0


def _shrink(outcomes: list[Outcome], known: dict[str, Known]) -> None:
    """Write the list again without the steps that agree now."""
    left = dict(known)
    for outcome in outcomes:
        if outcome.scenario in known:
            steps = known[outcome.scenario].steps & outcome.differing
            left[outcome.scenario] = Known(known[outcome.scenario].reason, steps)
    write_known({name: entry for name, entry in left.items() if entry.steps})


async def _run(chosen: list[Scenario]) -> dict[str, list[Json] | ScenarioBroken]:
    async with DevCluster(Options(control_port=0)) as cluster:
        return await run_many(chosen, target_of(cluster))


def _gist(answer: Json) -> Json:
    """Of an answer whose status is already wrong, what a reader needs."""
    body = answer.get("body", answer.get("part"))
    said = body.get("message", body.get("kind")) if isinstance(body, dict) else body
    return {"status": answer.get("status"), "said": said}


def _differences(path: str, recorded: Any, got: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(recorded, dict) and isinstance(got, dict):
        for key in sorted({*recorded, *got}, key=str):
            here = f"{path}[{key}]" if "." in key else f"{path}.{key}".removeprefix(".")
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
        yield path, recorded, got


def _clip(value: Any) -> str:
    text = repr(value) if value is _ABSENT else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _CLIP else text[:_CLIP] + "…"


if __name__ == "__main__":
    raise SystemExit(main())
