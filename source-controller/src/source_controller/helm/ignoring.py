"""What a chart's ``.helmignore`` leaves out of its package, by Helm's rules, which are not Git's.

A pattern without slash is compared with the last part of a path, one with a slash with all of it;
``*`` does not cross slashes, and there is no ``**``. ``!`` leaves out whatever does *not* match.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import re2

from source_controller.helm.errors import InvalidChart

__all__ = ["FILE", "HelmIgnore"]

FILE = ".helmignore"
_DEFAULTS = ("templates/.?*",)
_MAX_PATTERNS = 1000
_MAX_LENGTH = 512


@dataclass(frozen=True, slots=True)
class _Pattern:
    expression: re2.Pattern
    whole: bool
    negated: bool
    folders_only: bool

    def matches(self, path: str) -> bool:
        subject = path if self.whole else path.rpartition("/")[2]
        text = subject.encode(errors="surrogateescape").decode(errors="replace")
        return self.expression.fullmatch(text) is not None


class HelmIgnore:
    """The rules of one chart.

    Args:
        text: of its ``.helmignore``; ``""`` if it has none.

    Raises:
        InvalidChart: a pattern cannot be read.

    """

    def __init__(self, text: str) -> None:
        lines = [line.strip() for line in text.removeprefix("\ufeff").splitlines()]
        rules = [line for line in lines if line and not line.startswith("#")]
        if len(rules) > _MAX_PATTERNS:
            raise InvalidChart(f"{FILE} has more than {_MAX_PATTERNS} patterns")
        self._patterns = [_parse(rule) for rule in (*rules, *_DEFAULTS)]

    def leaves_out(self, path: str, *, is_folder: bool) -> bool:
        """Whether an entry is left out; of a folder, with everything in it.

        Args:
            path: relative to the chart, with slashes.
            is_folder: whether it is one.

        """
        for pattern in self._patterns:
            wrong_kind = pattern.folders_only and not is_folder
            if pattern.negated:
                if wrong_kind or not pattern.matches(path):
                    return True
            elif not wrong_kind and pattern.matches(path):
                return True
        return False


def _parse(rule: str) -> _Pattern:
    shown = rule[:100]
    if "**" in rule:
        raise InvalidChart(f"{FILE}: double stars are not supported: {shown!r}")
    if len(rule) > _MAX_LENGTH:
        raise InvalidChart(f"{FILE}: the pattern is too long: {shown!r}")
    negated = rule.startswith("!")
    rule = rule[1:] if negated else rule
    folders_only = rule.endswith("/")
    rule = rule.removesuffix("/")
    whole = "/" in rule
    options = re2.Options()
    options.log_errors = False
    try:
        expression = re2.compile(_translate(rule.removeprefix("/")), options=options)
    except re2.error:
        raise InvalidChart(f"{FILE}: the pattern cannot be read: {shown!r}") from None
    return _Pattern(expression, whole, negated, folders_only)


def _translate(rule: str) -> str:
    """A pattern of Go's ``filepath.Match`` as an expression of RE2, which takes linear time."""
    parts, place = [], 0
    while place < len(rule):
        char = rule[place]
        place += 1
        if char == "*":
            parts.append("[^/]*")
        elif char == "?":
            parts.append("[^/]")
        elif char == "[":
            end = rule.find("]", place + 1)
            if end < 0:
                raise InvalidChart(f"{FILE}: a bracket is not closed: {rule[:100]!r}")
            parts.append(_set(rule[place:end]))
            place = end + 1
        elif char == "\\" and place < len(rule):
            parts.append(re.escape(rule[place]))
            place += 1
        else:
            parts.append(re.escape(char))
    return "".join(parts)


def _set(content: str) -> str:
    negated = content.startswith("^")
    body = content[1:] if negated else content
    escaped = re.sub(r"([\[\]^\\&~|])", r"\\\1", body)
    return f"[{'^' if negated else ''}{escaped}]"
