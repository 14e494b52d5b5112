"""The line that CI prints about the control plane."""

from __future__ import annotations

from typing import Literal

import pytest

from controlplane.fixtures import summary_line


def _report(outcome: Literal["passed", "failed", "skipped"], reason: str = "") -> pytest.TestReport:
    return pytest.TestReport(
        nodeid="t",
        location=("t.py", 1, "t"),
        keywords={},
        outcome=outcome,
        longrepr=("t.py", 1, f"Skipped: {reason}") if reason else None,
        when="call",
    )


def _by_outcome(*reports: pytest.TestReport) -> dict[str, list[pytest.TestReport]]:
    return {
        name: [report for report in reports if report.outcome == name]
        for name in ("passed", "failed", "error", "skipped")
    }


def test_passed_and_failed_are_counted() -> None:
    reports = _by_outcome(_report("passed"), _report("passed"), _report("failed"))

    assert (
        summary_line(reports, version="v1.37.2")
        == "control plane: real v1.37.2, 2 passed, 1 failed"
    )


def test_skip_gives_its_reason() -> None:
    reports = _by_outcome(_report("skipped", "etcd not found"))

    assert summary_line(reports, version="v1.37.2") == "control plane: skipped: etcd not found"


def test_nothing_selected_prints_nothing() -> None:
    assert summary_line(_by_outcome(), version="v1.37.2") == ""
