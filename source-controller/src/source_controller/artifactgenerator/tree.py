"""The files of a source, as copy operations look for them.

A tree has folders and regular files only: links are left out where artifacts are made and where
they are unpacked. Blocks; for workers.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fluvial.errors import FluvialError
from source_controller.artifactgenerator.patterns import DeepPattern, PlainName, literal_folder

__all__ = ["Entry", "SourceTree", "UnsafePath", "clean_path"]

_MAX_NAME, _MAX_PATH = 255, 3072
_BLOCK = 1 << 20


class UnsafePath(FluvialError):
    """A path leaves its root, or is none that a file system takes."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or folder below the root of a tree; ``""`` is the root."""

    path: str
    is_folder: bool


def clean_path(path: str) -> str:
    """A relative path without ``.``, ``..`` and doubled slashes; ``""`` for the root.

    Raises:
        UnsafePath: it is absolute, leaves its root, is too long or has a NUL.

    """
    if path.startswith("/") or "\0" in path:
        raise UnsafePath(f"path {path[:100]!r} is not relative")
    cleaned = posixpath.normpath(path) if path else "."
    names = cleaned.split("/")
    if names[0] == "..":
        raise UnsafePath(f"path {path[:100]!r} leads out of its root")
    if len(cleaned) > _MAX_PATH or any(len(os.fsencode(name)) > _MAX_NAME for name in names):
        raise UnsafePath(f"path {path[:64]!r}... is too long")
    return "" if cleaned == "." else cleaned


class SourceTree:
    """One source's tree. What was listed once is remembered.

    Args:
        root: of the tree; nobody changes it meanwhile.
        dropped_links: links that the source had, which are not in the tree.

    """

    def __init__(self, root: Path, dropped_links: Sequence[str] = ()) -> None:
        self.root = root
        self.dropped_links = frozenset(dropped_links)
        self._listed: dict[str, tuple[Entry, ...]] = {}
        self._digests: dict[str, bytes] = {}

    def find(self, path: str) -> Entry | None:
        """The entry at a clean path, or ``None``."""
        if not path:
            return Entry("", is_folder=True)
        parent, _, name = path.rpartition("/")
        if parent and ((above := self.find(parent)) is None or not above.is_folder):
            return None
        return next((e for e in self.entries(parent) if e.path.rpartition("/")[2] == name), None)

    def entries(self, folder: str) -> tuple[Entry, ...]:
        """What is in a folder, by name."""
        found = self._listed.get(folder)
        if found is None:
            prefix = f"{folder}/" if folder else ""
            with os.scandir(self.root / folder) as items:
                found = tuple(
                    Entry(prefix + item.name, item.is_dir(follow_symlinks=False))
                    for item in sorted(items, key=lambda item: item.name)
                    if not item.is_symlink()
                )
            self._listed[folder] = found
        return found

    def file_digest(self, path: str) -> bytes:
        """Of a file's content, and of whether it can be executed."""
        found = self._digests.get(path)
        if found is None:
            hasher = hashlib.sha256()
            with (self.root / path).open("rb") as stream:
                is_program = bool(os.fstat(stream.fileno()).st_mode & 0o100)
                hasher.update(b"x" if is_program else b"f")
                while block := stream.read(_BLOCK):
                    hasher.update(block)
            found = self._digests[path] = hasher.digest()
        return found

    def walk(self, folder: str) -> Iterator[Entry]:
        """Everything below a folder, each folder before what is in it."""
        pending = list(reversed(self.entries(folder)))
        while pending:
            entry = pending.pop()
            yield entry
            if entry.is_folder:
                pending += reversed(self.entries(entry.path))

    def match(self, pattern: str) -> list[Entry]:
        """What a plain pattern means, name by name.

        Raises:
            BadPattern: it is malformed.

        """
        names = [PlainName(name) for name in pattern.split("/")]
        found = [Entry("", is_folder=True)]
        for name in names:
            found = [
                entry
                for above in found
                if above.is_folder
                for entry in self.entries(above.path)
                if self._is_meant(name, entry.path.rpartition("/")[2])
            ]
        return found

    @staticmethod
    def _is_meant(wanted: PlainName, name: str) -> bool:
        return name == wanted.literal if wanted.literal is not None else wanted.matches(name)

    def match_deep(self, pattern: str) -> list[Entry]:
        """What a deep pattern means; the root is never meant.

        Raises:
            BadPattern: it is malformed.

        """
        wanted = DeepPattern(pattern)
        above = literal_folder(pattern)
        start = self.find(above)
        if start is None or not start.is_folder:
            return []
        return [entry for entry in self.walk(above) if wanted.matches(entry.path)]
