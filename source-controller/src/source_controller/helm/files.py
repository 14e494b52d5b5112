"""The files of a chart, read from where nothing can be taken for granted. Runs in a worker.

An archive is unpacked by the same rules as any other; a folder is read with its ``.helmignore``,
and a link in it counts only if it stays inside the source.
"""

from __future__ import annotations

import os
import shutil
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from fluvial.artifact import tar
from fluvial.artifact.errors import ArtifactError
from source_controller.helm.errors import InvalidChart
from source_controller.helm.ignoring import FILE, HelmIgnore

__all__ = ["MAX_FILE", "MAX_TOTAL", "Files", "read_archive", "read_folder"]

Files = dict[str, bytes]
"""Content by path, relative to the chart."""

MAX_FILE = 5 << 20
MAX_TOTAL = 100 << 20
_MAX_ENTRIES = 20_000
_MAX_DEPTH = 100


def read_archive(stream: BinaryIO, scratch: Path, *, max_file: int = MAX_FILE) -> Files:
    """The files of a packaged chart.

    Args:
        stream: a tar.gz whose entries are all below one folder, whatever its name.
        scratch: a folder that is made, and gone afterwards.
        max_file: bytes of one file.

    Raises:
        InvalidChart: it is damaged or unsafe, breaks a limit, or has a file beside its folder.
        OSError: the disk is full.

    """
    limits = tar.UnpackLimits(
        max_bytes=MAX_TOTAL,
        max_file_bytes=max_file,
        max_entries=_MAX_ENTRIES,
        max_depth=_MAX_DEPTH,
    )
    try:
        tar.unpack(stream, scratch, limits)
        files: Files = {}
        for base in sorted(scratch.iterdir()):
            if not base.is_dir():
                raise InvalidChart(f"the file {_shown(base.name)} is outside of the chart's folder")
            files |= _Reader(base, base, HelmIgnore(""), max_file).everything(rules=False)
        return files
    except ArtifactError as error:
        raise InvalidChart(str(error)) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def read_folder(root: Path, chart: Path, *, max_file: int = MAX_FILE) -> Files:
    """The files of a chart in a source that ``.helmignore`` does not leave out.

    Args:
        root: of the source; no link may leave it.
        chart: a folder in it.
        max_file: bytes of one file.

    Raises:
        InvalidChart: a link leads out, an entry is neither file nor folder, or a limit is broken.
        OSError: a file cannot be read.

    """
    rules = chart / FILE
    text = ""
    if rules.exists():
        target = _inside(root, rules)
        if not target.is_file() or target.stat().st_size > max_file:
            raise InvalidChart(f"{FILE} is no file, or too large")
        text = target.read_text(errors="replace")
    return _Reader(root, chart, HelmIgnore(text), max_file).everything(rules=True)


@dataclass(slots=True)
class _Reader:
    root: Path
    chart: Path
    ignore: HelmIgnore
    max_file: int
    files: Files = field(default_factory=dict)
    size: int = 0
    entries: int = 0

    def everything(self, *, rules: bool) -> Files:
        self._folder(self.chart, "", 0, rules=rules)
        return self.files

    def _folder(self, folder: Path, prefix: str, depth: int, *, rules: bool) -> None:
        if depth > _MAX_DEPTH:
            raise InvalidChart("the chart is nested too deeply")
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
        for entry in entries:
            self.entries += 1
            if self.entries > _MAX_ENTRIES:
                raise InvalidChart(f"the chart has more than {_MAX_ENTRIES} entries")
            path = prefix + entry.name
            actual = _inside(self.root, Path(entry.path)) if entry.is_symlink() else entry
            target = Path(actual)
            mode = target.lstat().st_mode
            is_folder = stat.S_ISDIR(mode)
            if rules and self.ignore.leaves_out(path, is_folder=is_folder):
                continue
            if is_folder:
                self._folder(target, f"{path}/", depth + 1, rules=rules)
            elif stat.S_ISREG(mode):
                self._file(target, path)
            else:
                raise InvalidChart(f"{_shown(path)} is neither a file nor a folder")

    def _file(self, target: Path, path: str) -> None:
        size = target.lstat().st_size
        self.size += size
        if size > self.max_file:
            raise InvalidChart(f"{_shown(path)} has more than {self.max_file} bytes")
        if self.size > MAX_TOTAL:
            raise InvalidChart(f"the chart has more than {MAX_TOTAL} bytes")
        descriptor = os.open(target, os.O_RDONLY | os.O_NOFOLLOW)
        with os.fdopen(descriptor, "rb") as stream:
            self.files[path] = stream.read(self.max_file + 1)


def _inside(root: Path, path: Path) -> Path:
    """Where a path leads, links followed.

    Raises:
        InvalidChart: nowhere, or out of the root.

    """
    try:
        target = path.resolve(strict=True)
        target.relative_to(root.resolve(strict=True))
    except (OSError, RuntimeError):
        raise InvalidChart(f"the link {_shown(path.name)} leads nowhere") from None
    except ValueError:
        raise InvalidChart(f"the link {_shown(path.name)} leads out of the source") from None
    return target


def _shown(name: str) -> str:
    return repr(name[:200].encode(errors="surrogateescape").decode(errors="replace"))
