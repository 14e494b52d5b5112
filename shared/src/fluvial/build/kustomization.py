"""Kustomization files as they are found: three names, fields in any case.

kustomize matches field names without regard to case, so ``Resources:`` is as good as
``resources:``. Whoever reads or changes a file does it through ``field`` and ``put`` and so meets
the field that the author wrote.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from fluvial.build import yaml
from fluvial.build.errors import KustomizeError, RefusedInput
from fluvial.objects import JsonObject

__all__ = [
    "FILE_NAMES",
    "MAX_BYTES",
    "REMOTE_HINT",
    "dropped_link_in",
    "field",
    "file_in",
    "is_remote",
    "items",
    "put",
    "read",
]

FILE_NAMES: Final = ("kustomization.yaml", "kustomization.yml", "Kustomization")
"""Names in the order in which they are looked for."""

MAX_BYTES: Final = 8 * 1024**2
"""Of one kustomization file."""

REMOTE_HINT: Final = (
    "builds do not fetch anything: copy it into the repository, or make it a source"
    " (GitRepository or OCIRepository) of its own with a Kustomization"
)

_REMOTE_STARTS: Final = (
    *("http://", "https://", "ssh://", "git://", "file://", "ftp://"),
    *("git::", "hg::", "s3::", "gcs::", "gh:", "git@", "github.com/", "github.com:"),
)
_REMOTE_PARTS: Final = ("?ref=", "?version=", "&ref=", ".git/", ".git//", ".git?", "/_git/", "://")


def file_in(folder: Path) -> Path | None:
    """The kustomization file of a folder, if it has one that is no link."""
    for name in FILE_NAMES:
        file = folder / name
        if file.is_file() and not file.is_symlink():
            return file
    return None


def read(file: Path, *, source: str) -> JsonObject:
    """The content of a kustomization file; an empty one is an empty mapping.

    Args:
        file: an existing file.
        source: its name for messages, relative to the artifact's root.

    Raises:
        YamlError: not YAML.
        KustomizeError: not a mapping.
        RefusedInput: larger than any that a person wrote.

    """
    if file.stat().st_size > MAX_BYTES:
        raise RefusedInput(f"{source}: larger than {MAX_BYTES // 1024**2} MiB")
    # kustomize takes the last of two equal keys here, though not in manifests.
    documents = yaml.load_all(file.read_bytes(), source=source, unique_keys=False)
    content = documents[0] if documents else {}
    if not isinstance(content, dict):
        raise KustomizeError(f"{source}: a kustomization is a mapping of fields")
    return content


def field(mapping: JsonObject, name: str) -> Any:
    """The value of a field, in whatever case it is written; ``None`` where it is not.

    Raises:
        KustomizeError: it is written twice in different cases.

    """
    key = _key(mapping, name)
    return None if key is None else mapping[key]


def put(mapping: JsonObject, name: str, value: Any) -> None:
    """Set a field under the name that the author used, or its own; ``None`` removes it."""
    key = _key(mapping, name)
    if value is not None:
        mapping[name if key is None else key] = value
    elif key is not None:
        del mapping[key]


def items(mapping: JsonObject, name: str, *, source: str) -> list[Any]:
    """A list field's own list, or a new list that is not yet in the mapping.

    Raises:
        KustomizeError: the field is not a list.

    """
    value = field(mapping, name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise KustomizeError(f"{source}: {name} must be a list")
    return value


def is_remote(entry: str) -> bool:
    """Whether an entry that is no local path names something elsewhere."""
    lowered = entry.lower()
    return (
        lowered.startswith(_REMOTE_STARTS)
        or any(part in lowered for part in _REMOTE_PARTS)
        or lowered.endswith(".git")
    )


def dropped_link_in(path: str, dropped_links: Sequence[str]) -> str | None:
    """The dropped link that ``path`` is, or leads through."""
    return next(
        (link for link in dropped_links if path == link or path.startswith(f"{link}/")), None
    )


def _key(mapping: JsonObject, name: str) -> str | None:
    folded = name.casefold()
    found = [key for key in mapping if key.casefold() == folded]
    if len(found) > 1:
        # The program would take one of them; the scan must not look at the other.
        raise KustomizeError(f"the fields {' and '.join(found)} are the same field")
    return found[0] if found else None
