"""Files that several objects' artifacts are names of."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field
from pathlib import Path

from fluvial.artifact import tar

__all__ = ["SharedFile"]


@dataclass(frozen=True, slots=True, weakref_slot=True)
class SharedFile:
    """A file that was just finished; it is there as long as this value is.

    What kinds know of their files beside this are fields of subclasses.

    Attributes:
        file: not to be written to.
        packed: its size and digest.
        written: when it was written, in nanoseconds.

    """

    file: Path
    packed: tar.PackResult
    written: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "written", self.file.stat().st_mtime_ns)
        weakref.finalize(self, self.file.unlink, missing_ok=True)

    def is_whole(self) -> bool:
        """Whether nobody touched the file, which has names where others might."""
        try:
            found = self.file.stat()
        except OSError:
            return False
        return (found.st_size, found.st_mtime_ns) == (self.packed.size, self.written)
