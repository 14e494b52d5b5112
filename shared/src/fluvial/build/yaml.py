"""YAML as Kubernetes reads it, at the speed of libyaml.

PyYAML's C parser delivers events; everything above them is ours, because its own loaders disagree
with Kubernetes on booleans, octals, sexagesimals, dates, merge keys and repeated anchors, and
follow alias bombs. Stricter than Kubernetes in one thing on purpose: a key that occurs twice is an
error, as it is in kustomize's manifests. What is read can always be written as JSON.

Limits: nesting 250 (what JSON encoders take), and aliases may not make up more of a document than
the Go library allows, nor repeat more than 32 Mi characters of text in a stream.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any, BinaryIO, Final, NamedTuple

import yaml as pyyaml
from yaml import _yaml

from fluvial.build import scalars
from fluvial.build.emit import dump
from fluvial.build.errors import YamlError

__all__ = ["MAX_DEPTH", "Reduce", "dump", "load_all", "load_first", "load_one"]

MAX_DEPTH: Final = 250

_TAG: Final = "tag:yaml.org,2002:"
_MERGE: Final = "<<"
_TAG_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "bool": (bool,),
    "int": (int,),
    "float": (float, int),
    "null": (type(None),),
}
_ALIASES_ALWAYS_FINE: Final = 100
_NODES_ALWAYS_FINE: Final = 1_000
_MAX_ALIASED_TEXT: Final = 32 * 1024**2


_Event = Any
"""An event of PyYAML. Its classes are compared by identity, which is what makes this fast."""


class Reduce(NamedTuple):
    """Makes something smaller of parts of a large document as soon as they have been read.

    Attributes:
        depth: of the mappings that are given; the document itself has 1.
        function: called with each that no anchor names; the result takes its place.

    """

    depth: int
    function: Callable[[dict[str, Any]], Any]


def load_all(data: bytes, *, source: str = "", unique_keys: bool = True) -> list[Any]:
    """All documents of a YAML stream, without empty ones.

    Args:
        data: UTF-8 or UTF-16 with a byte order mark; line ends of any system.
        source: name of the file for error messages.
        unique_keys: whether a key that occurs twice is an error; else the last one wins.

    Raises:
        YamlError: not YAML, or YAML that Kubernetes refuses; says the line.

    """
    composer = _Composer(data, source, unique_keys=unique_keys)
    return [document for document in composer.documents() if document is not None]


def load_first(data: bytes, *, source: str = "") -> Any:
    """The first document of a stream, ``None`` where it is empty; what follows it is not read.

    This is how Go's ``yaml.Unmarshal`` reads, of two equal keys the last one as well.

    Args:
        data: as for ``load_all``.
        source: likewise.

    Raises:
        YamlError: the first document is not YAML, or YAML that Kubernetes refuses.

    """
    documents = _Composer(data, source, unique_keys=False).documents(most=1)
    return documents[0] if documents else None


def load_one(data: bytes | BinaryIO, *, source: str = "", reduce: Reduce | None = None) -> Any:
    """The only document of a stream; ``None`` where there is none.

    Args:
        data: as for ``load_all``, or a file, of which only a block is in memory at a time.
        source: likewise.
        reduce: for documents that are too large to have in memory.

    Raises:
        YamlError: as ``load_all``, or there is more than one document.

    """
    composer = _Composer(data, source, unique_keys=True, reduce=reduce)
    documents = [document for document in composer.documents() if document is not None]
    if len(documents) > 1:
        raise YamlError(f"one document expected, {len(documents)} found", source=source)
    return documents[0] if documents else None


class _Composer:
    """Events to values, one document after the other."""

    def __init__(
        self,
        data: bytes | BinaryIO,
        source: str,
        *,
        unique_keys: bool,
        reduce: Reduce | None = None,
    ) -> None:
        self._reduce_depth = reduce.depth if reduce else 0
        self._reduce = reduce.function if reduce else _same
        self._source = source
        self._unique_keys = unique_keys
        self._anchors: dict[str, tuple[Any, int, int]] = {}
        """Value, nodes and characters by name."""
        self._characters = 0
        self._aliased_characters = 0
        self._nodes = 0
        self._aliased = 0
        self._depth = 0
        try:
            self._parser = _yaml.CParser(data)
        except pyyaml.YAMLError as error:
            raise self._from_library(error) from None

    def documents(self, *, most: int = 0) -> list[Any]:
        """The documents, or only the first so many of them."""
        found: list[Any] = []
        try:
            self._parser.get_event()
            while type(event := self._parser.get_event()) is not pyyaml.StreamEndEvent:
                found.append(self._document(event))
                if len(found) == most:
                    break
        except pyyaml.YAMLError as error:
            raise self._from_library(error) from None
        return found

    def _document(self, start: _Event) -> Any:
        if start.version not in (None, (1, 1)):
            raise self._error(start, "only YAML 1.1 is read: remove the %YAML line")
        self._anchors.clear()
        self._nodes = self._aliased = self._depth = 0
        value = self._node(self._parser.get_event())
        self._parser.get_event()
        if self._aliased:
            self._check_depth(start, value)
        return value

    def _node(self, event: _Event) -> Any:
        kind = type(event)
        if kind is pyyaml.ScalarEvent:
            return self._scalar(event)
        if kind is pyyaml.AliasEvent:
            return self._alias(event)
        before, characters = self._nodes, self._characters
        self._nodes += 1
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._error(event, f"nested deeper than {MAX_DEPTH} levels")
        value: Any
        if kind is not pyyaml.MappingStartEvent:
            value = self._sequence()
        else:
            value = self._mapping()
            if self._depth == self._reduce_depth and event.anchor is None:
                value = self._reduce(value)
        self._depth -= 1
        if event.anchor is not None:
            size = self._nodes - before, self._characters - characters
            self._anchors[event.anchor] = (value, *size)
        return value

    def _sequence(self) -> list[Any]:
        items = []
        next_event = self._parser.get_event
        while type(event := next_event()) is not pyyaml.SequenceEndEvent:
            items.append(self._node(event))
        return items

    def _mapping(self) -> dict[str, Any]:
        result: dict[str, Any] = {}
        explicit: set[str] = set()
        next_event = self._parser.get_event
        while type(event := next_event()) is not pyyaml.MappingEndEvent:
            if self._is_merge(event):
                self._nodes += 1
                self._merge(result, next_event())
                continue
            key = self._key(event)
            if key in explicit and self._unique_keys:
                raise self._error(event, f'key "{key}" is already set in this mapping')
            explicit.add(key)
            result[key] = self._node(next_event())
        return result

    def _key(self, event: _Event) -> str:
        if type(event) is pyyaml.ScalarEvent or type(event) is pyyaml.AliasEvent:
            key = self._node(event)
            if type(key) is str:
                return key
            if isinstance(key, bool | int | float):
                return scalars.key_text(key)
            if key is None:
                raise self._error(event, "a key must not be null")
        raise self._error(event, "a key must be a string, a number or a boolean")

    @staticmethod
    def _is_merge(event: _Event) -> bool:
        return (
            type(event) is pyyaml.ScalarEvent
            and event.value == _MERGE
            and (event.implicit[0] or event.tag == f"{_TAG}merge")
        )

    def _merge(self, result: dict[str, Any], event: _Event) -> None:
        """Later keys win, whether explicit or merged; in a list of mappings the first wins."""
        value = self._node(event)
        parts = value if type(event) is pyyaml.SequenceStartEvent else [value]
        for part in reversed(parts):
            if not isinstance(part, dict):
                raise self._error(event, "only mappings can be merged with <<")
            result.update(part)

    def _scalar(self, event: _Event) -> Any:
        self._nodes += 1
        text, tag = event.value, event.tag
        self._characters += len(text)
        value: Any
        if tag is not None:
            value = self._tagged(event, tag, text)
        elif not event.implicit[0] or (text and text[0] not in scalars.RESOLVABLE_FIRST):
            value = text
        else:
            value = self._plain(event, text)
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, 1, len(text))
        return value

    def _plain(self, event: _Event, text: str) -> Any:
        try:
            return scalars.plain(text)
        except scalars.UnrepresentableNumber as error:
            raise self._error(event, str(error)) from None

    def _tagged(self, event: _Event, tag: str, text: str) -> Any:
        name = tag.removeprefix(_TAG)
        if name == "binary":
            return self._binary(event, text)
        types = _TAG_TYPES.get(name)  # other tags change nothing
        if types is None:
            return text
        value = self._plain(event, text)
        if type(value) not in types:
            raise self._error(event, f"the value is not of the type that !!{name} says")
        return float(value) if name == "float" else value

    def _binary(self, event: _Event, text: str) -> str:
        try:
            return base64.b64decode("".join(text.split()), validate=True).decode(errors="replace")
        except ValueError:
            raise self._error(event, "!!binary is not followed by base64") from None

    def _alias(self, event: _Event) -> Any:
        try:
            value, size, characters = self._anchors[event.anchor or ""]
        except KeyError:
            raise self._error(event, f"anchor {event.anchor!r} is not defined before") from None
        self._nodes += size
        self._aliased += size
        self._characters += characters
        self._aliased_characters += characters
        if self._aliased_characters > _MAX_ALIASED_TEXT:
            raise self._error(event, "aliases repeat too much text")
        if (
            self._aliased > _ALIASES_ALWAYS_FINE
            and self._nodes > _NODES_ALWAYS_FINE
            and self._aliased / self._nodes > _alias_ratio(self._nodes)
        ):
            raise self._error(event, "the document consists of too many aliases")
        return _copy(value)

    def _check_depth(self, start: _Event, value: Any) -> None:
        level, depth = [value], 0
        while level := [child for item in level for child in _children(item)]:
            depth += 1
            if depth > MAX_DEPTH:
                raise self._error(start, f"nested deeper than {MAX_DEPTH} levels")

    def _error(self, event: _Event, problem: str) -> YamlError:
        return YamlError(problem, source=self._source, line=event.start_mark.line + 1)

    def _from_library(self, error: pyyaml.YAMLError) -> YamlError:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
        line = mark.line + 1 if mark is not None else 0
        return YamlError(str(problem).splitlines()[0], source=self._source, line=line)


def _same(value: dict[str, Any]) -> Any:
    return value


def _alias_ratio(nodes: int) -> float:
    """How much of a document may come from aliases: 99 % of a small one, 10 % of a huge one."""
    small, huge = 400_000, 4_000_000
    if nodes <= small:
        return 0.99
    if nodes >= huge:
        return 0.10
    return 0.99 - 0.89 * (nodes - small) / (huge - small)


def _children(value: Any) -> Any:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _copy(value: Any) -> Any:
    """Aliases are copies: whoever changes one place must not change another."""
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_copy(item) for item in value]
    return value
