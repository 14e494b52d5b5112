"""Command lines are read as Go programs read them."""

from __future__ import annotations

from typing import Any

import pytest

from fluvial.runtime.flags import FlagError, FlagSet, HelpRequested


def make() -> FlagSet:
    flags = FlagSet("test-controller")
    flags.string("path", "/data", "Where files are.")
    flags.string("level", "info", choices=("info", "error"))
    flags.strings("kinds", ("a",))
    flags.integer("count", 4, minimum=1, below=100)
    flags.number("qps", 50, minimum=0)
    flags.switch("wait")
    flags.switch("watch", default=True)
    flags.duration("timeout", 30, minimum=1)
    flags.address("addr", ":8080")
    return flags


def test_defaults() -> None:
    assert dict(make().parse([])) == {
        "path": "/data",
        "level": "info",
        "kinds": ("a",),
        "count": 4,
        "qps": 50,
        "wait": False,
        "watch": True,
        "timeout": 30,
        "addr": ":8080",
    }


@pytest.mark.parametrize(
    ("arguments", "name", "value"),
    [
        (["--path=/x"], "path", "/x"),
        (["--path", "/x"], "path", "/x"),
        (["-path", "/x"], "path", "/x"),
        (["-path=/x"], "path", "/x"),
        (["--path="], "path", ""),
        (["--path=a=b"], "path", "a=b"),
        (["--path", "--wait"], "path", "--wait"),
        (["--path=a", "--path=b"], "path", "b"),
        (["--wait"], "wait", True),
        (["-wait"], "wait", True),
        (["--wait=true"], "wait", True),
        (["--wait=1"], "wait", True),
        (["--watch=false"], "watch", False),
        (["--watch=F"], "watch", False),
        (["--kinds=x,y"], "kinds", ("x", "y")),
        (["--kinds=x", "--kinds", "y, z"], "kinds", ("x", "y", "z")),
        (["--kinds="], "kinds", ()),
        (["--count=99"], "count", 99),
        (["--qps=0.5"], "qps", 0.5),
        (["--timeout=1h30m"], "timeout", 5400),
        (["--addr=127.0.0.1:0"], "addr", "127.0.0.1:0"),
        (["--addr=[::1]:80"], "addr", "[::1]:80"),
        (["--addr=0"], "addr", "0"),
        (["--addr="], "addr", "0"),
        (["--wait", "--"], "wait", True),
    ],
)
def test_read(arguments: list[str], name: str, value: Any) -> None:
    flags = make().parse(arguments)

    assert flags[name] == value
    assert flags.given == {name}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--nope"], "unknown flag: --nope"),
        (["--no"], "unknown flag: --no"),
        (["--path"], "flag --path needs a value"),
        (["--wait", "false"], "unexpected argument 'false'"),
        (["serve"], "unexpected argument 'serve'"),
        (["-"], "unexpected argument '-'"),
        (["--", "x"], "unexpected argument '--'"),
        (["--wait=maybe"], "--wait: must be true or false"),
        (["--level=loud"], "--level: must be one of info, error"),
        (["--count=0"], "at least 1 and less than 100"),
        (["--count=100"], "less than 100"),
        (["--count=1.5"], "whole number"),
        (["--qps=-1"], "at least 0"),
        (["--qps=nan"], "at least 0"),
        (["--timeout=10"], "invalid duration '10'"),
        (["--timeout=500ms"], "at least 1s"),
        (["--addr=localhost"], "host:port"),
        (["--addr=:99999"], "host:port"),
        (["--addr=::1:80"], "brackets"),
    ],
)
def test_refused(arguments: list[str], message: str) -> None:
    with pytest.raises(FlagError) as caught:
        make().parse(arguments)

    assert message in str(caught.value)


@pytest.mark.parametrize("flag", ["--help", "-h", "-help"])
def test_help_shows_every_flag_with_its_default(flag: str) -> None:
    with pytest.raises(HelpRequested) as caught:
        make().parse([flag])
    text = str(caught.value)

    assert text.startswith("Usage of test-controller:")
    assert "--path\n        Where files are. (default '/data')" in text
    assert all(f"--{name}\n" in text for name in make().parse([]))
    assert "(default 30s)" in text


def test_a_flag_is_declared_once() -> None:
    flags = make()
    with pytest.raises(ValueError, match="twice"):
        flags.string("path")
