"""Real-world cases that lie beside the checkout, not in it.

``../shared/corpus/corpus-dev.tar.gz`` is third-party data. Tests that need it call ``require`` and
are skipped, with the reason, where it is absent. It is extracted once into the temporary folder.
"""

from __future__ import annotations

import fcntl
import os
import tarfile
import tempfile
from pathlib import Path

import pytest

__all__ = ["require"]

_ARCHIVE = Path(__file__).parents[3] / "shared" / "corpus" / "corpus-dev.tar.gz"


def require(*parts: str) -> Path:
    """The folder or file ``parts`` of the corpus; skips the test or module if it is absent."""
    if not _ARCHIVE.is_file():
        pytest.skip(f"the corpus is not there: {_ARCHIVE.name}", allow_module_level=True)
    stat = _ARCHIVE.stat()
    name = f"fluvial-corpus-{os.getuid()}-{stat.st_size}-{stat.st_mtime_ns}"
    folder = Path(tempfile.gettempdir()) / name
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            staging = Path(tempfile.mkdtemp(prefix=f"{name}-"))
            with tarfile.open(_ARCHIVE) as archive:
                archive.extractall(staging, filter="data")
            staging.rename(folder)
    return folder.joinpath(*parts)
