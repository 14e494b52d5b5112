"""``${VAR}`` in text, with the operators and the quirks that Flux users' files rely on.

    ${v}                       the value; letters, digits and _ of any script in names
    ${#v}                      its length in bytes
    ${v^} ${v^^} ${v,} ${v,,}  upper and lower case of the first character, of all
    ${v:n} ${v:n:len}          part of it, in bytes; a negative n counts from the end
    ${v#p} ${v##p}             without the shortest, the longest prefix that matches a pattern
    ${v%p} ${v%%p}             the same for suffixes
    ${v=d} ${v:=d} ${v:-d}     d where v is unset or empty; so do :+ and :?
    ${v/p/r} // /# /%          p replaced by r: the first, all, at the start, at the end

``$$`` is a dollar. Bare ``$v`` is left alone, ``${v-d}`` is an error. A default may hold further
``${...}``; ``}`` always ends an expression. In strict mode a variable must be set unless there is
a default. Time is linear in the text and in what comes out, and both are bounded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from fluvial.build import glob
from fluvial.build.errors import SubstitutionError

__all__ = ["MAX_RESULT", "Expansion", "expand", "substitute"]

MAX_RESULT: Final = 32 * 1024 * 1024
"""Longest result, in characters."""

_MAX_NESTING: Final = 32
_MAX_PATTERN: Final = 1024
_PATTERN_COST: Final = 64
_OFFSET: Final = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)
_DOLLAR: Final = re.compile(r"[^$]*")
_TO_BRACE: Final = re.compile(r"(?:[^}$]|\$(?!\{))*")
_TO_COLON: Final = re.compile(r"(?:[^:}$]|\$(?!\{))*")
_ESCAPED_TO_SLASH: Final = re.compile(r"(?:\\[/\\]|\$\$|[^/$]|\$(?!\{))*")
_ESCAPED_TO_BRACE: Final = re.compile(r"(?:\\[/\\]|\$\$|[^}$]|\$(?!\{))*")
_ESCAPE: Final = re.compile(r"\\([/\\])|\$(\$)")
_NEGATIVE_LENGTH: Final = "the length in ${%s:offset:length} must not be negative"


@dataclass(frozen=True, slots=True)
class Expansion:
    """The text, and what each variable that occurs contributed to it."""

    text: str
    contributions: frozenset[tuple[str, str]]
    """Pairs of variable name and the text that an expression on it gave."""


def substitute(text: str, variables: Mapping[str, str], *, strict: bool) -> str:
    """Replace every expression.

    Args:
        text: any text; at most ``MAX_RESULT`` characters, like the result.
        variables: values by name.
        strict: whether a variable that is not set is an error rather than empty.

    Raises:
        SubstitutionError: an expression is malformed, a variable is not set, or a limit is passed.

    """
    return expand(text, variables, strict=strict).text


def expand(text: str, variables: Mapping[str, str], *, strict: bool) -> Expansion:
    """``substitute``, and which variable contributed what.

    Raises:
        SubstitutionError: as ``substitute``.

    """
    expander = _Expander(text, variables, strict=strict)
    result = expander.run()
    return Expansion(result, frozenset(expander.contributions))


@dataclass(slots=True)
class _Expander:
    """One pass over the text; ``_at`` is the next character."""

    text: str
    variables: Mapping[str, str]
    strict: bool = field(kw_only=True)
    contributions: set[tuple[str, str]] = field(default_factory=set)
    _at: int = 0
    _nesting: int = 0
    _spent: int = 0

    def run(self) -> str:
        parts: list[str] = []
        while self._at < len(self.text):
            plain = self._take(_DOLLAR)
            follower = self._peek(1)
            if not self._peek():
                part = plain
            elif follower == "{":
                part = plain + self._expression(wanted=True)
            else:
                part = f"{plain}$"
                self._at += 2 if follower == "$" else 1
            parts.append(part)
            self._spend(len(part))
        return "".join(parts)

    def _spend(self, characters: int) -> None:
        """Every character written or looked at counts, so that no text takes long."""
        self._spent += characters
        if self._spent > MAX_RESULT:
            raise SubstitutionError(
                f"the text and the values in it are larger than {MAX_RESULT} characters"
            )

    def _expression(self, *, wanted: bool) -> str:
        """Read ``${...}``; where it is not ``wanted`` its variables need not be set."""
        self._nesting += 1
        if self._nesting > _MAX_NESTING:
            raise SubstitutionError(f"expressions are nested deeper than {_MAX_NESTING}")
        start = self._at
        self._at += 2
        if self._peek() == "#":
            self._at += 1
            name = self._name(start)
            value = self._value(name, wanted=wanted)
            result = str(len(value.encode(errors="surrogateescape")))
        else:
            name = self._name(start)
            result = self._operation(name, wanted=wanted)
        if self._peek() != "}":
            raise self._malformed("a closing brace is missing", start)
        self._at += 1
        self._nesting -= 1
        if wanted and result:
            self.contributions.add((name, result))
        return result

    def _operation(self, name: str, *, wanted: bool) -> str:
        operator = self._peek()
        if operator == "=" or (operator == ":" and self._peek(1) in set("=-?+")):
            return self._default(name, wanted=wanted)
        value = self._value(name, wanted=wanted)
        if operator == ":":
            return self._part(name, value, wanted=wanted)
        if operator in {"#", "%"}:
            return self._trimmed(value, operator, wanted=wanted)
        if operator == "/":
            return self._replaced(value, wanted=wanted)
        if operator in {",", "^"}:
            return self._cased(value)
        return value

    def _value(self, name: str, *, wanted: bool) -> str:
        value = self.variables.get(name)
        if value is None and self.strict and wanted:
            raise SubstitutionError(
                f'variable not set (strict mode): "{name}"; set it under spec.postBuild, give a'
                f" default as in ${{{name}:=default}}, or write $${{{name}}} if it is meant literally"
            )
        self._spend(len(value or ""))
        return value or ""

    def _default(self, name: str, *, wanted: bool) -> str:
        start = self._at
        self._at += 1 if self._peek() == "=" else 2
        value = self.variables.get(name, "")
        parts = []
        while self._peek() != "}":
            if not self._peek():
                raise self._malformed("a closing brace is missing", start)
            parts.append(self._argument(_TO_BRACE, wanted=wanted and not value))
            self._spend(len(parts[-1]))
        return value or "".join(parts)

    def _cased(self, value: str) -> str:
        operator = self._operator(",^")
        head, tail = value[:1], value[1:]
        return {
            ",": _each(head, str.lower) + tail,
            ",,": _each(value, str.lower),
            "^": _each(head, str.upper) + tail,
            "^^": _each(value, str.upper),
        }.get(operator, value)

    def _part(self, name: str, value: str, *, wanted: bool) -> str:
        start = self._at
        self._at += 1
        offset = self._needed(_TO_COLON, start, wanted=wanted)
        length = None
        if self._peek() == ":":
            while self._peek() == ":":
                self._at += 1
            length = self._needed(_TO_BRACE, start, wanted=wanted)
        if not _OFFSET.fullmatch(offset) or (length is not None and not _OFFSET.fullmatch(length)):
            return value
        data = value.encode(errors="surrogateescape")
        begin = int(offset)
        begin = max(len(data) + begin, 0) if begin < 0 else begin
        size = len(data) if length is None else int(length)
        if size < 0:
            raise SubstitutionError(_NEGATIVE_LENGTH % name)
        return data[begin : begin + size].decode(errors="surrogateescape")

    def _trimmed(self, value: str, operator: str, *, wanted: bool) -> str:
        start = self._at
        greedy = len(self._operator(operator)) == 2
        pattern = self._needed(_TO_BRACE, start, wanted=wanted)
        if len(pattern) > _MAX_PATTERN:
            raise SubstitutionError(f"a pattern is longer than {_MAX_PATTERN} characters")
        self._spend(_PATTERN_COST * len(value))
        # A suffix is a prefix of the reversed text. Classes and escapes do not survive the
        # reversal of the pattern: such suffix patterns match nothing, and files rely on that.
        if operator == "%":
            return _without_prefix(value[::-1], pattern[::-1], greedy=greedy)[::-1]
        return _without_prefix(value, pattern, greedy=greedy)

    def _replaced(self, value: str, *, wanted: bool) -> str:
        start = self._at
        self._at += 1
        variant = self._peek() if self._peek() in set("/#%") else ""
        self._at += len(variant)
        old = self._needed(_ESCAPED_TO_SLASH, start, wanted=wanted, escapes=True)
        if self._peek() != "/":
            raise self._malformed("a slash is missing", start)
        while self._peek() == "/":
            self._at += 1
        new = None
        if self._peek() != "}":
            new = self._needed(_ESCAPED_TO_BRACE, start, wanted=wanted, escapes=True)
        if variant in {"#", "%"}:
            return _replaced_at_edge(value, old, new, at_end=variant == "%")
        count = -1 if variant else 1
        if not wanted:
            return ""
        self._spend(value.count(old) * len(new or ""))
        return value.replace(old, new or "", count)

    def _needed(
        self, pattern: re.Pattern[str], start: int, *, wanted: bool, escapes: bool = False
    ) -> str:
        before = self._at
        argument = self._argument(pattern, wanted=wanted, escapes=escapes)
        if self._at == before:
            raise self._malformed("an argument is missing", start)
        return argument

    def _argument(self, pattern: re.Pattern[str], *, wanted: bool, escapes: bool = False) -> str:
        if self._peek() == "$" and self._peek(1) == "{":
            return self._expression(wanted=wanted)
        text = self._take(pattern)
        return _ESCAPE.sub(lambda match: match[1] or match[2], text) if escapes else text

    def _name(self, start: int) -> str:
        begin = end = self._at
        text = self.text
        while end < len(text) and (
            text[end] == "_" or text[end].isalpha() or text[end].isdecimal()
        ):
            end += 1
        if end == begin:
            raise self._malformed("a variable name is missing", start)
        self._at = end
        return text[begin:end]

    def _operator(self, characters: str) -> str:
        begin = self._at
        while self._at - begin < 2 and self._peek() in set(characters):
            self._at += 1
        return self.text[begin : self._at]

    def _take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self.text, self._at)
        found = match[0] if match else ""
        self._at += len(found)
        return found

    def _peek(self, ahead: int = 0) -> str:
        """The next character, or ``""`` at the end."""
        return self.text[self._at + ahead : self._at + ahead + 1]

    def _malformed(self, problem: str, start: int) -> SubstitutionError:
        line = self.text.count("\n", 0, start) + 1
        return SubstitutionError(
            f"bad substitution in line {line} of the object's YAML: {problem}; write $${{ for a"
            " literal ${"
        )


def _without_prefix(text: str, pattern: str, *, greedy: bool) -> str:
    lengths = glob.prefix_lengths(pattern, text)
    try:
        length = max(lengths, default=0) if greedy else next(lengths, 0)
    except glob.BadPattern:
        return text
    return text[length:]


def _replaced_at_edge(value: str, old: str, new: str | None, *, at_end: bool) -> str:
    """Without a replacement nothing changes: an empty one is not possible here."""
    if new is None:
        return value
    if at_end:
        return value.removesuffix(old) + new if value.endswith(old) else value
    return new + value.removeprefix(old) if value.startswith(old) else value


def _each(text: str, change: Callable[[str], str]) -> str:
    """Case by single characters: what would become several stays as it is."""
    changed = change(text)
    if len(changed) == len(text):
        return changed
    return "".join(new if len(new := change(old)) == 1 else old for old in text)
