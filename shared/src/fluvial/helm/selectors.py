"""Which objects a rule is about: anchored patterns on names and kinds, selectors on labels.

Patterns are the user's and run on RE2, in linear time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import re2

from fluvial.api.kustomize import Selector
from fluvial.helm.errors import HelmError
from fluvial.objects import JsonObject, annotations_of, gvk_of, key_of, labels_of

__all__ = ["InvalidSelector", "ObjectMatcher", "parse_selector"]

Requirement = Callable[[Mapping[str, str]], bool]

_KEY: Final = r"[A-Za-z0-9][A-Za-z0-9._/-]*"
_VALUE: Final = r"[A-Za-z0-9._-]*"
_SET: Final = re.compile(rf"({_KEY})\s+(in|notin)\s*\(([^()]*)\)", re.ASCII)
_COMPARED: Final = re.compile(rf"({_KEY})\s*(==|=|!=|>|<)\s*({_VALUE})", re.ASCII)
_EXISTS: Final = re.compile(rf"(!?)\s*({_KEY})", re.ASCII)
_PARTS: Final = re.compile(r"(?:[^,()]|\([^()]*\))+")
_WHOLE: Final = re.compile(r"-?[0-9]{1,18}", re.ASCII)
_MAX_MEMORY: Final = 1 << 20


class InvalidSelector(HelmError):
    """A pattern or selector cannot be read; the spec must change."""


@dataclass(frozen=True, slots=True)
class ObjectMatcher:
    """One selector, made ready.

    Attributes:
        patterns: by ``group``, ``version``, ``kind``, ``name``, ``namespace``.
        labels: what the labels must fulfil.
        annotations: what the annotations must fulfil.

    """

    patterns: tuple[tuple[str, Any], ...]
    labels: tuple[Requirement, ...]
    annotations: tuple[Requirement, ...]

    @classmethod
    def of(cls, selector: Selector | None) -> ObjectMatcher:
        """Make a selector ready; without one every object is meant.

        Raises:
            InvalidSelector: a pattern or selector cannot be read.

        """
        if selector is None:
            return cls((), (), ())
        names = ("group", "version", "kind", "name", "namespace")
        patterns = [(name, str(getattr(selector, name))) for name in names]
        return cls(
            tuple((name, _pattern(text, name)) for name, text in patterns if text),
            parse_selector(selector.label_selector),
            parse_selector(selector.annotation_selector),
        )

    def matches(self, obj: JsonObject) -> bool:
        """Whether an object is meant."""
        gvk, key = gvk_of(obj), key_of(obj)
        parts = {
            "group": gvk.group,
            "version": gvk.version,
            "kind": gvk.kind,
            "name": key.name,
            "namespace": key.namespace,
        }
        return (
            all(pattern.fullmatch(parts[name]) for name, pattern in self.patterns)
            and all(holds(labels_of(obj)) for holds in self.labels)
            and all(holds(annotations_of(obj)) for holds in self.annotations)
        )


def _pattern(text: str, name: str) -> Any:
    options = re2.Options()
    options.max_mem = _MAX_MEMORY
    options.log_errors = False
    try:
        return re2.compile(text, options=options)
    except re2.error:
        raise InvalidSelector(f"target.{name} is not a regular expression: {text[:100]}") from None


def parse_selector(text: str) -> tuple[Requirement, ...]:
    """Read a selector as ``kubectl -l`` takes it: ``a=b,c!=d,e in (f,g),h,!i``.

    Raises:
        InvalidSelector: it is none.

    """
    stripped = text.strip()
    if not stripped:
        return ()
    parts = [part.strip() for part in _PARTS.findall(stripped)]
    if ",".join(parts) != re.sub(r"\s*,\s*(?![^()]*\))", ",", stripped):
        raise InvalidSelector(f"not a selector: {text[:100]}")
    return tuple(_requirement(part) for part in parts)


def _requirement(part: str) -> Requirement:
    if found := _SET.fullmatch(part):
        key, values = found[1], frozenset(one.strip() for one in found[3].split(","))
        if found[2] == "in":
            return lambda labels: labels.get(key) in values
        return lambda labels: labels.get(key) not in values
    if found := _COMPARED.fullmatch(part):
        return _compared(found[1], found[2], found[3])
    if found := _EXISTS.fullmatch(part):
        key, wanted = found[2], not found[1]
        return lambda labels: (key in labels) is wanted
    raise InvalidSelector(f"not a selector: {part[:100]}")


def _compared(key: str, operator: str, value: str) -> Requirement:
    if operator in {"=", "=="}:
        return lambda labels: labels.get(key) == value
    if operator == "!=":
        return lambda labels: labels.get(key) != value
    if not _WHOLE.fullmatch(value):
        raise InvalidSelector(f"not a number: {value[:100]}")
    bound, sign = int(value), 1 if operator == ">" else -1
    return lambda labels: _is_beyond(labels.get(key), bound, sign)


def _is_beyond(text: str | None, bound: int, sign: int) -> bool:
    return text is not None and bool(_WHOLE.fullmatch(text)) and sign * (int(text) - bound) > 0
