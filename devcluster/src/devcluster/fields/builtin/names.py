"""The syntax of names, labels, ports and the like; each function returns what is wrong."""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Callable

__all__ = [
    "MIXED_CASE",
    "config_key",
    "dns_1035_label",
    "dns_label",
    "dns_subdomain",
    "dotless_label",
    "env_name",
    "ip_address",
    "label_key",
    "label_value",
    "path_segment",
    "port_name",
    "port_number",
    "prefixed",
    "qualified_name",
    "wildcard_subdomain",
]

Syntax = Callable[[str], list[str]]

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
MIXED_CASE = "may have mixed case, but should otherwise match: "
"""Before what is wrong with a kind, whose small letters are looked at."""
_LABEL_1035 = r"[a-z]([-a-z0-9]*[a-z0-9])?"
_NAME_PART = r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_KEY = r"[-._a-zA-Z0-9]+"
_PORT_NAME = re.compile(r"^[-a-z0-9]+$")


@functools.lru_cache(maxsize=16384)
def _fits(pattern: str, value: str) -> bool:
    """Whether the whole value has the syntax; the same few names come again and again."""
    return re.fullmatch(pattern, value) is not None


def _too_long(limit: int) -> str:
    return f"must be no more than {limit} bytes"


def _mismatch(text: str, pattern: str, *examples: str) -> str:
    shown = ",  or ".join(f"'{example}'" for example in examples)
    return f"{text} (e.g. {shown}, regex used for validation is '{pattern}')"


def dns_label(value: str) -> list[str]:
    """RFC 1123 label."""
    out = [_too_long(63)] if len(value) > 63 else []
    if not _fits(_LABEL, value):
        text = (
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-',"
            " and must start and end with an alphanumeric character"
        )
        out.append(_mismatch(text, _LABEL, "my-name", "123-abc"))
    return out


def dns_subdomain(value: str) -> list[str]:
    """RFC 1123 subdomain."""
    out = [_too_long(253)] if len(value) > 253 else []
    if not _fits(_SUBDOMAIN, value):
        text = (
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters,"
            " '-' or '.', and must start and end with an alphanumeric character"
        )
        out.append(_mismatch(text, _SUBDOMAIN, "example.com"))
    return out


def wildcard_subdomain(value: str) -> list[str]:
    """RFC 1123 subdomain with a leading ``*.``."""
    pattern = r"\*\." + _SUBDOMAIN
    out = [_too_long(253)] if len(value) > 253 else []
    if not _fits(pattern, value):
        text = (
            "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain,"
            " which must consist of lower case alphanumeric characters, '-' or '.' and end with an"
            " alphanumeric character"
        )
        out.append(_mismatch(text, pattern, "*.example.com"))
    return out


def dns_1035_label(value: str) -> list[str]:
    """RFC 1035 label: does not start with a digit."""
    out = [_too_long(63)] if len(value) > 63 else []
    if not _fits(_LABEL_1035, value):
        text = (
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with"
            " an alphabetic character, and end with an alphanumeric character"
        )
        out.append(_mismatch(text, _LABEL_1035, "my-name", "abc-123"))
    return out


def path_segment(value: str) -> list[str]:
    """Usable as one segment of a URL."""
    if value in {".", ".."}:
        return [f"may not be '{value}'"]
    return [f"may not contain '{sign}'" for sign in "/%" if sign in value]


def label_key(value: str) -> list[str]:
    """``[prefix/]name``: keys of labels and annotations."""
    return qualified_name(value, what="a valid label key")


def dotless_label(value: str) -> list[str]:
    """RFC 1123 label, for names that would pass as a subdomain."""
    if "." in value and not dns_subdomain(value):
        return ["must not contain dots"]
    return dns_label(value)


def qualified_name(value: str, *, what: str = "a qualified name") -> list[str]:
    """``[prefix/]name``: finalizers, conditions, resources."""
    parts = value.split("/")
    out: list[str] = []
    if len(parts) > 2:
        text = (
            f"{what} must consist of alphanumeric characters, '-', '_' or '.', and must"
            " start and end with an alphanumeric character"
        )
        mismatch = _mismatch(text, _NAME_PART, "MyName", "my.name", "123-abc")
        return [
            f"{mismatch} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        ]
    if len(parts) == 2:
        if not parts[0]:
            out.append("prefix part must be non-empty")
        else:
            out += [f"prefix part {problem}" for problem in dns_subdomain(parts[0])]
    name = parts[-1]
    if not name:
        out.append("name part must be non-empty")
    elif len(name) > 63:
        out.append("name part " + _too_long(63))
    if not _fits(_NAME_PART, name):
        text = (
            "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and"
            " end with an alphanumeric character"
        )
        out.append(_mismatch(text, _NAME_PART, "MyName", "my.name", "123-abc"))
    return out


def label_value(value: str) -> list[str]:
    """The value of a label."""
    out = [_too_long(63)] if len(value) > 63 else []
    pattern = f"({_NAME_PART})?"
    if not _fits(pattern, value):
        text = (
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_'"
            " or '.', and must start and end with an alphanumeric character"
        )
        out.append(_mismatch(text, pattern, "MyValue", "my_value", "12345"))
    return out


def config_key(value: str) -> list[str]:
    """A key of a ConfigMap or Secret."""
    out = [_too_long(253)] if len(value) > 253 else []
    if not _fits(_KEY, value):
        text = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"
        out.append(_mismatch(text, _KEY, "key.name", "KEY_NAME", "key-name"))
    elif value == ".":
        out.append("must not be '.'")
    elif value == "..":
        out.append("must not be '..'")
    elif value.startswith(".."):
        out.append("must not start with '..'")
    return out


def env_name(value: str) -> list[str]:
    """The name of an environment variable: printable ASCII without ``=``."""
    if not value or not all(" " <= sign <= "~" and sign != "=" for sign in value):
        text = "a valid environment variable name must consist only of printable ASCII characters"
        return [f"{text} other than '='"]
    return []


def port_number(value: int) -> list[str]:
    """1 to 65535."""
    return [] if 1 <= value <= 65535 else ["must be between 1 and 65535, inclusive"]


def port_name(value: str) -> list[str]:
    """An IANA service name."""
    out: list[str] = []
    if len(value) > 15:
        out.append("must be no more than 15 characters")
    if not _PORT_NAME.match(value):
        out.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not re.search("[a-z]", value):
        out.append("must contain at least one letter (a-z)")
    if "--" in value:
        out.append("must not contain consecutive hyphens")
    if value.startswith("-") or value.endswith("-"):
        out.append("must not begin or end with a hyphen")
    return out


def ip_address(value: str) -> list[str]:
    """IPv4 or IPv6."""
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return ["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"]
    return []


def prefixed(syntax: Syntax) -> Syntax:
    """The same syntax for a name to which a suffix will be added."""

    def check(value: str) -> list[str]:
        masked = len(value) > 1 and value.endswith("-")
        return syntax(value[:-2] + "a" if masked else value)

    return check
