"""Reading scripts."""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance.clients.script import Command, Watch, load_all


def _file(folder: Path, steps: str) -> Path:
    (folder / "t.yaml").write_text(
        "files: {shared.yaml: one}\n"
        "scripts:\n  s:\n    about: x\n    files: {own.yaml: two}\n    after: [delete it]\n"
        f"    steps: {steps}\n"
    )
    return folder


def test_reads_commands_and_watches(tmp_path: Path) -> None:
    steps = "[{name: a, run: get x, until: y}, {name: b, watch: get -w, lines: 2, then: [c]}]"

    (script,) = load_all(_file(tmp_path, steps))

    assert script.id == "t/s"
    assert script.space == "k-t-s"
    assert script.files == {"shared.yaml": "one", "own.yaml": "two"}
    assert script.after == ("delete it",)
    assert script.steps == (
        Command(name="a", run="get x", until="y"),
        Watch(name="b", watch="get -w", lines=2, then=("c",)),
    )


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param("[{name: a, run: x, unknown: 1}]", id="unknown field"),
        pytest.param("[{name: a}]", id="nothing to run"),
        pytest.param("[{run: x}]", id="no name"),
        pytest.param("[{name: a, run: x}, {name: a, run: y}]", id="name twice"),
        pytest.param("[{name: a, watch: x}]", id="watch without an end"),
    ],
)
def test_refuses_what_it_does_not_know(tmp_path: Path, steps: str) -> None:
    with pytest.raises(ValueError, match="t/s"):
        load_all(_file(tmp_path, steps))


def test_every_script_says_what_it_is_about() -> None:
    assert [script.id for script in load_all() if not script.about.strip()] == []
