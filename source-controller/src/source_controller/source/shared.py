"""Files that several objects' artifacts are names of."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from pathlib import Path

from fluvial.artifact import tar

__all__ = ["SharedFile"]


@dataclass(frozen=True, slots=True, weakref_slot=True)
class SharedFile:
    """A finished file; it is there as long as this value is. Made by ``of``.

    Attributes:
        file: not to be written to.
        packed: its size and digest.
        written: when it was written, in nanoseconds.

    """

    file: Path
    packed: tar.PackResult
    written: int

    @classmethod
    def of(cls, file: Path, packed: tar.PackResult) -> SharedFile:
        """A file that was just finished."""
        made = cls(file, packed, file.stat().st_mtime_ns)
        weakref.finalize(made, file.unlink, missing_ok=True)
        return made

    def is_whole(self) -> bool:
        """Whether nobody touched the file, which has names where others might."""
        try:
            found = self.file.stat()
        except OSError:
            return False
        return (found.st_size, found.st_mtime_ns) == (self.packed.size, self.written)
