"""Label and field selectors, parsed as the API server parses them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from devcluster.errors import bad_request
from devcluster.fields.builtin.names import label_key, label_value

__all__ = ["FieldSelector", "LabelSelector", "parse_fields", "parse_labels", "parse_selector"]

_WORD = re.compile(r"\s*(!=|==|=|!|,|\(|\)|<|>|[^\s=!,()<>]+)")
_OPERATORS_ALONE = frozenset({"=", "==", "!=", "!", "(", ")", "<", ">"})
_INTEGER = re.compile(r"[+-]?\d+")
_BETWEEN_TERMS = re.compile(r"(?<!\\),")
_OPERATOR = re.compile(r"!=|==|=")
_SPECIAL = re.compile(r"\\.?|[,=]")


@dataclass(frozen=True, slots=True)
class Requirement:
    """One term; ``operator`` is one of in, notin, exists, absent, gt, lt."""

    key: str
    operator: str
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self.key)
        match self.operator:
            case "in":
                return value is not None and value in self.values
            case "notin":
                return value is None or value not in self.values
            case "exists":
                return value is not None
            case "absent":
                return value is None
            case _:
                return value is not None and self._compare(value)

    def _compare(self, value: str) -> bool:
        try:
            left, right = int(value), int(next(iter(self.values)))
        except ValueError:
            return False
        return left > right if self.operator == "gt" else left < right


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """A conjunction; an empty one matches everything."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str] | None) -> bool:
        present = labels or {}
        return all(requirement.matches(present) for requirement in self.requirements)

    def __bool__(self) -> bool:
        return bool(self.requirements)


class _Misplaced(ValueError):
    """A word between two requirements; the server says so without an introduction."""


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.words: list[str] = []
        at = 0
        while at < len(text.rstrip()):
            found = _WORD.match(text, at)
            if found is None:
                raise ValueError(f"unable to parse {text!r}")
            self.words.append(found.group(1))
            at = found.end()
        self.at = 0

    def peek(self) -> str:
        return self.words[self.at] if self.at < len(self.words) else ""

    def take(self) -> str:
        word = self.peek()
        self.at += 1
        return word

    def requirements(self) -> list[Requirement]:
        found: list[Requirement] = []
        if self.peek() in _OPERATORS_ALONE - {"!"} | {","}:
            raise _Misplaced(f"found '{self.peek()}', expected: !, identifier, or 'end of string'")
        while self.peek():
            found.append(self._requirement())
            word = self.take()
            if word and word != ",":
                raise _Misplaced(f"found '{word}', expected: ',' or 'end of string'")
            if word and (not self.peek() or self.peek() in _OPERATORS_ALONE - {"!"} | {","}):
                raise _Misplaced(f"found '{self.peek()}', expected: identifier after ','")
        return found

    def _requirement(self) -> Requirement:
        if self.peek() == "!":
            self.take()
            return Requirement(_key(self.take()), "absent")
        key = _key(self.take())
        operator = self.peek()
        if operator in {"", ","}:
            return Requirement(key, "exists")
        self.take()
        if operator in {"=", "==", "!="}:
            return Requirement(
                key, "notin" if operator == "!=" else "in", frozenset({_value(key, self._exact())})
            )
        if operator in {"in", "notin"}:
            return Requirement(key, operator, frozenset(self._values(key)))
        if operator in {"<", ">"}:
            bound = _integer(self._exact())
            return Requirement(key, "gt" if operator == ">" else "lt", frozenset({bound}))
        raise ValueError(f"found '{operator}', expected: in, notin, =, ==, !=, gt, lt")

    def _exact(self) -> str:
        value = "" if self.peek() in {"", ","} else self.take()
        if value in _OPERATORS_ALONE:
            raise ValueError(f"found '{value}', expected: identifier")
        return value

    def _values(self, key: str) -> list[str]:
        opening = self.take()
        if opening != "(":
            raise ValueError(f"found '{opening}' expected: '('")
        values: list[str] = []
        while True:
            word = self.take()
            if word == ")" and not values:
                return [""]
            if word == ",":
                values += [""] if not values or self.peek() in {",", ")"} else []
            elif word and word not in _OPERATORS_ALONE:
                values.append(_value(key, word))
                if self.peek() not in {",", ")"}:
                    raise ValueError(f"found '{self.peek()}', expected: ',' or ')'")
            else:
                raise ValueError(f"found '{word}', expected: ',', or identifier")
            if self.peek() == ")":
                self.take()
                return values


def _key(text: str) -> str:
    if not text or text in _OPERATORS_ALONE:
        raise ValueError(f"found '{text}', expected: identifier")
    problems = label_key(text)
    if problems:
        raise ValueError(f'<nil>: Invalid value: "{text}": {"; ".join(problems)}')
    return text


def _integer(text: str) -> str:
    if not _INTEGER.fullmatch(text):
        raise ValueError(
            f"values[0]: Invalid value: \"{text}\": for 'Gt', 'Lt' operators, the value must be"
            " an integer"
        )
    return text


def _value(key: str, text: str) -> str:
    problems = label_value(text)
    if problems:
        raise ValueError(f'values[0][{key}]: Invalid value: "{text}": {"; ".join(problems)}')
    return text


def parse_labels(text: str) -> LabelSelector:
    """Read ``labelSelector``; 400 when it cannot be parsed."""
    if not text.strip():
        return LabelSelector()
    try:
        return LabelSelector(tuple(_Parser(text).requirements()))
    except _Misplaced as error:
        raise bad_request(str(error)) from error
    except ValueError as error:
        raise bad_request(f"unable to parse requirement: {error}") from error


_OPERATORS = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "absent"}


def parse_selector(selector: Mapping[str, object] | None) -> LabelSelector:
    """Read a ``metav1.LabelSelector`` object; None selects nothing is the caller's matter."""
    selector = selector or {}
    labels = selector.get("matchLabels") or {}
    terms: list[Requirement] = []
    if isinstance(labels, Mapping):
        terms += [Requirement(str(k), "in", frozenset({str(v)})) for k, v in labels.items()]
    expressions = selector.get("matchExpressions") or ()
    if isinstance(expressions, Sequence):
        for term in expressions:
            terms.append(
                Requirement(
                    str(term["key"]),
                    _OPERATORS[str(term["operator"])],
                    frozenset(term.get("values") or ()),
                )
            )
    return LabelSelector(tuple(terms))


@dataclass(frozen=True, slots=True)
class FieldSelector:
    """Terms (path, must equal, value), all of which hold."""

    terms: tuple[tuple[str, bool, str], ...] = ()

    def matches(self, read: Callable[[str], str]) -> bool:
        return all((read(path) == value) is equal for path, equal, value in self.terms)

    def exact(self, path: str) -> str | None:
        """The value that ``path`` must equal, if a term says so."""
        for term, equal, value in self.terms:
            if equal and term == path:
                return value
        return None

    def __bool__(self) -> bool:
        return bool(self.terms)


def parse_fields(text: str) -> FieldSelector:
    """Read ``fieldSelector``; 400 when it cannot be parsed."""
    terms: list[tuple[str, bool, str]] = []
    for term in sorted(part for part in _BETWEEN_TERMS.split(text) if part):
        found = _OPERATOR.search(term)
        if found is None:
            raise bad_request(f"invalid selector: '{text}'; can't understand '{term}'")
        path, value = term[: found.start()], term[found.end() :]
        terms.append((path, found[0] != "!=", _unescape(value)))
    return FieldSelector(tuple(terms))


def _unescape(value: str) -> str:
    for found in _SPECIAL.finditer(value):
        if found[0] in {",", "="}:
            code = ord(found[0])
            raise bad_request(f"invalid field selector: unescaped character in value: {code}")
        if found[0] not in {"\\\\", "\\,", "\\="}:
            raise bad_request(f"invalid field selector: invalid escape sequence: {found[0]}")
    return _SPECIAL.sub(lambda found: found[0][1:], value)
