"""Writes the files of a commit, without libgit2's checkout.

Bytes go out as they are in the repository: no filter, no line-ending conversion, no hook, no
``.git``. A tree is a stranger's: names that could leave the folder or touch a repository are
refused, and no file is ever written over or through anything that is there already.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fluvial.workers.errors import WorkerError
from source_controller.git.model import Limits
from source_controller.git.remote import Deadline

__all__ = ["Gitlink", "TreeWriter"]

_FOLDER, _GITLINK, _LINK, _PROGRAM = 0o040000, 0o160000, 0o120000, 0o100755
_IGNORABLE = re.compile("[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]")
_SHORT_NAME = re.compile(r"git~[0-9]+", re.IGNORECASE)
_MAX_DEPTH = 100
_MAX_LINK_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Gitlink:
    """A submodule's place and commit."""

    path: str
    commit: str


@dataclass(slots=True)
class TreeWriter:
    """Writes trees below ``root`` and counts what they cost.

    Attributes:
        root: folder that exists and that nobody else writes to.
        limits: what is refused.
        deadline: checked at every entry.
        sparse: folders to write; none means everything.

    """

    root: Path
    limits: Limits
    deadline: Deadline
    sparse: tuple[str, ...] = ()
    _bytes: int = field(default=0, init=False)
    _entries: int = field(default=0, init=False)

    def write(self, repo: Any, tree: Any, prefix: str = "") -> list[Gitlink]:
        """Write a tree; answers the submodules in it.

        Args:
            repo: the repository that has the tree.
            tree: a pygit2 tree.
            prefix: folder below the root where it goes, which exists; ``""`` for the root.

        Raises:
            WorkerError: code ``UnsafeRepository`` or ``RepositoryTooLarge``.

        """
        links: list[Gitlink] = []
        pending = [(prefix, tree)]
        while pending:
            folder, here = pending.pop()
            if folder.count("/") > _MAX_DEPTH:
                raise WorkerError("UnsafeRepository", "the repository's folders are too deep")
            for entry in here:
                name = _checked_name(entry.raw_name)
                path = f"{folder}/{name}" if folder else name
                mode = int(entry.filemode)
                self._count()
                if not self._is_wanted(path, is_folder=mode in {_FOLDER, _GITLINK}):
                    continue
                if mode in {_FOLDER, _GITLINK}:
                    self._make_folder(path)
                if mode == _FOLDER:
                    pending.append((path, repo[entry.id]))
                elif mode == _GITLINK:
                    links.append(Gitlink(path, str(entry.id)))
                else:
                    self._write_file(path, mode, repo[entry.id])
        return links

    def missing(self) -> Iterator[str]:
        """The sparse folders that the commit does not have."""
        for wanted in self.sparse:
            if wanted and not os.path.lexists(self.root / wanted):
                yield wanted

    def _count(self) -> None:
        self.deadline.check()
        self._entries += 1
        if self._entries > self.limits.max_entries:
            raise WorkerError(
                "RepositoryTooLarge", f"the commit has more than {self.limits.max_entries} entries"
            )

    def _is_wanted(self, path: str, *, is_folder: bool) -> bool:
        if not self.sparse or "" in self.sparse:
            return True
        for wanted in self.sparse:
            if path == wanted or path.startswith(f"{wanted}/"):
                return True
            if is_folder and wanted.startswith(f"{path}/"):
                return True
        return False

    def _make_folder(self, path: str) -> None:
        try:
            os.mkdir(os.fsencode(self.root) + b"/" + os.fsencode(path), 0o700)  # noqa: PTH102  # bytes, as above
        except OSError as error:
            raise _unsafe(path) from error

    def _write_file(self, path: str, mode: int, blob: Any) -> None:
        data: bytes = blob.data
        self._bytes += len(data)
        if len(data) > self.limits.max_file_bytes or self._bytes > self.limits.max_tree_bytes:
            raise WorkerError("RepositoryTooLarge", "the commit's files are too large")
        target = os.fsencode(self.root) + b"/" + os.fsencode(path)
        try:
            if mode == _LINK:
                if not data or b"\0" in data or len(data) > _MAX_LINK_BYTES:
                    raise _unsafe(path)
                os.symlink(data, target)  # noqa: PTH211  # bytes, which pathlib refuses
                return
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            permissions = 0o700 if mode == _PROGRAM else 0o600
            with os.fdopen(os.open(target, flags, permissions), "wb") as out:
                out.write(data)
        except FileExistsError as error:
            raise _unsafe(path) from error


def _checked_name(raw: bytes) -> str:
    """A name of one component that cannot reach ``.git`` on any file system.

    Refused are what Git itself refuses with ``core.protectHFS`` and ``core.protectNTFS``: names
    that a file system may take for ``.git`` by ignoring characters, case, or trailing dots.
    """
    name = os.fsdecode(raw)
    plain = _IGNORABLE.sub("", name).lower().split(":")[0].rstrip(". ")
    if (
        not name
        or name in {".", ".."}
        or "/" in name
        or "\\" in name
        or "\0" in name
        or plain == ".git"
        or _SHORT_NAME.fullmatch(plain)
        or len(raw) > 255
    ):
        raise _unsafe(name)
    return name


def _unsafe(path: str) -> WorkerError:
    return WorkerError("UnsafeRepository", f"unsafe path {ascii(path)[:200]} in the repository")
