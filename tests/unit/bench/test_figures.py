"""Percentiles, process groups and metrics."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
from bench.load.lag import Told, lag_between, parse
from bench.load.sampling import Sampler, cpu_seconds, group_of, memory_mib
from bench.load.spread import Spread, percentile
from prometheus_client import generate_latest

from fluvial.runtime.metrics import Metrics


@pytest.mark.parametrize(
    ("share", "expected"), [(0.0, 1), (0.5, 10), (0.95, 19), (0.951, 20), (1.0, 20)]
)
def test_a_percentile_is_the_nearest_rank(share: float, expected: float) -> None:
    assert percentile(list(range(1, 21)), share) == expected


def test_a_spread_sorts_and_may_be_empty() -> None:
    assert Spread.of([3, 1, 2]) == Spread(3, 2, 3, 3)
    assert Spread.of([]).count == 0
    assert math.isnan(Spread.of([]).p50)


def proc_entry(proc: Path, pid: int, *, children: str = "", pss: int = 0, ticks: str = "") -> None:
    folder = proc / str(pid) / "task" / str(pid)
    folder.mkdir(parents=True)
    (folder / "children").write_text(children)
    (proc / str(pid) / "smaps_rollup").write_text(f"Rss: 9 kB\nPss: {pss} kB\nPss_Dirty: 1 kB\n")
    (proc / str(pid) / "stat").write_text(f"{pid} (a) b) S 1 1 1 0 -1 0 0 0 0 0 {ticks}")


def test_a_group_is_a_process_and_all_below_it(tmp_path: Path) -> None:
    proc_entry(tmp_path, 1, children="2 3 ")
    proc_entry(tmp_path, 2)
    proc_entry(tmp_path, 3, children="4")

    # 4 has ended since its parent was read.
    assert set(group_of(1, tmp_path)) == {1, 2, 3}
    assert group_of(9, tmp_path) == ()


def test_memory_is_the_sum_of_proportional_set_sizes(tmp_path: Path) -> None:
    proc_entry(tmp_path, 1, pss=1024)
    proc_entry(tmp_path, 2, pss=512)

    assert memory_mib((1, 2, 9), tmp_path) == (1.5, True)


def test_resident_memory_stands_in_where_the_kernel_tells_no_pss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proc_entry(tmp_path, 1)
    (tmp_path / "1" / "statm").write_text("900 512 7 1 0 1 0\n")
    read = Path.read_text

    def refuse(self: Path, encoding: str | None = None) -> str:
        if self.name == "smaps_rollup":
            raise PermissionError
        return read(self, encoding)

    monkeypatch.setattr(Path, "read_text", refuse)

    mib, exact = memory_mib((1,), tmp_path)

    assert mib == 512 * os.sysconf("SC_PAGE_SIZE") / 2**20
    assert not exact


def test_cpu_time_counts_children_that_have_ended(tmp_path: Path) -> None:
    per_second = os.sysconf("SC_CLK_TCK")
    # user, system, and the same of children that were waited for
    proc_entry(tmp_path, 1, ticks=f"{per_second} {per_second} {2 * per_second} {per_second} 20 0")

    assert cpu_seconds((1, 9), tmp_path) == 5.0


async def test_a_sampler_sees_a_process_and_its_children() -> None:
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'])"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as process:  # noqa: ASYNC220
        while len(group_of(process.pid)) < 2:
            assert process.poll() is None
        async with Sampler({"child": process.pid}, period=0.01) as sampler:
            (use,) = await sampler.uses()
        process.communicate(b"\n")

    assert use.name == "child"
    assert use.peak_mib > 0
    assert use.cpu_seconds >= 0


def test_lag_is_the_difference_of_two_readings() -> None:
    metrics = Metrics()
    for _ in range(3):
        metrics.loop_lag.observe(3.0)
    before = parse(generate_latest(metrics.registry).decode())
    for seconds in [0.0004] * 97 + [0.004, 0.04, 0.04]:
        metrics.loop_lag.observe(seconds)

    lag = lag_between(before, parse(generate_latest(metrics.registry).decode()))

    assert lag is not None
    assert lag.samples == 100
    assert lag.p50_ms == 1
    assert lag.p99_ms == lag.max_ms == 50
    assert lag.late == pytest.approx(0.02)


def test_controllers_that_tell_no_lag_have_none() -> None:
    assert lag_between(Told(), Told()) is None
    assert parse("").lag == {}


def test_reconciles_are_summed_over_their_results() -> None:
    metrics = Metrics()
    metrics.reconciled("kustomization", "success", 0.1)
    metrics.reconciled("kustomization", "error", 0.1)

    told = parse(generate_latest(metrics.registry).decode())

    assert told.reconciles == {"kustomization": 2.0}
