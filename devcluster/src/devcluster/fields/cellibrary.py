"""The functions that Kubernetes adds to CEL for rules of custom resources.

Values of its own types (URL, IP, CIDR, Quantity, format) are texts here, which the functions of
those types read again. Rules cannot tell: they get such values from these functions only.
"""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Callable
from typing import Any
from urllib.parse import SplitResult, parse_qs, urlsplit

import re2
from cel_expr_python import cel

from devcluster.fields import quantity
from devcluster.fields.builtin import names

__all__ = ["declarations", "with_optional_results"]

_Type = cel.Type

_IP = ipaddress.IPv4Address | ipaddress.IPv6Address


def declarations() -> list[cel.FunctionDecl]:
    """All of them, for ``cel.NewEnv``."""
    grouped: dict[str, list[cel.Overload]] = {}
    for number, (name, result, parameters, member, impl) in enumerate(_all()):
        overload = cel.Overload(
            f"k8s_{name.replace('.', '_')}_{number}",
            return_type=result,
            parameters=parameters,
            is_member=member,
            impl=impl,
        )
        grouped.setdefault(name, []).append(overload)
    return [cel.FunctionDecl(name, overloads) for name, overloads in grouped.items()]


def with_optional_results(text: str) -> str:
    """An expression in which what ``validate`` finds is optional: functions return no optionals."""
    at = text.find("format.")
    while at >= 0:
        call = text.find(".validate(", at)
        end = _closing(text, call + len(".validate")) if call >= 0 else -1
        if end < 0:
            return text
        made = f"optional.ofNonZeroValue({text[at : end + 1]})"
        text = f"{text[:at]}{made}{text[end + 1 :]}"
        at = text.find("format.", at + len(made))
    return text


def _closing(text: str, opening: int) -> int:
    """Where the bracket that opens there is closed; -1 if it is not."""
    depth = 0
    for at in range(opening, len(text)):
        depth += {"(": 1, ")": -1}.get(text[at], 0)
        if depth == 0:
            return at
    return -1


_Entry = tuple[str, cel.Type, list[cel.Type], bool, Callable[..., Any]]


def _all() -> list[_Entry]:
    text, truth, number = _Type.STRING, _Type.BOOL, _Type.INT
    real, items, anything = _Type.DOUBLE, _Type.LIST, _Type.DYN
    one, two = [text], [text, text]
    return [
        ("find", text, two, True, _find),
        ("findAll", items, two, True, lambda value, pattern: re2.findall(pattern, value)),
        ("isURL", truth, one, False, _accepts(_url)),
        ("url", text, one, False, _parsed(_url)),
        ("getScheme", text, one, True, lambda value: _url(value).scheme),
        ("getHost", text, one, True, lambda value: _url(value).netloc.rpartition("@")[2]),
        ("getHostname", text, one, True, lambda value: _url(value).hostname or ""),
        ("getPort", text, one, True, lambda value: str(_url(value).port or "")),
        ("getEscapedPath", text, one, True, lambda value: _url(value).path),
        ("getQuery", _Type.MAP, one, True, lambda value: parse_qs(_url(value).query)),
        ("isIP", truth, one, False, _accepts(ipaddress.ip_address)),
        ("ip", text, one, False, _parsed(ipaddress.ip_address)),
        ("ip", text, one, True, lambda value: value.partition("/")[0]),
        ("family", number, one, True, lambda value: ipaddress.ip_address(value).version),
        ("isLoopback", truth, one, True, lambda value: _address(value).is_loopback),
        ("isUnspecified", truth, one, True, lambda value: _address(value).is_unspecified),
        ("isLinkLocalUnicast", truth, one, True, lambda value: _address(value).is_link_local),
        ("isCIDR", truth, one, False, _accepts(_network)),
        ("cidr", text, one, False, _parsed(_network)),
        ("prefixLength", number, one, True, lambda value: _network(value).prefixlen),
        ("masked", text, one, True, lambda value: str(_network(value))),
        ("containsIP", truth, two, True, lambda value, other: _address(other) in _network(value)),
        ("containsCIDR", truth, two, True, _contains_network),
        ("isQuantity", truth, one, False, quantity.valid),
        ("quantity", text, one, False, quantity.canonical),
        ("compareTo", number, two, True, _compared),
        ("isGreaterThan", truth, two, True, lambda value, other: _compared(value, other) > 0),
        ("isLessThan", truth, two, True, lambda value, other: _compared(value, other) < 0),
        ("sign", number, one, True, lambda value: _compared(value, "0")),
        ("asInteger", number, one, True, lambda value: int(quantity.parse(value))),
        ("asApproximateFloat", real, one, True, lambda value: float(quantity.parse(value))),
        ("isSorted", truth, [items], True, lambda value: list(value) == sorted(value)),
        ("sum", anything, [items], True, sum),
        ("min", anything, [items], True, min),
        ("max", anything, [items], True, max),
        ("sets.contains", truth, [items, items], False, _contains),
        ("sets.intersects", truth, [items, items], False, lambda a, b: any(x in b for x in a)),
        ("sets.equivalent", truth, [items, items], False, _equivalent),
        *((f"format.{name}", text, [], False, _format(name)) for name in _FORMATS),
        ("validate", items, two, True, lambda name, value: _FORMATS[name](value)),
    ]


def _find(value: str, pattern: str) -> str:
    found = re2.search(pattern, value)
    return str(found.group(0)) if found else ""


def _accepts(parse: Callable[[str], Any]) -> Callable[[str], bool]:
    def check(value: str) -> bool:
        try:
            parse(value)
        except ValueError:
            return False
        return True

    return check


def _parsed(parse: Callable[[str], Any]) -> Callable[[str], str]:
    """The text itself, once it can be read; an address in its canonical form."""

    def make(value: str) -> str:
        made = parse(value)
        return str(made) if isinstance(made, _IP) else value

    return make


def _url(value: str) -> SplitResult:
    parts = urlsplit(value)
    if not parts.scheme and not value.startswith("/"):
        raise ValueError(value)
    return parts


_address = ipaddress.ip_address
_network = functools.partial(ipaddress.ip_network, strict=False)


def _contains_network(value: str, other: str) -> bool:
    outer, inner = _network(value), _network(other)
    return inner.network_address in outer and inner.prefixlen >= outer.prefixlen


def _compared(value: str, other: str) -> int:
    left, right = quantity.parse(value), quantity.parse(other)
    return (left > right) - (left < right)


def _contains(whole: list[Any], part: list[Any]) -> bool:
    return all(item in whole for item in part)


def _equivalent(left: list[Any], right: list[Any]) -> bool:
    return _contains(left, right) and _contains(right, left)


def _format(name: str) -> Callable[[], str]:
    return lambda: name


_FORMATS: dict[str, Callable[[str], list[str]]] = {
    "dns1123Label": names.dns_label,
    "dns1123Subdomain": names.dns_subdomain,
    "dns1035Label": names.dns_1035_label,
    "qualifiedName": names.qualified_name,
    "labelValue": names.label_value,
}
