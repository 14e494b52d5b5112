"""Taking a file from a worker, which may have been taken over by what it read.

A worker can put a link where its file should be, or in place of a folder on the way there, at any
moment. So the file is opened once, what was opened is compared with what was expected, and only
that is read.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from source_controller.helm.errors import InvalidChart

__all__ = ["handed"]


@contextmanager
def handed(work: Path, path: Path) -> Iterator[Path]:
    """A path that leads to the file of a worker and to no other; while the context is open.

    Args:
        work: a folder that no worker can change, above the file.
        path: where the file should be.

    Raises:
        InvalidChart: something else is there.
        OSError: nothing is there, or it cannot be read.

    """
    expected = work.resolve() / path.relative_to(work)
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = Path(f"/proc/self/fd/{descriptor}")
        is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
        if not is_file or found.readlink() != expected:
            raise InvalidChart("the worker left something else than a file")
        yield found
    finally:
        os.close(descriptor)
