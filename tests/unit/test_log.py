"""Log lines have Flux's field names."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from fluvial.log import LogEncoding, LogLevel, get_logger, setup_logging, trace


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def lines(capfdbinary: pytest.CaptureFixture[bytes]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capfdbinary.readouterr().err.splitlines()]


def test_a_line_has_level_time_and_message_first(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    setup_logging()
    with structlog.contextvars.bound_contextvars(namespace="ns"):
        get_logger("runtime").info("started", port=1)
    [line] = lines(capfdbinary)

    assert list(line)[:3] == ["level", "ts", "msg"]
    assert (line["level"], line["msg"]) == ("info", "started")
    assert (line["logger"], line["namespace"], line["port"]) == ("runtime", "ns", 1)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["ts"])


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("trace", ["trace", "debug", "info", "info", "error"]),
        ("debug", ["debug", "info", "info", "error"]),
        ("info", ["info", "info", "error"]),
        ("error", ["error"]),
    ],
)
def test_levels_are_flux_levels(
    level: LogLevel, expected: list[str], capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    setup_logging(level=level)
    log = get_logger("x")
    trace(log, "t")
    log.debug("d")
    log.info("i")
    log.warning("w")
    log.error("e")

    assert [line["level"] for line in lines(capfdbinary)] == expected


def test_an_exception_is_an_error_and_a_stack_trace(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    setup_logging()
    try:
        int("no such branch")
    except ValueError:
        get_logger("x").exception("failed")
    [line] = lines(capfdbinary)

    assert line["level"] == "error"
    assert "no such branch" in line["error"]
    assert "ValueError: invalid literal" in line["stacktrace"]
    assert "exc_info" not in line


def test_a_logger_made_before_the_setup_follows_it(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    log = get_logger("early")
    setup_logging(level="error")
    log.info("dropped")
    log.error("kept")

    assert [line["msg"] for line in lines(capfdbinary)] == ["kept"]


def test_console_lines_are_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    setup_logging(encoding="console")
    get_logger("x").info("hello", answer=42)
    text = capsys.readouterr().err

    assert "hello" in text
    assert "answer" in text
    assert not text.startswith("{")


@pytest.mark.parametrize("encoding", ["json", "console"])
def test_a_stack_trace_shows_no_local_variables(
    encoding: LogEncoding, capfd: pytest.CaptureFixture[str]
) -> None:
    setup_logging(encoding=encoding)
    password = "hunter2"[::-1]
    try:
        int("no number")
    except ValueError:
        get_logger("x").exception("failed", length=len(password))
    text = capfd.readouterr().err

    assert "ValueError" in text
    assert password not in text


def test_what_json_does_not_know_is_printed(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    setup_logging()
    get_logger("x").info("hello", value={1: object})
    [line] = lines(capfdbinary)

    assert line["value"] == {"1": "<class 'object'>"}


def test_what_is_no_text_is_printed_too(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    setup_logging()
    get_logger("x").info("call refused", header=b"a\x80".decode("utf-8", "surrogateescape"))
    get_logger("x").info("counted", number=2**70)
    first, second = lines(capfdbinary)

    assert (first["msg"], first["header"]) == ("call refused", "a?")
    assert second["number"] == 2**70
