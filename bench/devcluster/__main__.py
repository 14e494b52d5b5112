"""``make bench-devcluster``: what devcluster costs, beside what it should cost.

It starts devcluster as a process of its own and asks it over TLS from this one, with RBAC on. The
table says what was measured; a target that is missed is shown and is no error. Take the figures on
an idle machine: the server has one core, this client the other.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from pathlib import Path

from bench.devcluster.figures import table
from bench.devcluster.measure import Sizes, measure_server, measure_starts
from bench.devcluster.process import running

__all__ = ["main"]


def main(argv: list[str] | None = None) -> int:
    """Measure and print; 1 when something could not be measured."""
    parser = argparse.ArgumentParser(prog="python -m bench.devcluster", description=__doc__)
    usual = Sizes()
    parser.add_argument("--stored", type=int, default=usual.stored, help="Deployments")
    parser.add_argument("--applies", type=int, default=usual.applies)
    parser.add_argument("--starts", type=int, default=usual.starts)
    given = parser.parse_args(argv)
    sizes = Sizes(stored=given.stored, applies=given.applies, starts=given.starts)
    try:
        with tempfile.TemporaryDirectory(prefix="bench-devcluster-") as name:
            folder = Path(name)
            figures = measure_starts(folder, sizes)
            with running(folder) as server:
                figures += measure_server(server, sizes, _say)
    except OSError as error:
        _say(f"not measured: {error}")
        return 1
    print(f"{_machine()}\n\n{table(figures)}")
    return 0


def _machine() -> str:
    load = os.getloadavg()[0]
    return f"Python {platform.python_version()}, {os.cpu_count()} cores, load {load:.1f} at the end"


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
