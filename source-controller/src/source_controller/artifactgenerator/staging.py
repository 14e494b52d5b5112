"""One artifact's content, put together from the trees of sources: copy operations like ``cp``.

Everything that is written stays below the target, counts against the limits of an artifact, also
what a later operation overwrites, and is a folder or a regular file. Blocks; for workers.
"""

from __future__ import annotations

import posixpath
import shutil
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fluvial.api.source_extensions import CopyOperation
from fluvial.artifact import tar
from fluvial.artifact.errors import ArtifactError
from fluvial.errors import FluvialError
from source_controller.artifactgenerator import merging
from source_controller.artifactgenerator.patterns import (
    BadPattern,
    DeepPattern,
    has_wildcards,
    literal_folder,
)
from source_controller.artifactgenerator.tree import Entry, SourceTree, UnsafePath, clean_path

__all__ = ["Staging", "StagingError", "split_alias"]

_TARBALLS = (".tar.gz", ".tgz")
_ANY_EXECUTE = 0o111


class StagingError(FluvialError):
    """An operation cannot be done; the text says which one and why."""


def split_alias(text: str) -> tuple[str, str]:
    """``@alias/path`` as alias and path."""
    alias, _, path = text.removeprefix("@").partition("/")
    return alias, path


@dataclass(frozen=True, slots=True)
class _Operation:
    """A copy operation, checked.

    Attributes:
        pattern: the path in the source, as it is written.
        base: what excludes are relative to, beside the root.
        target: clean path in the artifact.
        into: the target is a folder to copy into.

    """

    spec: CopyOperation
    tree: SourceTree
    pattern: str
    excludes: tuple[tuple[str, DeepPattern], ...]
    target: str
    into: bool

    def leaves_out(self, path: str, base: str) -> bool:
        """Whether a path in the source is excluded."""
        if self._is_excluded(path):
            return True
        return (
            bool(base) and path.startswith(f"{base}/") and self._is_excluded(path[len(base) + 1 :])
        )

    def _is_excluded(self, path: str) -> bool:
        name = path.rpartition("/")[2]
        return any(
            pattern.matches(path) or (not pattern.has_slash and pattern.matches(name))
            for _, pattern in self.excludes
        )


class Staging:
    """A folder that becomes an artifact.

    Args:
        root: exists, is empty, and is nobody else's.
        scratch: a folder on the same file system that exists, for what is unpacked.
        trees: the sources by alias.
        limits: of all that is written.

    """

    def __init__(
        self,
        root: Path,
        *,
        scratch: Path,
        trees: Mapping[str, SourceTree],
        limits: tar.UnpackLimits,
    ) -> None:
        self._root = root
        self._scratch = scratch
        self._trees = trees
        self._limits = limits
        self._bytes = 0
        self._entries = 0
        self._unpacked = 0

    def apply(self, spec: CopyOperation) -> None:
        """Do one operation.

        Raises:
            StagingError: see there; what was copied so far stays.

        """
        try:
            operation = self._checked(spec)
            if has_wildcards(operation.pattern):
                self._copy_matches(operation)
            else:
                self._copy_named(operation)
        except OSError as error:
            detail = error.strerror or type(error).__name__
            raise StagingError(f"cannot copy {spec.from_!r} to {spec.to!r}: {detail}") from error
        except (BadPattern, UnsafePath, StagingError, ArtifactError, merging.NotMergeable) as error:
            raise StagingError(f"cannot copy {spec.from_!r} to {spec.to!r}: {error}") from error

    def _checked(self, spec: CopyOperation) -> _Operation:
        alias, pattern = split_alias(spec.from_)
        tree = self._trees.get(alias)
        if tree is None:
            raise StagingError(f"there is no source with the alias {alias!r}")
        root, target = split_alias(spec.to)
        if not spec.to.startswith("@artifact/") or root != "artifact":
            raise StagingError("the destination does not begin with '@artifact/'")
        return _Operation(
            spec=spec,
            tree=tree,
            pattern=pattern,
            excludes=tuple((text, DeepPattern(text)) for text in spec.exclude),
            target=clean_path(target),
            into=spec.to.endswith("/"),
        )

    # --- what is meant ---------------------------------------------------------------------------

    def _copy_named(self, operation: _Operation) -> None:
        """A file or folder by its path."""
        path = clean_path(operation.pattern)
        found = operation.tree.find(path)
        if found is None:
            is_link = path in operation.tree.dropped_links
            why = "is a link, which artifacts leave out" if is_link else "is not in the source"
            raise StagingError(f"{path!r} {why}")
        if found.is_folder:
            if operation.spec.strategy == "Extract":
                raise StagingError(f"{path!r} is a folder, which cannot be extracted")
            name = posixpath.basename(path)
            self._copy_folder(operation, path, _join(operation.target, name), base=path)
        elif not operation.leaves_out(path, ""):
            self._copy_named_file(operation, path)

    def _copy_named_file(self, operation: _Operation, path: str) -> None:
        if operation.spec.strategy == "Extract":
            if not _is_tarball(path):
                raise StagingError(f"{path!r} is no tarball (.tar.gz or .tgz)")
            self._extract(operation, path)
            return
        target = operation.target
        if operation.into or (self._root / target).is_dir():
            target = _join(target, posixpath.basename(path))
        self._put_file(operation, path, target)

    def _copy_matches(self, operation: _Operation) -> None:
        """All that a pattern matches."""
        extracts = operation.spec.strategy == "Extract"
        tree, pattern = operation.tree, operation.pattern
        matches = tree.match_deep(pattern) if extracts else tree.match(pattern)
        if not matches:
            raise StagingError("no file of the source matches")
        base = literal_folder(pattern)
        kept = [entry for entry in matches if not operation.leaves_out(entry.path, base)]
        if not kept:
            raise StagingError("every file that matches is excluded")
        for entry in kept:
            if extracts:
                if not entry.is_folder and _is_tarball(entry.path):
                    self._extract(operation, entry.path)
            else:
                self._copy_match(operation, entry, base)

    def _copy_match(self, operation: _Operation, entry: Entry, base: str) -> None:
        folder = operation.pattern.removesuffix("/**")
        below = entry.path
        if folder != operation.pattern and below.startswith(f"{folder}/"):
            below = below[len(folder) + 1 :]  # only what is in the folder, as in `cp -r folder/*`
        target = _join(operation.target, below)
        if entry.is_folder:
            self._copy_folder(operation, entry.path, target, base=base)
        else:
            self._put_file(operation, entry.path, target)

    # --- writing ---------------------------------------------------------------------------------

    def _copy_folder(self, operation: _Operation, path: str, target: str, *, base: str) -> None:
        self._make_folder(target)
        for entry in operation.tree.entries(path):
            if operation.leaves_out(entry.path, base):
                continue
            below = _join(target, posixpath.basename(entry.path))
            if entry.is_folder:
                self._copy_folder(operation, entry.path, below, base=base)
            else:
                self._copy_file(operation.tree.root / entry.path, below)

    def _put_file(self, operation: _Operation, path: str, target: str) -> None:
        """One file that the operation itself means."""
        source = operation.tree.root / path
        existing = self._root / target
        if operation.spec.strategy != "Merge" or not existing.exists():
            self._copy_file(source, target)
            return
        if existing.is_dir():
            raise StagingError(f"{target!r} is a folder in the artifact")
        merged = merging.merge_files(
            _read(existing, target), _read(source, path), names=(target, path)
        )
        self._count(len(merged), entries=0)
        existing.write_bytes(merged)

    def _copy_file(self, source: Path, target: str) -> None:
        status = source.stat(follow_symlinks=False)
        if not stat.S_ISREG(status.st_mode):
            raise StagingError(f"{source.name!r} is no regular file")
        self._count(status.st_size, entries=1)
        destination = self._place(target)
        shutil.copyfile(source, destination, follow_symlinks=False)
        destination.chmod(0o700 if status.st_mode & _ANY_EXECUTE else 0o600)

    def _extract(self, operation: _Operation, path: str) -> None:
        self._unpacked += 1
        folder = self._scratch / f"unpacked-{self._unpacked}"
        left = tar.UnpackLimits(
            max_bytes=self._limits.max_bytes - self._bytes,
            max_file_bytes=self._limits.max_file_bytes,
            max_entries=self._limits.max_entries - self._entries,
        )
        try:
            with (operation.tree.root / path).open("rb") as stream:
                result = tar.unpack(stream, folder, left)
            if result.dropped_links:
                raise StagingError(f"{path!r} has a link, {result.dropped_links[0]!r}")
            self._make_folder(operation.target)
            for entry in SourceTree(folder).walk(""):
                target = _join(operation.target, entry.path)
                if entry.is_folder:
                    self._make_folder(target)
                else:
                    file = folder / entry.path
                    self._count(file.stat().st_size, entries=1)
                    file.replace(self._place(target))
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _place(self, target: str) -> Path:
        """Where a file goes; its folders are made."""
        parent, _, name = target.rpartition("/")
        if not name:
            raise StagingError("the destination is a folder")
        self._make_folder(parent)
        place = self._root / target
        if place.is_dir():
            raise StagingError(f"{target!r} is a folder in the artifact")
        return place

    def _make_folder(self, path: str) -> None:
        folder = self._root / path
        if folder.is_dir():
            return
        self._count(0, entries=1)
        clean_path(path)  # what is joined may have become too long
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise StagingError(f"{path!r} is a file in the artifact") from None

    def _count(self, size: int, *, entries: int) -> None:
        self._bytes += size
        self._entries += entries
        if size > self._limits.max_file_bytes:
            raise StagingError(f"a file has more than {self._limits.max_file_bytes} bytes")
        if self._bytes > self._limits.max_bytes:
            raise StagingError(f"more than {self._limits.max_bytes} bytes are copied")
        if self._entries > self._limits.max_entries:
            raise StagingError(f"more than {self._limits.max_entries} files are copied")


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder and name else folder or name


def _is_tarball(path: str) -> bool:
    return path.lower().endswith(_TARBALLS)


def _read(path: Path, name: str) -> bytes:
    with path.open("rb") as stream:
        data = stream.read(merging.MAX_BYTES + 1)
    if len(data) > merging.MAX_BYTES:
        raise StagingError(f"{name!r} has more than {merging.MAX_BYTES} bytes, too many to merge")
    return data
