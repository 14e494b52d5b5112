"""pytest plugin: ``real_control_plane``, one a session and xdist worker, and its summary line.

Tests that take the fixture are marked ``real``. Without the programs they are skipped with the
reason; with ``FLUVIAL_REQUIRE_CONTROL_PLANE=1``, which CI sets once it has built them, they fail.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from controlplane.build import Binaries, ControlPlaneMissing, find_binaries
from controlplane.start import ControlPlane
from controlplane.threads import in_thread
from controlplane.workloads import workloads

__all__ = [
    "REQUIRE",
    "control_plane_binaries",
    "pytest_collection_modifyitems",
    "pytest_terminal_summary",
    "real_control_plane",
    "register",
    "summary_line",
]

REQUIRE = "FLUVIAL_REQUIRE_CONTROL_PLANE"
_FIXTURE = "control_plane_binaries"
_MARKER = "real"


def register(config: pytest.Config) -> None:
    """Make this module a plugin of a run whose root conftest does not name it."""
    module = sys.modules[__name__]
    if not config.pluginmanager.is_registered(module):
        config.pluginmanager.register(module)


@pytest.fixture(scope="session")
def control_plane_binaries() -> Binaries:
    """The programs, or a skip; a failure where CI must have them."""
    try:
        return find_binaries()
    except ControlPlaneMissing as error:
        if os.environ.get(REQUIRE) == "1":
            pytest.fail(f"{REQUIRE}=1, and {error}")
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def real_control_plane(control_plane_binaries: Binaries) -> Iterator[ControlPlane]:
    """A running control plane with the stand-in for workloads; usable from any event loop."""
    make = ControlPlane(binaries=control_plane_binaries)
    with in_thread(lambda: _with_workloads(make)) as plane:
        yield plane


@asynccontextmanager
async def _with_workloads(plane: ControlPlane) -> AsyncIterator[ControlPlane]:
    async with plane, workloads(plane):
        yield plane


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what takes the fixture, before ``-m`` selects."""
    for item in items:
        if _FIXTURE in getattr(item, "fixturenames", ()):
            item.add_marker(_MARKER)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print ``control plane: …`` when any selected test is marked ``real``."""
    reports = {
        outcome: [
            report
            for report in terminalreporter.stats.get(outcome, [])
            if isinstance(report, pytest.TestReport) and _MARKER in report.keywords
        ]
        for outcome in ("passed", "failed", "error", "skipped")
    }
    try:
        version = find_binaries().version
    except ControlPlaneMissing:
        version = "missing"
    line = summary_line(reports, version=version)
    if line:
        terminalreporter.write_line(line)


def summary_line(reports: dict[str, list[pytest.TestReport]], *, version: str) -> str:
    """``control plane: real v1.2.3, 5 passed[, 1 failed]``, or ``… skipped: reason``, or nothing.

    Args:
        reports: by outcome, those of tests that are marked ``real``.
        version: of the API server.

    """
    failed = len(reports["failed"]) + len(reports["error"])
    passed = len(reports["passed"])
    if passed or failed:
        bad = f", {failed} failed" if failed else ""
        return f"control plane: real {version}, {passed} passed{bad}"
    if reports["skipped"]:
        return f"control plane: skipped: {_reason(reports['skipped'][0])}"
    return ""


def _reason(report: pytest.TestReport) -> str:
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ")
