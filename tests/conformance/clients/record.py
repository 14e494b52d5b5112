"""``python -m conformance.clients.record [TOPIC[/NAME]…]``: record from the real control plane.

Outputs are never written by hand: this plays the scripts on the real control plane and replaces the
committed transcripts of those named (all when none is), and drops those of scripts that are no
more. With ``--devcluster`` nothing is recorded: they are played on devcluster and compared.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from conformance.apiserver.answers import read_topic, write_topic
from conformance.clients.compare import RECORDINGS, judge, read_known, recorded
from conformance.clients.plane import Plane, of_devcluster, of_real
from conformance.clients.plays import Play, all_plays
from controlplane.start import ControlPlane
from controlplane.workloads import workloads
from devcluster import DevCluster
from fluvial.log import setup_logging

__all__ = ["main"]

Json = dict[str, Any]
Results = dict[str, list[Json] | Exception]
_AT_ONCE = 3


def main(arguments: list[str] | None = None) -> int:
    """Record or compare; 1 when a script did not run to its end, or something differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="topics or topic/name; all when omitted")
    parser.add_argument("--devcluster", action="store_true", help="compare devcluster instead")
    options = parser.parse_args(arguments)
    setup_logging(level="error")
    names = options.names
    chosen = [p for p in all_plays() if not names or p.id in names or p.topic in names]
    act = _compare if options.devcluster else _record
    return asyncio.run(act(chosen))


async def _record(chosen: list[Play]) -> int:
    async with _real() as (plane, version):
        results = await _play_all(chosen, plane)
    known = {play.id for play in all_plays()}
    for topic in sorted({play.topic for play in chosen}):
        answers = read_topic(topic, RECORDINGS)
        for play in chosen:
            got = results[play.id]
            if play.topic == topic and isinstance(got, list):
                answers[play.name] = got
        kept = {name: got for name, got in answers.items() if f"{topic}/{name}" in known}
        write_topic(topic, kept, server=version, folder=RECORDINGS)
    return _report(results, {}, f"recorded from {version}")


async def _compare(chosen: list[Play]) -> int:
    async with DevCluster() as cluster:
        results = await _play_all(chosen, of_devcluster(cluster))
    known = read_known()
    problems = {
        name: judge(name, recorded(name) or [], got, known)
        for name, got in results.items()
        if isinstance(got, list)
    }
    return _report(results, problems, "played on devcluster")


@asynccontextmanager
async def _real() -> AsyncIterator[tuple[Plane, str]]:
    async with ControlPlane() as plane, workloads(plane):
        yield of_real(plane), plane.version


async def _play_all(chosen: list[Play], plane: Plane) -> Results:
    gate = asyncio.Semaphore(_AT_ONCE)
    results: Results = {}

    async def one(play: Play) -> None:
        async with gate:
            try:
                results[play.id] = await play.run(plane)
            except Exception as error:  # noqa: BLE001 - reported with the others, at the end
                results[play.id] = error

    async with asyncio.TaskGroup() as group:
        for play in chosen:
            group.create_task(one(play), name=play.id)
    return results


def _report(results: Results, problems: dict[str, list[str]], what: str) -> int:
    broken = [f"{name}: {e}" for name, e in results.items() if isinstance(e, Exception)]
    bad = [text for name in sorted(problems) for text in problems[name]]
    for text in [*broken, *bad]:
        sys.stdout.write(f"{text}\n\n")
    differing = sum(1 for found in problems.values() if found)
    sys.stdout.write(
        f"{len(results)} scripts {what}, {len(broken)} broken, {differing} not as expected\n"
    )
    return 1 if broken or bad else 0


if __name__ == "__main__":
    raise SystemExit(main())
