"""pytest plugin: ``real_control_plane``, one a session and xdist worker, and its summary line.

Tests that take the fixture are marked ``real``. Without the programs they are skipped with the
reason; with ``FLUVIAL_REQUIRE_CONTROL_PLANE=1``, which CI sets once it has built them, they fail.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from concurrent.futures import Future

import pytest

from controlplane.build import ControlPlaneMissing, find_binaries
from controlplane.start import ControlPlane
from controlplane.workloads import Workloads

__all__ = [
    "REQUIRE",
    "pytest_collection_modifyitems",
    "pytest_runtest_setup",
    "pytest_terminal_summary",
    "real_control_plane",
    "summary_line",
]

REQUIRE = "FLUVIAL_REQUIRE_CONTROL_PLANE"
_FIXTURE = "real_control_plane"
_PROPERTY = "control-plane"
_THREAD_SECONDS = 90.0


@pytest.fixture(scope="session")
def real_control_plane() -> Iterator[ControlPlane]:
    """A running control plane with the stand-in for workloads; usable from any event loop."""
    try:
        binaries = find_binaries()
    except ControlPlaneMissing as error:
        if os.environ.get(REQUIRE) == "1":
            pytest.fail(f"{REQUIRE}=1, and {error}")
        pytest.skip(str(error))
    plane = ControlPlane(binaries=binaries)
    ready: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()
    # A loop of its own: the session outlives the loop of every test.
    thread = threading.Thread(
        target=lambda: asyncio.run(_serve(plane, ready)), name=_FIXTURE, daemon=True
    )
    thread.start()
    loop, stop = ready.result(timeout=_THREAD_SECONDS)
    yield plane
    loop.call_soon_threadsafe(stop.set)
    thread.join(timeout=_THREAD_SECONDS)


async def _serve(
    plane: ControlPlane, ready: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]]
) -> None:
    stop = asyncio.Event()
    try:
        async with plane, asyncio.TaskGroup() as group:
            stand_in = Workloads(url=plane.url, token=plane.admin_token, ssl=plane.ssl_context())
            task = group.create_task(stand_in.run(), name="workloads")
            ready.set_result((asyncio.get_running_loop(), stop))
            await stop.wait()
            task.cancel()
    except Exception as error:
        if ready.done():
            raise
        ready.set_exception(error)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what takes the fixture, before ``-m`` selects."""
    for item in items:
        if _FIXTURE in getattr(item, "fixturenames", ()):
            item.add_marker("real")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tell the process that prints the summary (xdist: another one) which version judges."""
    if _FIXTURE not in getattr(item, "fixturenames", ()):
        return
    try:
        version = find_binaries().version
    except ControlPlaneMissing:
        version = ""
    item.user_properties.append((_PROPERTY, version))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print ``control plane: …`` when any selected test takes the fixture."""
    reports = {
        outcome: [
            report
            for report in terminalreporter.stats.get(outcome, [])
            if isinstance(report, pytest.TestReport) and _version(report) is not None
        ]
        for outcome in ("passed", "failed", "error", "skipped")
    }
    line = summary_line(reports)
    if line:
        terminalreporter.write_line(line)


def summary_line(reports: dict[str, list[pytest.TestReport]]) -> str:
    """``control plane: real v1.2.3, 5 passed[, 1 failed]``, or ``… skipped: reason``, or nothing.

    Args:
        reports: by outcome, those of tests that take the fixture.

    """
    failed = len(reports["failed"]) + len(reports["error"])
    passed = len(reports["passed"])
    ran = [*reports["passed"], *reports["failed"], *reports["error"]]
    if ran:
        version = next((v for report in ran if (v := _version(report))), "missing")
        bad = f", {failed} failed" if failed else ""
        return f"control plane: real {version}, {passed} passed{bad}"
    if reports["skipped"]:
        return f"control plane: skipped: {_reason(reports['skipped'][0])}"
    return ""


def _version(report: pytest.TestReport) -> str | None:
    return next((str(value) for name, value in report.user_properties if name == _PROPERTY), None)


def _reason(report: pytest.TestReport) -> str:
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ")
