"""Command line flags as Go programs read them, so that Flux' manifests work unchanged.

``--name=value``, ``--name value``, ``--switch``, ``--switch=false``; one dash does as well as two;
``--`` ends the flags. A flag that is given twice has its last value, a list collects. Parsing is
pure: ``FlagSet.parse`` returns ``Flags`` or raises ``FlagError``, which ``app`` prints before it
exits with status 1; ``HelpRequested`` carries the text of ``--help``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fluvial.durations import format_duration, parse_duration
from fluvial.errors import FluvialError

__all__ = ["FlagError", "FlagSet", "Flags", "HelpRequested"]

_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})


class FlagError(FluvialError):
    """The command line cannot be used; the message names the flag and what it expects."""


class HelpRequested(FluvialError):
    """``--help`` was given; the message is the help."""


@dataclass(frozen=True, slots=True)
class _Flag:
    name: str
    default: Any
    read: Callable[[str], Any]
    text: str
    shown: str
    is_switch: bool = False
    collects: bool = False


class Flags(Mapping[str, Any]):
    """The values of all flags, by name without dashes."""

    def __init__(self, values: Mapping[str, Any], given: frozenset[str]) -> None:
        self._values = dict(values)
        self.given = given
        """Names that stood on the command line."""

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Any:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


class FlagSet:
    """The flags of one program; declare them, then ``parse``."""

    def __init__(self, program: str) -> None:
        self.program = program
        self._flags: dict[str, _Flag] = {}

    def string(
        self, name: str, default: str = "", text: str = "", *, choices: Sequence[str] = ()
    ) -> None:
        """A text, one of ``choices`` where they are given."""

        def read(value: str) -> str:
            if choices and value not in choices:
                raise ValueError(f"must be one of {', '.join(choices)}")
            return value

        self._declare(_Flag(name, default, read, text, repr(default) if default else ""))

    def strings(self, name: str, default: tuple[str, ...] = (), text: str = "") -> None:
        """Texts, separated by commas or by repeating the flag."""
        self._declare(_Flag(name, default, _read_list, text, ",".join(default), collects=True))

    def integer(
        self, name: str, default: int, text: str = "", *, minimum: int, below: int | None = None
    ) -> None:
        """A whole number, at least ``minimum`` and less than ``below``."""

        def read(value: str) -> int:
            limit = "" if below is None else f" and less than {below}"
            try:
                number = int(value)
            except ValueError:
                number = minimum - 1
            if number < minimum or (below is not None and number >= below):
                raise ValueError(f"must be a whole number of at least {minimum}{limit}")
            return number

        self._declare(_Flag(name, default, read, text, str(default)))

    def number(self, name: str, default: float, text: str = "", *, minimum: float) -> None:
        """A number, at least ``minimum``."""

        def read(value: str) -> float:
            try:
                number = float(value)
            except ValueError:
                number = minimum - 1
            if not minimum <= number < float("inf"):
                raise ValueError(f"must be a number of at least {minimum:g}")
            return number

        self._declare(_Flag(name, default, read, text, f"{default:g}"))

    def switch(self, name: str, text: str = "", *, default: bool = False) -> None:
        """True or false; true when it is given alone."""
        self._declare(
            _Flag(name, default, _read_switch, text, str(default).lower(), is_switch=True)
        )

    def duration(self, name: str, default: float, text: str = "", *, minimum: float = 0.0) -> None:
        """Seconds, written as Go durations; at least ``minimum``."""

        def read(value: str) -> float:
            seconds = parse_duration(value)
            if seconds < minimum:
                raise ValueError(f"must be at least {format_duration(minimum)}")
            return seconds

        self._declare(_Flag(name, default, read, text, format_duration(default)))

    def address(self, name: str, default: str, text: str = "") -> None:
        """Where to listen: ``host:port``, ``:port`` for all interfaces, ``0`` for nowhere."""
        self._declare(_Flag(name, default, _read_address, text, repr(default)))

    def remove(self, name: str) -> None:
        """Take a flag back, so that it is refused."""
        del self._flags[name]

    def parse(self, arguments: Sequence[str]) -> Flags:
        """Read a command line, without the program's name.

        Raises:
            FlagError: an unknown flag, a value that does not fit, a missing value, or an argument
                that is no flag.
            HelpRequested: ``--help`` or ``-h``.

        """
        values = {flag.name: flag.default for flag in self._flags.values()}
        given: set[str] = set()
        pending = list(reversed(arguments))
        while pending:
            argument = pending.pop()
            if argument == "--" and not pending:
                break
            if not argument.startswith("-") or argument in {"-", "--"}:
                raise FlagError(
                    f"unexpected argument {argument!r}: {self.program} takes flags only"
                )
            name, has_value, value = argument.removeprefix("-").removeprefix("-").partition("=")
            if name in {"help", "h"}:
                raise HelpRequested(self.help())
            flag = self._flags.get(name)
            if flag is None:
                raise FlagError(f"unknown flag: --{name}")
            if not has_value:
                value = self._next_value(flag, pending)
            read = self._read(flag, value)
            first = name not in given
            values[name] = read if first or not flag.collects else (*values[name], *read)
            given.add(name)
        return Flags(values, frozenset(given))

    def help(self) -> str:
        """One line per flag with its default."""
        lines = [f"Usage of {self.program}:"]
        for flag in sorted(self._flags.values(), key=lambda item: item.name):
            default = f" (default {flag.shown})" if flag.shown else ""
            lines.append(f"  --{flag.name}\n        {flag.text}{default}")
        return "\n".join(lines)

    def _declare(self, flag: _Flag) -> None:
        if flag.name in self._flags:
            raise ValueError(f"flag --{flag.name} is declared twice")
        self._flags[flag.name] = flag

    def _next_value(self, flag: _Flag, pending: list[str]) -> str:
        if flag.is_switch:
            return "true"
        if not pending:
            raise FlagError(f"flag --{flag.name} needs a value")
        return pending.pop()

    def _read(self, flag: _Flag, value: str) -> Any:
        try:
            return flag.read(value)
        except ValueError as error:
            raise FlagError(f"invalid value {value!r} for flag --{flag.name}: {error}") from error


def _read_switch(value: str) -> bool:
    if value in _TRUE:
        return True
    if value in _FALSE:
        return False
    raise ValueError("must be true or false")


def _read_list(value: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in value.split(",") if part.strip())


def _read_address(value: str) -> str:
    if value in {"", "0"}:
        return "0"
    host, colon, port = value.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError('must be "host:port" or ":port", or 0 for nowhere')
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise ValueError("an IPv6 host stands in brackets")
    return value
