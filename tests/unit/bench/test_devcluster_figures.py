"""The benchmark of devcluster: what it prints, how it counts, and that all of it runs."""

from __future__ import annotations

import ssl
from typing import Any

import pytest
from bench.devcluster import __main__ as command
from bench.devcluster.figures import Figure, table
from bench.devcluster.wire import WatchCounter


@pytest.mark.parametrize(
    ("figure", "met"),
    [
        (Figure("rate", 800, "/s", 800), True),
        (Figure("rate", 799, "/s", 800), False),
        (Figure("memory", 250, "MiB", 250, at_most=True), True),
        (Figure("memory", 251, "MiB", 250, at_most=True), False),
        (Figure("explains", 1, "ms"), None),
    ],
    ids=["enough", "too few", "small", "too large", "no target"],
)
def test_target_is_met_or_not(figure: Figure, *, met: bool | None) -> None:
    assert figure.met is met


def test_table_says_what_was_aimed_at() -> None:
    lines = table([Figure("applies", 1234.5, "/s", 800, note="as told")]).splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]

    assert cells[0][:4] == ["figure", "measured", "target", "met"]
    assert cells[2] == ["applies", "1,234 /s", "≥ 800", "yes", "as told"]


class _Socket:
    def __init__(self, *parts: bytes) -> None:
        self._parts = list(parts)

    def recv(self, size: int) -> bytes:
        if not self._parts:
            raise ssl.SSLWantReadError
        return self._parts.pop(0)


class _Connection:
    def __init__(self, *parts: bytes) -> None:
        self.socket = _Socket(*parts)


def _counted(*parts: bytes) -> int:
    connection: Any = _Connection(*parts)
    counter = WatchCounter(connection)
    counter.receive()
    return counter.events


_HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
_EVENT = b'{"type":"ADDED","object":{"data":{"a":"}\\n"}}}\n'


@pytest.mark.parametrize(
    "parts",
    [
        (_HEAD + b"2f\r\n" + _EVENT + b"\r\n2f\r\n" + _EVENT + b"\r\n",),
        (_HEAD, b"5e\r\n" + _EVENT[:-1], b"\n" + _EVENT + b"\r\n"),
        (_HEAD, _EVENT[:20], _EVENT[20:] + _EVENT[:-2], b"}", b"\n\r\n"),
    ],
    ids=["at once", "cut before the newline", "cut anywhere"],
)
def test_events_are_counted_however_they_arrive(parts: tuple[bytes, ...]) -> None:
    assert _counted(*parts) == 2


def test_refused_watch_is_an_error() -> None:
    with pytest.raises(OSError, match="refused"):
        _counted(b"HTTP/1.1 403 Forbidden\r\n\r\n{}")


@pytest.mark.slow
def test_everything_is_measured_in_small(capsys: pytest.CaptureFixture[str]) -> None:
    code = command.main(["--stored", "20", "--applies", "20", "--starts", "1"])
    printed = capsys.readouterr().out

    assert code == 0
    for name in ("start until ready", "Deployments stored", "server-side applies", "20 resumed"):
        assert name in printed


def test_what_cannot_be_measured_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing(*_: object) -> None:
        raise OSError("devcluster did not start")

    monkeypatch.setattr(command, "measure_starts", failing)
    code = command.main([])

    assert code == 1
    assert "did not start" in capsys.readouterr().err
