"""Rendered files become hooks and a manifest, and a stored manifest becomes objects again.

A file is cut wherever a line begins with ``---``. A document with the annotation ``helm.sh/hook``
is a hook, or nothing at all where one of its events has a name that Helm does not know. All others
are the manifest, sorted by kind, each under the name of the template that it came from; documents
that are only comments stay in it as they are.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from fluvial.build import scalars, yaml
from fluvial.build.errors import YamlError
from fluvial.build.pace import Pace
from fluvial.helm.errors import ManifestError
from fluvial.helm.kinds import KindKey, install_key
from fluvial.helm.release import Hook
from fluvial.objects import JsonObject

__all__ = [
    "Document",
    "Sorted",
    "manifest_text",
    "objects_of",
    "sort_file_set",
    "sort_files",
    "split",
]

_SEPARATOR: Final = "---"
_AT_ONCE: Final = 32 * 1024
"""Characters of a document that are read on the loop: 3 to 4 ms; others are read in a thread."""

_SPACES: Final = " \t\n\v\f\r\u0085\u00a0"
_HOOK: Final = "helm.sh/hook"
_WEIGHT: Final = "helm.sh/hook-weight"
_DELETE_POLICY: Final = "helm.sh/hook-delete-policy"
_OUTPUT_LOG_POLICY: Final = "helm.sh/hook-output-log-policy"
_EVENTS: Final = {
    **{
        event: event
        for event in (
            "pre-install",
            "post-install",
            "pre-delete",
            "post-delete",
            "pre-upgrade",
            "post-upgrade",
            "pre-rollback",
            "post-rollback",
            "test",
        )
    },
    "test-success": "test",
}
_WHOLE: Final = re.compile(r"[-+]?[0-9]{1,18}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Document:
    """One document of the manifest.

    Attributes:
        path: the template that it came from.
        text: as it was rendered.
        kind: of the object in it, ``""`` where there is none.

    """

    path: str
    text: str = field(repr=False)
    kind: str


@dataclass(frozen=True, slots=True)
class Sorted:
    """Rendered files, taken apart.

    Attributes:
        hooks: by kind; those of an event still are to be sorted by weight.
        documents: by kind, in install order.
        dropped: templates whose hooks have events that nobody knows.

    """

    hooks: tuple[Hook, ...]
    documents: tuple[Document, ...]
    dropped: tuple[str, ...] = ()


class _Head(NamedTuple):
    kind: str
    name: str
    annotations: dict[str, str]


def split(text: str) -> list[str]:
    """The documents of a stream, without empty ones."""
    return list(_pieces(text))


def _pieces(text: str) -> Iterator[str]:
    """The documents one after the other, so that others can run in between."""
    start = len(text) - len(text.lstrip(_SPACES))
    if text.startswith(_SEPARATOR, start):
        start += len(_SEPARATOR)
    more = True
    while more:
        end = text.find(f"\n{_SEPARATOR}", start)
        more = end >= 0
        end = end + 1 if more else len(text)
        if piece := text[start:end].lstrip(_SPACES):
            yield piece
        start = end + len(_SEPARATOR)


def sort_files(files: Mapping[str, str], *, key: Callable[[str], KindKey] = install_key) -> Sorted:
    """Take rendered files apart; for charts of any size call ``sort_file_set``.

    Args:
        files: path to text, each of any number of documents; partials (``_name``) do not count.
        key: orders kinds: ``install_key`` or ``uninstall_key``.

    Raises:
        ManifestError: a document is not YAML, or not shaped like an object; names the template.

    """
    sorting = _Sorting(key)
    for path, text in _texts(files):
        sorting.add(path, text, _read(text, path))
    return sorting.finish()


async def sort_file_set(
    files: Mapping[str, str], *, key: Callable[[str], KindKey] = install_key
) -> Sorted:
    """Do the same as ``sort_files`` and let others run in between."""
    pace = Pace()
    sorting = _Sorting(key)
    for path, text in _texts(files):
        sorting.add(path, text, await _document(text, path))
        await pace.breathe()
    return sorting.finish()


def _texts(files: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Every document with its path, but those of partials."""
    for path in sorted(files):
        if not path.rpartition("/")[2].startswith("_"):
            yield from ((path, text) for text in _pieces(files[path]))


class _Sorting:
    """Rendered files being taken apart."""

    def __init__(self, key: Callable[[str], KindKey]) -> None:
        self._key = key
        self._hooks: list[Hook] = []
        self._documents: list[Document] = []
        self._dropped: list[str] = []

    def add(self, path: str, text: str, document: Any) -> None:
        head = _head(document, path)
        if _HOOK not in head.annotations:
            self._documents.append(Document(path, text, head.kind))
        elif (hook := _hook(text, path, head)) is not None:
            self._hooks.append(hook)
        else:
            self._dropped.append(path)

    def finish(self) -> Sorted:
        self._hooks.sort(key=lambda hook: self._key(hook.kind))
        self._documents.sort(key=lambda document: self._key(document.kind))
        return Sorted(tuple(self._hooks), tuple(self._documents), tuple(self._dropped))


def manifest_text(documents: Iterable[Document]) -> str:
    """The manifest as records have it: each document under the template that it came from."""
    return "".join(f"---\n# Source: {one.path}\n{one.text}\n" for one in documents)


async def objects_of(manifest: str, *, source: str = "the manifest") -> list[JsonObject]:
    """The objects in a stored manifest or a hook, in their order; lists are taken apart.

    Raises:
        ManifestError: a document is not an object.

    """
    pace = Pace()
    found: list[JsonObject] = []
    for text in _pieces(manifest):
        if (document := await _document(text, source)) is not None:
            found.extend(_flat(document, source))
        await pace.breathe()
    return found


async def _document(text: str, path: str) -> Any:
    """What is read of a document: nothing that comes after its end; a large one in a thread."""
    if len(text) <= _AT_ONCE:
        return _read(text, path)
    return await asyncio.to_thread(_read, text, path)


def _read(text: str, path: str) -> Any:
    try:
        return yaml.load_first(text.encode())
    except YamlError as error:
        line = f" (line {error.line} of the document)" if error.line else ""
        raise ManifestError(f"{path}: the text is not YAML{line}: {error.problem}") from None


def _flat(document: Any, source: str) -> list[JsonObject]:
    if not isinstance(document, dict):
        raise ManifestError(f"{source}: a document is not an object")
    kind = document.get("kind")
    if not document.get("apiVersion") or not kind:
        raise ManifestError(f"{source}: an object has no apiVersion or no kind")
    items = document.get("items", "")
    if str(kind).endswith("List") and isinstance(items, list | None):
        head = {"apiVersion": document["apiVersion"], "kind": str(kind).removesuffix("List")}
        named = [_with_head(item, head) for item in items or ()]
        return [each for item in named for each in _flat(item, source)]
    _check_metadata(document, source)
    return [document]


def _check_metadata(document: JsonObject, source: str) -> None:
    """Refuse what nobody could mark as a release's: items of lists were not looked at before."""
    metadata = document.get("metadata")
    parts = {"metadata": metadata}
    if isinstance(metadata, dict):
        parts |= {name: metadata.get(name) for name in ("labels", "annotations")}
    for name, part in parts.items():
        if not isinstance(part, dict | None):
            raise ManifestError(f"{source}: {name} of an object is not a map")


def _with_head(item: Any, head: JsonObject) -> Any:
    """An item of a list of one kind, which need not say which."""
    return {**head, **item} if isinstance(item, dict) and head["kind"] else item


def _head(document: Any, path: str) -> _Head:
    """The part of a document that decides what it is."""
    if document is None:
        document = {}
    if not isinstance(document, dict):
        raise ManifestError(f"{path}: a document is not an object")
    metadata = document.get("metadata")
    if metadata is None:
        metadata = {}
    if not isinstance(metadata, dict):
        raise ManifestError(f"{path}: metadata is not a map")
    annotations = metadata.get("annotations")
    if annotations is None:
        annotations = {}
    if not isinstance(annotations, dict):
        raise ManifestError(f"{path}: annotations are not a map")
    texts = {key: _string(value, path, "an annotation") for key, value in annotations.items()}
    return _Head(
        _string(document.get("kind"), path, "the kind"),
        _string(metadata.get("name"), path, "the name"),
        texts,
    )


def _string(value: Any, path: str, what: str) -> str:
    """A text; a number or boolean that was not quoted is taken as one, as by Helm."""
    if value is None:
        return ""
    if not isinstance(value, str | int | float):
        raise ManifestError(f"{path}: {what} is not a text")
    return scalars.key_text(value)


def _hook(text: str, path: str, head: _Head) -> Hook | None:
    """The hook in a document, or ``None`` where it has an event that nobody knows."""
    names = _words(head.annotations[_HOOK])
    if not set(names) <= _EVENTS.keys():
        return None
    weight = head.annotations.get(_WEIGHT, "")
    return Hook(
        name=head.name,
        kind=head.kind,
        path=path,
        manifest=text,
        events=tuple(_EVENTS[name] for name in names),
        weight=int(weight) if _WHOLE.fullmatch(weight) else 0,
        delete_policies=_policies(head, _DELETE_POLICY),
        output_log_policies=_policies(head, _OUTPUT_LOG_POLICY),
    )


def _policies(head: _Head, annotation: str) -> tuple[str, ...]:
    return _words(head.annotations[annotation]) if annotation in head.annotations else ()


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip(_SPACES).lower() for word in text.split(","))
