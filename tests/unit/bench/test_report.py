"""Figures as text, JSON and tables."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from bench.load import command, report
from bench.load.audit import Counted
from bench.load.lag import Lag
from bench.load.placeholders import BadData
from bench.load.results import (
    FloorResult,
    Machine,
    PhaseResult,
    RunResult,
    from_json,
    to_json,
)
from bench.load.sampling import GroupUse
from bench.load.spread import Spread

INSTALL = PhaseResult(
    phase="install",
    objects=4,
    seconds=6.0,
    settled=0.5,
    latency={"GitRepository": Spread(4, 1, 2, 3), "Kustomization": Spread(4, 4, 5, 6)},
    requests=(
        Counted("kustomize-controller", "apply", "services", tenant=True, count=4, failed=1),
        Counted("kustomize-controller", "get", "services", tenant=False, count=2),
        Counted("kustomize-controller", "watch", "services", tenant=False, count=9),
    ),
    reconciles={"kustomize-controller/kustomization": 8.0},
    uses=(GroupUse("kustomize-controller", 2.25, 80.4, exact=False),),
    lag={"kustomize-controller": Lag(10, 1, 5, float("inf"), 0.1)},
    notes=("a remark",),
)
RUN = RunResult(
    workload="kustomizations",
    count=4,
    plane="devcluster",
    plane_version="v1",
    controllers="fluvial",
    concurrency={"Kustomization": 20},
    machine=Machine(2, 23.5, "6.1", "3.11.7", "0.1.0"),
    date="2026-01-02T03:04:05Z",
    phases=(INSTALL,),
    floor=(FloorResult("install", 3.0, 76, 1.0, 2.0),),
    notes=("stand-ins",),
)


def test_requests_leave_watches_out() -> None:
    assert INSTALL.requests_of("kustomize-controller") == INSTALL.requests_of() == 6
    assert INSTALL.requests_of("source-controller") == 0


def test_the_text_has_every_figure() -> None:
    text = report.text(RUN)

    for part in (
        "2 cores, 23.5 GiB",
        "note: stand-ins",
        "install: 6.00 s for 4",
        "ratio 2.0",
        "Kustomization: p50 4.00 s, p95 5.00 s, max 6.00 s",
        "2.25 s CPU, peak 80 MiB (resident)",
        "10.0% of 10 over 5 ms",
        "8 reconciles",
        "apply services as the tenant: 4 (1.00 an object, 1 refused)",
    ):
        assert part in text


def test_the_tables_have_a_row_for_each_phase_and_group() -> None:
    tables = report.markdown([RUN], remark="Preliminary.")

    assert "Taken 2026-01-02 on 2 cores" in tables
    assert "Control planes: devcluster v1." in tables
    assert "fluvial reconciles 20 Kustomization at once" in tables
    assert "Preliminary." in tables
    assert (
        "| kustomizations | fluvial | devcluster | 4 | install | 6.0 | 3.0 | 2.0 | 1.0 / 2.0 | 4.0 / 5.0 |"
        in tables
    )
    assert "| install | 2.2 / 80 (resident) | <= 5 / 10% |" in tables
    assert "1.00 apply services T, 0.50 get services | 1.50 |" in tables
    assert "- install: a remark" in tables


def test_requests_are_shown_for_the_largest_run_only() -> None:
    larger = replace(RUN, count=40)
    elsewhere = replace(RUN, plane="real")
    rows = [
        line.split(" | ")[2:4]
        for line in report.markdown([RUN, larger, elsewhere]).splitlines()
        if line.endswith("| 1.50 |")
    ]

    assert rows == [["devcluster", "40"], ["real", "4"]]


def test_a_phase_that_failed_has_no_ratio_and_says_why() -> None:
    failed = replace(RUN, phases=(replace(INSTALL, failures=("2 were not there",)),))

    assert failed.failed
    assert "FAILED: 2 were not there" in report.text(failed)
    assert "install **failed** | 6.0 | 3.0 |  |" in report.markdown([failed])
    assert "2 were not there" in report.markdown([failed])


def test_tables_replace_what_stands_between_the_marks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"above\n{report.BEGIN}\nold\n{report.END}\nbelow\n")

    report.put_into(page, "new\n")
    report.put_into(page, "newer\n")

    assert page.read_text() == f"above\n{report.BEGIN}\nnewer\n{report.END}\nbelow\n"


def test_a_page_without_marks_is_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("nothing\n")

    with pytest.raises(BadData, match="lacks the marks"):
        report.put_into(page, "new\n")
    assert page.read_text() == "nothing\n"


def test_json_has_all_figures_and_null_for_what_is_infinite() -> None:
    (run,) = orjson.loads(to_json([RUN]))

    assert run["phases"][0]["latency"]["Kustomization"]["p95"] == 5
    assert run["phases"][0]["lag"]["kustomize-controller"]["max_ms"] is None
    assert run["floor"][0]["requests"] == 76


def test_figures_are_read_again_as_they_were_written() -> None:
    (run,) = from_json(to_json([RUN]))

    assert report.markdown([run]) == report.markdown([RUN])
    with pytest.raises(BadData, match="no figures of the harness"):
        from_json(b'[{"workload": 1}]')


def test_tables_are_made_of_former_figures(tmp_path: Path) -> None:
    page, figures = tmp_path / "page.md", tmp_path / "a.json"
    page.write_text(f"{report.BEGIN}\n{report.END}\n")
    figures.write_bytes(to_json([RUN]))

    code = command.main(["--figures", f"{figures},{figures}", "--report", str(page)])

    assert code == 0
    assert page.read_text().count("| devcluster | 4 | install | 6.0 |") == 2


def parse(*arguments: str) -> argparse.Namespace:
    return command.parser().parse_args(arguments)


def test_a_command_asks_for_every_combination() -> None:
    given = parse("--n", "3,600", "--plane", "devcluster,real", "--set", "mcpu=5m")

    runs = command.read_options(given)

    assert [(one.scale.count, one.plane) for one in runs] == [
        (3, "devcluster"),
        (3, "real"),
        (600, "devcluster"),
        (600, "real"),
    ]
    assert [one.scale.interval for one in runs] == [20, 20, 30, 30]
    assert runs[0].scale.drifted == 3
    assert runs[0].parameters == {"mcpu": "5m"}


@pytest.mark.parametrize(
    "arguments",
    [("--n", "0"), ("--n", "x"), ("--plane", "minikube"), ("--phases", "deploy"), ("--set", "a")],
)
def test_what_cannot_be_run_is_refused(
    arguments: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parse(*arguments)
    assert arguments[0] in capsys.readouterr().err


def test_a_workload_without_controller_is_refused_on_the_command_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    sources = Path(__file__).parents[3] / "charts/fluvial/crds"
    file = tmp_path / "peers.yaml"
    file.write_text(
        f"{{name: peers, crds: {sources}/buckets.source.toolkit.fluxcd.io.yaml, controllers: []}}"
    )
    arguments = ["--workload", "helmreleases", "--n", "1", "--controllers", str(file)]
    assert command.main(arguments) == 1
    assert "has no controller yet" in capsys.readouterr().err
