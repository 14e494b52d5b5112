"""YAML files merged as Helm merges files of values."""

from __future__ import annotations

from typing import Any

from fluvial.build import yaml
from fluvial.build.errors import YamlError
from fluvial.errors import FluvialError

__all__ = ["MAX_BYTES", "NotMergeable", "merge_files"]

MAX_BYTES = 4 << 20
"""Of each file."""


class NotMergeable(FluvialError):
    """A file is not YAML, or has something else than mappings."""


def merge_files(base: bytes, overlay: bytes, *, names: tuple[str, str]) -> bytes:
    """One document with both: mappings are merged, anything else of ``overlay`` replaces.

    The documents of a file with several are merged first, in their order. Keys come out sorted,
    comments are lost, and ``null`` stays: it is for whoever reads the values to drop a key.

    Args:
        base: the file that is there.
        overlay: the file that is copied over it.
        names: of the two, for messages.

    Raises:
        NotMergeable: see there; says which file, and which line.

    """
    merged = _merge(_read(base, names[0]), _read(overlay, names[1]))
    return yaml.dump(_sorted(merged))


def _read(data: bytes, name: str) -> dict[str, Any]:
    try:
        documents = yaml.load_all(data, source=name, unique_keys=False)
    except YamlError as error:
        raise NotMergeable(str(error)) from error
    result: dict[str, Any] = {}
    for document in documents:
        if not isinstance(document, dict):
            raise NotMergeable(f"{name}: a document is not a mapping")
        result = _merge(result, document)
    return result


def _merge(base: dict[str, Any], overlay: dict[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in overlay.items():
        old = result.get(key)
        nested = isinstance(value, dict) and isinstance(old, dict)
        result[key] = _merge(old, value) if nested else value  # type: ignore[arg-type]  # nested says so
    return result


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [_sorted(item) for item in value]
    return value
