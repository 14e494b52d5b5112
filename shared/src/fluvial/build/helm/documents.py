"""Rendered files as objects, and back, in the worker process.

Helm cuts a file at every line that starts with ``---``, whatever follows in it, because templates
leave line breaks out; and of two equal keys the last one counts. What has been read is written in
one style, which is that of kustomize.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from fluvial.build import yaml
from fluvial.build.errors import YamlError
from fluvial.build.helm.errors import TemplateFailed
from fluvial.objects import JsonObject

__all__ = ["Document", "annotate", "read_files", "write_files"]

Document = tuple[str, JsonObject]
"""The path of a rendered file and one object of it."""

_SEPARATOR: Final = re.compile(r"^---[ \t]*", re.MULTILINE)
_HOOK: Final = "helm.sh/hook"


def read_files(files: Mapping[str, str]) -> list[Document]:
    """Every object of every file, files in the order of their names; lists are taken apart.

    Raises:
        TemplateFailed: a file is not YAML, or a document in it no object.

    """
    return [
        (path, each)
        for path in sorted(files)
        for text in _SEPARATOR.split(files[path].lstrip())
        if text.strip()
        for each in _objects(text, path)
    ]


def annotate(
    documents: Iterable[Document],
    *,
    labels: Mapping[str, str],
    annotations: Mapping[str, str],
    hooks: bool,
) -> None:
    """Set labels and annotations on every object in place; on hooks only if ``hooks``."""
    for path, obj in documents:
        if not hooks and is_hook(obj):
            continue
        for name, values in (("labels", labels), ("annotations", annotations)):
            if values:
                metadata = _mapping(obj, "metadata", path)
                metadata[name] = {**_mapping(metadata, name, path), **values}


def is_hook(obj: JsonObject) -> bool:
    """Whether an object says that it is a hook; Helm then decides which."""
    metadata = obj.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    return isinstance(annotations, dict) and _HOOK in annotations


def write_files(documents: Iterable[Document]) -> dict[str, str]:
    """Files again, each with its objects in their order."""
    files: dict[str, list[str]] = {}
    for path, obj in documents:
        files.setdefault(path, []).append(yaml.dump(obj).decode())
    return {path: "---\n".join(texts) for path, texts in files.items()}


def _objects(text: str, path: str) -> Iterator[JsonObject]:
    try:
        found = yaml.load_all(text.encode(), unique_keys=False)
    except YamlError as error:
        raise TemplateFailed(f"YAML parse error on {path}: {error}") from error
    for obj in found:
        yield from _flat(obj, path)


def _flat(obj: Any, path: str) -> Iterator[JsonObject]:
    """The objects of a list, which may have lists in it, so that each can be labelled."""
    if not isinstance(obj, dict):
        raise TemplateFailed(f"YAML parse error on {path}: a document is no object")
    kind, items = str(obj.get("kind")), obj.get("items", "")
    if not kind.endswith("List") or not isinstance(items, list | None):
        yield obj
        return
    # What is in a list of one kind need not say which.
    head = {"apiVersion": obj.get("apiVersion"), "kind": kind.removesuffix("List")}
    for item in items or ():
        full = {**head, **item} if isinstance(item, dict) and head["kind"] else item
        yield from _flat(full, path)


def _mapping(parent: JsonObject, name: str, path: str) -> JsonObject:
    value = parent.get(name)
    if value is None:
        value = parent[name] = {}
    if not isinstance(value, dict):
        raise TemplateFailed(f"YAML parse error on {path}: {name} is not a mapping")
    return value
