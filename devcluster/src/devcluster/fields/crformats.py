"""The formats of texts that the server checks in custom resources; it takes any other."""

from __future__ import annotations

import datetime as dt
import functools
import ipaddress
import re
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

__all__ = ["FORMATS"]

_DURATION = re.compile(
    r"^[+-]?(\d+(\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h|d|w)?"
    r"((\d+(\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h))*$"
)
_IN_WORDS = re.compile(r"\d+\s*([A-Za-zµ]+)")
_UNITS = frozenset(
    {
        *("n", "nano", "nanosecond", "u", "µ", "micro", "microsecond", "m", "milli", "millisecond"),
        *("", "sec", "second", "min", "minute", "h", "hr", "hour", "d", "day", "w", "wk", "week"),
    }
)
_EMAIL = re.compile(r"^[^@\s]+@[^@\s]+$")
_DATE_TIME = re.compile(r"^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:?\d\d)$")
_MAC = re.compile(r"^([0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}$")
_BASE64 = re.compile(r"^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$")
_HOSTNAME = re.compile(
    r"^([a-zA-Z0-9]([-a-zA-Z0-9]{0,61}[a-zA-Z0-9])?)(\.[a-zA-Z0-9]([-a-zA-Z0-9]{0,61}[a-zA-Z0-9])?)*$"
)


def _accepts(parse: Any) -> Any:
    def check(text: str) -> bool:
        try:
            parse(text)
        except ValueError:
            return False
        return True

    return check


def _duration(text: str) -> bool:
    if text == "0" or (_DURATION.match(text) is not None and not text[-1].isdigit()):
        return True
    said = _IN_WORDS.findall(text)
    return bool(said) and all(unit.lower().removesuffix("s") in _UNITS for unit in said)


def _uri(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return bool(parts.scheme) or text.startswith("/")


def _cidr(text: str) -> bool:
    return "/" in text and _accepts(functools.partial(ipaddress.ip_network, strict=False))(text)


def _moment(text: str) -> bool:
    return _DATE_TIME.match(text) is not None and _accepts(dt.datetime.fromisoformat)(text)


FORMATS: dict[str, Callable[[str], bool]] = {
    "date-time": _moment,
    "datetime": _moment,
    "date": _accepts(dt.date.fromisoformat),
    "duration": _duration,
    "uri": _uri,
    "email": lambda text: _EMAIL.match(text) is not None,
    "hostname": lambda text: _HOSTNAME.match(text) is not None,
    "ipv4": _accepts(ipaddress.IPv4Address),
    "ipv6": _accepts(ipaddress.IPv6Address),
    "cidr": _cidr,
    "uuid": _accepts(uuid.UUID),
    "mac": lambda text: _MAC.match(text) is not None,
    "byte": lambda text: _BASE64.match(text) is not None,
}
