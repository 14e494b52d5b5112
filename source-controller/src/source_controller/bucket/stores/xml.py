"""Answers in XML: elements and texts, nothing else.

A document type, and with it every entity, is refused before anything of it is read; depth and
number of elements are bounded. The caller bounds the bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.parsers import expat  # what makes XML unsafe is refused below

from source_controller.bucket.stores.errors import InvalidAnswer

__all__ = ["Element", "parse"]

_MAX_DEPTH = 16
_MAX_ELEMENTS = 100_000


@dataclass(slots=True)
class Element:
    """One element: its name without namespace, its text, its children."""

    name: str
    text: str = ""
    children: list[Element] = field(default_factory=list)

    def all(self, *path: str) -> Iterator[Element]:
        """The elements at a path of names, in order."""
        if not path:
            yield self
            return
        for child in self.children:
            if child.name == path[0]:
                yield from child.all(*path[1:])

    def value(self, *path: str) -> str:
        """The text of the first element at a path, ``""`` if there is none."""
        return next((found.text for found in self.all(*path)), "")


def parse(data: bytes) -> Element:
    """The root of a document. Blocks: call it in a thread for more than some KiB.

    Raises:
        InvalidAnswer: it is not XML, or has a document type, or is too deep or too long.

    """
    builder = _Builder()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = _refuse
    parser.EntityDeclHandler = _refuse
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.characters
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, ValueError) as error:
        raise InvalidAnswer("the answer is not valid XML") from error
    return builder.root.children[0]


def _refuse(*_: object) -> None:
    raise InvalidAnswer("the answer has a document type, which none should")


class _Builder:
    def __init__(self) -> None:
        self.root = Element("")
        self._open = [self.root]
        self._texts: list[list[str]] = [[]]
        self._count = 0

    def start(self, name: str, _: dict[str, str]) -> None:
        self._count += 1
        if len(self._open) > _MAX_DEPTH or self._count > _MAX_ELEMENTS:
            raise InvalidAnswer("the answer has more elements than any should")
        element = Element(name.rpartition(":")[2])
        self._open[-1].children.append(element)
        self._open.append(element)
        self._texts.append([])

    def end(self, _: str) -> None:
        self._open.pop().text = "".join(self._texts.pop())

    def characters(self, text: str) -> None:
        self._texts[-1].append(text)
