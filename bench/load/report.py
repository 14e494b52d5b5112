"""Figures for people: text for the terminal, Markdown tables for ``docs/performance.md``."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from bench.load.audit import Counted
from bench.load.lag import Lag
from bench.load.placeholders import BadData
from bench.load.results import FloorResult, PhaseResult, RunResult
from bench.load.sampling import GroupUse

__all__ = ["BEGIN", "END", "markdown", "put_into", "text"]

BEGIN = "<!-- figures: written by `python -m bench load --report` -->"
END = "<!-- end of figures -->"

_OWNERS = ("Kustomization", "HelmRelease", "Deployment")
_RUN = ("workload", "controllers", "control plane", "N", "phase")


def text(run: RunResult) -> str:
    """Everything of one run."""
    lines = [
        f"{run.workload}, N={run.count}, {run.controllers} on {run.plane} {run.plane_version}",
        f"  {_machine(run)}",
        *(f"  note: {note}" for note in run.notes),
    ]
    for phase in run.phases:
        lines += _phase_text(phase, run.floor_of(phase.phase))
    return "\n".join(lines)


def _phase_text(phase: PhaseResult, floor: FloorResult | None) -> list[str]:
    lines = ["", f"{phase.phase}: {phase.seconds:.2f} s for {phase.objects}"]
    lines += [f"  FAILED: {failure}" for failure in phase.failures]
    lines += [f"  note: {note}" for note in phase.notes]
    if floor is not None:
        lines.append(
            f"  floor {floor.seconds:.2f} s ({floor.requests} requests, client"
            f" {floor.client_cpu:.1f} s CPU, control plane {floor.plane_cpu:.1f} s CPU),"
            f" ratio {_ratio(phase, floor)}"
        )
    lines += [
        f"  {kind}: p50 {one.p50:.2f} s, p95 {one.p95:.2f} s, max {one.max:.2f} s"
        for kind, one in phase.latency.items()
        if one.count
    ]
    if phase.settled >= 0.05:
        lines.append(f"  quiet {phase.settled:.1f} s later")
    lines += [
        f"  {use.name}: {use.cpu_seconds:.2f} s CPU, peak {use.peak_mib:.0f} MiB"
        f"{'' if use.exact else ' (resident)'}"
        for use in phase.uses
    ]
    lines += [
        f"  {name}: event loop late p50 <= {one.p50_ms:g} ms, p99 <= {one.p99_ms:g} ms,"
        f" max <= {one.max_ms:g} ms, {one.late:.1%} of {one.samples} over 5 ms"
        for name, one in phase.lag.items()
    ]
    lines += [f"  {name}: {total:.0f} reconciles" for name, total in phase.reconciles.items()]
    return lines + [_request_text(one, phase.objects) for one in phase.requests]


def _request_text(one: Counted, objects: int) -> str:
    who = " as the tenant" if one.tenant else ""
    failed = f", {one.failed} refused" if one.failed else ""
    each = f"{one.count / objects:.2f} an object" if objects else ""
    return f"    {one.controller}: {one.verb} {one.resource}{who}: {one.count} ({each}{failed})"


def markdown(runs: Sequence[RunResult], *, remark: str = "") -> str:
    """The tables of several runs; ``remark`` stands above them."""
    if not runs:
        return remark
    lines = [f"Taken {runs[-1].date[:10]} on {_machine(runs[0])}.", *_settings(runs)]
    if remark:
        lines += ["", remark]
    lines += ["", *_times(runs)]
    lines += ["", *_costs(runs)]
    lines += ["", *_requests(runs)]
    lines += [""] + [f"- {note}" for note in _notes(runs)]
    return "\n".join(lines).rstrip() + "\n"


def _settings(runs: Iterable[RunResult]) -> list[str]:
    """Versions of the control planes and the concurrency of the controllers."""
    planes = sorted({f"{run.plane} {run.plane_version}" for run in runs})
    limits = sorted(
        {
            f"{run.controllers} reconciles {limit} {kind} at once"
            for run in runs
            for kind, limit in run.concurrency.items()
        }
    )
    return [f"Control planes: {', '.join(planes)}. Concurrency: {', '.join(limits)}."]


def _times(runs: Iterable[RunResult]) -> list[str]:
    lines = _head(
        (*_RUN, "s", "floor, s", "ratio", "source p50 / p95, s", "Kustomization p50 / p95, s"),
        numbers=5,
    )
    for run in runs:
        for phase in run.phases:
            floor = run.floor_of(phase.phase)
            owner = next((phase.latency[kind] for kind in _OWNERS if kind in phase.latency), None)
            sources = [one for kind, one in phase.latency.items() if kind not in _OWNERS]
            source = sources[0] if sources else None
            cells = [
                *_run_cells(run),
                phase.phase + (" **failed**" if phase.failures else ""),
                f"{phase.seconds:.1f}",
                f"{floor.seconds:.1f}" if floor else "–",  # noqa: RUF001  # a dash in a table
                _ratio(phase, floor),
                f"{source.p50:.1f} / {source.p95:.1f}" if source and source.count else "",
                f"{owner.p50:.1f} / {owner.p95:.1f}" if owner and owner.count else "",
            ]
            lines.append(_row(cells))
    return lines


def _costs(runs: Sequence[RunResult]) -> list[str]:
    """CPU and memory of every process group, and event-loop lag where there is one."""
    groups = dict.fromkeys(use.name for run in runs for one in run.phases for use in one.uses)
    loops = dict.fromkeys(name for run in runs for one in run.phases for name in one.lag)
    names = [f"{name}: CPU s / peak MiB" for name in groups]
    names += [f"{name}: loop p99 ms / over 5 ms" for name in loops]
    lines = _head((*_RUN, *names), numbers=len(names))
    for run in runs:
        for phase in run.phases:
            uses = {use.name: use for use in phase.uses}
            cells = [*_run_cells(run), phase.phase]
            cells += [_use(uses[name]) if name in uses else "" for name in groups]
            cells += [_lag(phase.lag[name]) if name in phase.lag else "" for name in loops]
            lines.append(_row(cells))
    return lines


def _use(use: GroupUse) -> str:
    return f"{use.cpu_seconds:.1f} / {use.peak_mib:.0f}{'' if use.exact else ' (resident)'}"


def _lag(lag: Lag) -> str:
    return f"<= {lag.p99_ms:g} / {lag.late:.0%}"


def _requests(runs: Iterable[RunResult]) -> list[str]:
    """Requests an object, of the largest run of each sort."""
    runs = list(runs)
    largest = {
        _sort(run): max(one.count for one in runs if _sort(one) == _sort(run)) for run in runs
    }
    runs = [run for run in runs if run.count == largest[_sort(run)]]
    what = "requests an object, by verb and resource (T: as the tenant)"
    lines = _head((*_RUN, "controller", what, "sum"), numbers=1)
    for run in runs:
        for phase in run.phases:
            for controller in sorted({one.controller for one in phase.requests}):
                asked = [
                    one
                    for one in phase.requests
                    if one.controller == controller and one.verb != "watch"
                ]
                shown = ", ".join(
                    f"{one.count / phase.objects:.2f} {one.verb} {one.resource}"
                    f"{' T' if one.tenant else ''}"
                    for one in sorted(asked, key=lambda one: -one.count)
                    if one.count / phase.objects >= 0.01
                )
                total = phase.requests_of(controller) / phase.objects
                cells = [*_run_cells(run), phase.phase, controller]
                lines.append(_row([*cells, shown, f"{total:.2f}"]))
    return lines


def _notes(runs: Iterable[RunResult]) -> list[str]:
    notes: dict[str, None] = {}
    for run in runs:
        notes |= dict.fromkeys(run.notes)
        for phase in run.phases:
            notes |= dict.fromkeys(f"{phase.phase}: {note}" for note in phase.notes)
            notes |= dict.fromkeys(
                f"{phase.phase} failed on {run.plane}, N={run.count}: {failure}"
                for failure in phase.failures
            )
    return list(notes)


def _sort(run: RunResult) -> tuple[str, str, str]:
    return run.workload, run.controllers, run.plane


def _run_cells(run: RunResult) -> list[str]:
    return [*_sort(run), str(run.count)]


def _ratio(phase: PhaseResult, floor: FloorResult | None) -> str:
    if floor is None or not floor.seconds or phase.failures:
        return ""
    ratio = phase.seconds / floor.seconds
    return f"{ratio:.1f}" if math.isfinite(ratio) else ""


def _machine(run: RunResult) -> str:
    one = run.machine
    return (
        f"{one.cores} cores, {one.memory_gib:g} GiB, Linux {one.kernel}, Python {one.python},"
        f" Fluvial {one.fluvial}"
    )


def _head(names: Sequence[str], *, numbers: int) -> list[str]:
    """The head of a table whose last columns are numbers."""
    marks = ["---"] * (len(names) - numbers) + ["--:"] * numbers
    return [_row(names), f"|{'|'.join(marks)}|"]


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def put_into(file: Path, figures: str) -> None:
    """Replace what stands between the two marks of a page.

    Raises:
        BadData: the page lacks the marks.

    """
    page = file.read_text(encoding="utf-8")
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise BadData(f"{file} lacks the marks between which figures are put: {BEGIN} and {END}")
    file.write_text(f"{before}{BEGIN}\n{figures}{END}{after}", encoding="utf-8")
