"""The outermost layer: options in, exit code out."""

from __future__ import annotations

import gc

import pytest

from fluvial.errors import FluvialError
from fluvial.runtime.flags import FlagError, HelpRequested
from fluvial.runtime.program import run_program


async def seven(_: str) -> int:
    return 7


def test_the_exit_code_is_that_of_the_composition_root() -> None:
    assert run_program(lambda: "options", seven) == 7


def test_options_that_cannot_be_used_are_told_in_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def read() -> str:
        raise FlagError("unknown flag: --nope")

    assert run_program(read, seven) == 1
    assert capsys.readouterr().err == "unknown flag: --nope\n"


def test_help_is_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    def read() -> str:
        raise HelpRequested("Usage of x:")

    assert run_program(read, seven) == 0
    assert capsys.readouterr().out == "Usage of x:\n"


def test_a_foreseen_failure_has_no_stack_trace(capfd: pytest.CaptureFixture[str]) -> None:
    async def fail(_: str) -> int:
        raise FluvialError("no kubeconfig was given")

    assert run_program(lambda: "", fail) == 1
    captured = capfd.readouterr()
    assert "no kubeconfig was given" in captured.out + captured.err
    assert "Traceback" not in captured.out + captured.err


def test_collections_are_rare_while_a_controller_runs_and_as_usual_afterwards() -> None:
    """Full ones hold the event loop; what was there at the start is never looked at."""
    usual = gc.get_threshold()
    seen: list[tuple[int, int]] = []

    async def look(_: str) -> int:
        seen.append((gc.get_threshold()[0], gc.get_freeze_count()))
        return 0

    run_program(lambda: "options", look)
    ((young, frozen),) = seen

    assert young > usual[0]
    assert frozen > 1000
    assert gc.get_threshold() == usual
    assert gc.get_freeze_count() == 0
