"""``python -m bench load``: N objects on a control plane, phase by phase, beside the floor.

    python -m bench load --n 100 --plane devcluster
    python -m bench load --n 100,1000 --plane devcluster,real --report docs/performance.md
    python -m bench load --figures a.json,b.json --report docs/performance.md

Every combination of workload, size, control plane and set of controllers is a run of its own on a
fresh control plane. Figures are those of one machine at one time; compare ratios.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from itertools import product
from pathlib import Path

from bench.load import report
from bench.load.phases import PHASES, Scale
from bench.load.plane import PLANES
from bench.load.results import RunResult, from_json, to_json
from bench.load.run import RunOptions, run
from fluvial.errors import FluvialError
from fluvial.log import setup_logging

__all__ = ["main", "parser", "read_options"]

_LARGE = 500


def main(arguments: Sequence[str]) -> int:
    """Run; 1 if something could not be run or did not come about."""
    given = parser().parse_args(arguments)
    setup_logging(level="error", encoding="console")
    runs: list[RunResult] = []
    try:
        if given.figures:
            runs = [one for file in given.figures for one in from_json(file.read_bytes())]
            _write(given, runs)
            return 0
        for options in read_options(given):
            _say(
                f"{options.workload}, N={options.scale.count}, {options.controllers}"
                f" on {options.plane}"
            )
            runs.append(asyncio.run(run(options, say=lambda line: _say(f"  {line}"))))
            sys.stdout.write(report.text(runs[-1]) + "\n\n")
            sys.stdout.flush()
            _write(given, runs)  # after each: what was measured is kept if a later run fails
    except (FluvialError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return int(any(one.failed for one in runs))


def read_options(given: argparse.Namespace) -> list[RunOptions]:
    """The runs that a command line asks for."""
    return [
        RunOptions(
            workload=workload,
            plane=plane,
            controllers=controllers,
            phases=tuple(given.phases),
            parameters=dict(given.set or ()),
            floor=not given.no_floor,
            definitions=given.definitions,
            scale=Scale(
                count=count,
                burst=given.burst,
                timed=min(given.timed, count),
                drifted=min(given.drifted, given.timed, count),
                interval=given.interval or (30 if count >= _LARGE else 20),
                timeout=given.timeout or max(120.0, 0.6 * count),
                upgrades=given.upgrades,
            ),
        )
        for count, plane, workload, controllers in product(
            given.n, given.plane, given.workload, given.controllers
        )
    ]


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m bench load",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = made.add_argument
    add(
        "--workload",
        type=_words,
        default=["kustomizations"],
        metavar="NAME,...",
        help="files of bench/workloads",
    )
    add("--n", type=_numbers, default=[100], metavar="N,...", help="sizes; default 100")
    add(
        "--plane",
        type=_planes,
        default=["devcluster"],
        metavar="PLANE,...",
        help=" or ".join(PLANES),
    )
    add(
        "--controllers",
        type=_words,
        default=["fluvial"],
        metavar="SET,...",
        help="files of bench/controllers, or paths: peers are measured in the same command",
    )
    add("--phases", type=_phases, default=list(PHASES), metavar="PHASE,...", help=", ".join(PHASES))
    add("--set", action="append", type=_setting, metavar="NAME=VALUE", help="a workload parameter")
    add("--burst", type=int, default=20, help="requests of the bare client in flight")
    add("--timed", type=int, default=100, help="Kustomizations with a short interval in no-op")
    add("--drifted", type=int, default=10, help="those with an object changed by hand")
    add("--interval", type=int, help="seconds, in no-op and drift; default 20, from N=500 on 30")
    add("--timeout", type=float, help="seconds until a phase is given up")
    add("--upgrades", type=int, default=0, help="rounds of upgrades, and the memory after each")
    add("--definitions", type=int, default=0, help="large definitions that nobody uses")
    add("--no-floor", action="store_true", help="leave the floor out")
    add("--json", type=Path, metavar="FILE", help="write all figures")
    add("--report", type=Path, metavar="FILE", help="put the tables between the marks of a page")
    add(
        "--figures",
        type=lambda text: [Path(word) for word in _words(text)],
        metavar="FILE,...",
        help="run nothing, take the figures of former runs' JSON",
    )
    add("--remark", default="", help="stands above the tables")
    return made


def _write(given: argparse.Namespace, runs: Sequence[RunResult]) -> None:
    if given.json:
        given.json.write_bytes(to_json(runs))
    if given.report:
        report.put_into(given.report, report.markdown(runs, remark=given.remark))


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _numbers(text: str) -> list[int]:
    numbers = [int(word) for word in _words(text)]
    if not numbers or min(numbers) < 1:
        raise argparse.ArgumentTypeError("sizes are whole numbers from 1")
    return numbers


def _planes(text: str) -> list[str]:
    return _known(text, PLANES)


def _phases(text: str) -> list[str]:
    return _known(text, PHASES)


def _known(text: str, known: Sequence[str]) -> list[str]:
    words = _words(text)
    strange = [word for word in words if word not in known]
    if strange or not words:
        raise argparse.ArgumentTypeError(f"choose from {', '.join(known)}")
    return words


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError("give NAME=VALUE")
    return name, value


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
