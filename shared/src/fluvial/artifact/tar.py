"""Archives of artifacts: reproducible to write, safe to read.

``pack`` gives the same bytes for the same files: entries in lexical order, fixed modes, no owner,
no times. Only regular files and folders go in. Links are left out, and their names are recorded
in an extended header of the root entry, which other readers skip, so that whoever misses a file
later can be told why. ``unpack`` trusts nothing: names, types, sizes and counts are checked before
anything is written, and no link of any kind is ever made. Both block; run them in a thread.
"""

from __future__ import annotations

import gzip
import os
import shutil
import stat
import tarfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, cast

import orjson

from fluvial.artifact.digest import DEFAULT_ALGORITHM, Digest, Hasher, new_hasher
from fluvial.artifact.errors import ArtifactTooLarge, UnsafeArchive
from fluvial.artifact.threads import StopFlag

__all__ = ["Keep", "PackResult", "UnpackLimits", "UnpackResult", "pack", "unpack"]

Keep = Callable[[str, bool], bool]
"""``keep(path relative to the root, is folder)``: whether an entry goes into the archive."""

LINKS_HEADER = "FLUVIAL.links"
_MAX_RECORDED_LINKS = 1000
_MAX_HEADER = 1 << 20
_MAX_NAME = 255  # bytes of one component, as file systems have it
_BLOCK = 1 << 18
_FOLDER_MODE, _FILE_MODE, _PROGRAM_MODE = 0o750, 0o600, 0o700
_ANY_EXECUTE = 0o111


@dataclass(frozen=True, slots=True)
class PackResult:
    """A written archive: its size in bytes, its digest, and the links that were left out."""

    size: int
    digest: Digest
    dropped_links: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class UnpackLimits:
    """What an archive may hold; sizes in bytes, decompressed.

    Attributes:
        max_ratio: how many times its size an archive may grow beyond ``ratio_free`` bytes. Text
            grows ten times, manifests that are all alike a hundred; a bomb, a thousand.

    """

    max_bytes: int = 512 << 20
    max_file_bytes: int = 256 << 20
    max_entries: int = 200_000
    max_path_bytes: int = 4096
    max_depth: int = 100
    max_ratio: int = 400
    ratio_free: int = 64 << 20


@dataclass(frozen=True, slots=True)
class UnpackResult:
    """What was unpacked, and the links that were left out, here or at packing."""

    files: int
    size: int
    dropped_links: tuple[str, ...]


# --- writing -----------------------------------------------------------------------------------


class _Sink:
    """Counts and hashes what goes to a file."""

    def __init__(self, out: BinaryIO, hasher: Hasher) -> None:
        self._out = out
        self._hasher = hasher
        self.size = 0

    def write(self, data: bytes) -> int:
        self._hasher.update(data)
        self.size += len(data)
        return self._out.write(data)

    def flush(self) -> None:
        self._out.flush()


def pack(
    root: Path,
    out: BinaryIO,
    keep: Keep,
    *,
    algorithm: str = DEFAULT_ALGORITHM,
    max_bytes: int = 0,
    stop: StopFlag | None = None,
) -> PackResult:
    """Write the tar.gz of a folder.

    Args:
        root: the folder; nobody else may write to it meanwhile.
        out: where the bytes go.
        keep: called for every entry but the root; a folder that is not kept is still entered,
            because rules may include again what is below it.
        algorithm: of the digest.
        max_bytes: most bytes of files, 0 for no limit.
        stop: checked at each file.

    Raises:
        ArtifactTooLarge: the files exceed ``max_bytes``.
        InvalidDigest: the algorithm is not supported.

    """
    entries = sorted(_walk(root, keep), key=lambda entry: entry.path.split("/"))
    links = tuple(e.path for e in entries if stat.S_ISLNK(e.mode))
    hasher = new_hasher(algorithm)
    sink = _Sink(out, hasher)
    left = max_bytes
    with (
        gzip.GzipFile("", "wb", 6, cast("BinaryIO", sink), mtime=0) as zipped,
        tarfile.open(
            fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT, errors="surrogateescape"
        ) as archive,
    ):
        archive.addfile(_root_entry(links))
        for entry in entries:
            if stop is not None:
                stop.check()
            if stat.S_ISDIR(entry.mode):
                archive.addfile(_entry(entry.path, tarfile.DIRTYPE, _FOLDER_MODE))
            elif stat.S_ISREG(entry.mode):
                left -= _add_file(archive, root, entry)
                if max_bytes and left < 0:
                    raise ArtifactTooLarge(f"the content is larger than {max_bytes} bytes")
    return PackResult(sink.size, Digest(algorithm, hasher.hexdigest()), links)


@dataclass(frozen=True, slots=True)
class _Found:
    path: str
    mode: int


def _walk(root: Path, keep: Keep) -> Iterator[_Found]:
    pending = [""]
    while pending:
        folder = pending.pop()
        with os.scandir(root / folder) as found:
            for item in found:
                path = f"{folder}/{item.name}" if folder else item.name
                is_folder = item.is_dir(follow_symlinks=False)
                if is_folder:
                    pending.append(path)
                if keep(path, is_folder):
                    yield _Found(path, item.stat(follow_symlinks=False).st_mode)


def _entry(name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.mode = kind, mode
    return info


def _root_entry(links: tuple[str, ...]) -> tarfile.TarInfo:
    info = _entry(".", tarfile.DIRTYPE, _FOLDER_MODE)
    if links:
        shown = [_printable(link) for link in links[:_MAX_RECORDED_LINKS]]
        info.pax_headers = {LINKS_HEADER: orjson.dumps(shown).decode()}
    return info


def _printable(path: str) -> str:
    return path.encode(errors="surrogateescape").decode(errors="replace")


def _add_file(archive: tarfile.TarFile, root: Path, entry: _Found) -> int:
    descriptor = os.open(root / entry.path, os.O_RDONLY | os.O_NOFOLLOW)
    with os.fdopen(descriptor, "rb") as stream:
        info = _entry(
            entry.path,
            tarfile.REGTYPE,
            _PROGRAM_MODE if entry.mode & _ANY_EXECUTE else _FILE_MODE,
        )
        info.size = os.fstat(descriptor).st_size
        archive.addfile(info, stream)
        return info.size


# --- reading -----------------------------------------------------------------------------------


class _Member(tarfile.TarInfo):
    """Refuses headers that would be read into memory whole, however large they claim to be."""

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        is_header = self.type in _HEADER_TYPES
        if is_header and self.size > _MAX_HEADER:
            raise UnsafeArchive(f"an extended header claims {self.size} bytes")
        return cast(
            "tarfile.TarInfo",
            super()._proc_member(archive),  # type: ignore[misc]  # not public, tested
        )


_HEADER_TYPES = frozenset(
    {
        tarfile.XHDTYPE,
        tarfile.XGLTYPE,
        tarfile.SOLARIS_XHDTYPE,
        tarfile.GNUTYPE_LONGNAME,
        tarfile.GNUTYPE_LONGLINK,
    }
)


class _Inflater:
    """Decompresses a gzip stream and stops a bomb."""

    def __init__(self, stream: BinaryIO, limits: UnpackLimits) -> None:
        self._stream = stream
        self._begin = stream.tell()
        self._zipped = gzip.GzipFile(fileobj=stream, mode="rb")
        # Headers and padding come on top of the files: at most 2 KiB for each ordinary entry.
        self._limit = limits.max_bytes + limits.max_entries * 2048
        self._limits = limits
        self._read = 0

    def read(self, size: int = -1) -> bytes:
        data = self._zipped.read(min(size, _BLOCK) if size >= 0 else _BLOCK)
        self._read += len(data)
        if self._read > self._limit:
            raise ArtifactTooLarge(f"the archive holds more than {self._limit} bytes")
        taken = self._stream.tell() - self._begin
        if self._read > max(self._limits.ratio_free, taken * self._limits.max_ratio):
            raise ArtifactTooLarge(
                f"the archive grows more than {self._limits.max_ratio} times when decompressed"
            )
        return data


class _Unpacker:
    """State of one extraction; ``root`` exists and is empty."""

    def __init__(self, root: Path, limits: UnpackLimits) -> None:
        self._root = root
        self._limits = limits
        self._entries = 0
        self.files = 0
        self.size = 0
        self.dropped: list[str] = []

    def add(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        self._entries += 1
        if self._entries > self._limits.max_entries:
            raise ArtifactTooLarge(f"the archive has more than {self._limits.max_entries} entries")
        path = self._checked_path(member.name)
        if member.issym() or member.islnk():
            if len(self.dropped) < _MAX_RECORDED_LINKS:
                self.dropped.append(path)
        elif member.isdir():
            self._note_links(member)
            self._make_folder(path)
        elif member.isreg():
            self._write_file(archive, member, path)
        else:
            raise UnsafeArchive(f"entry {path!r} is neither a file nor a folder")

    def _checked_path(self, name: str) -> str:
        if not name or name.startswith("/") or "\\" in name or "\0" in name:
            raise UnsafeArchive(f"unsafe name {name[:200]!r} in the archive")
        parts = [part for part in name.split("/") if part not in {"", "."}]
        if ".." in parts:
            raise UnsafeArchive(f"unsafe name {name[:200]!r} in the archive")
        path = "/".join(parts)
        if (
            len(path.encode(errors="surrogateescape")) > self._limits.max_path_bytes
            or len(parts) > self._limits.max_depth
            or any(len(part.encode(errors="surrogateescape")) > _MAX_NAME for part in parts)
        ):
            raise UnsafeArchive(f"name {name[:200]!r} in the archive is too long or too deep")
        return path

    def _note_links(self, member: tarfile.TarInfo) -> None:
        recorded = member.pax_headers.get(LINKS_HEADER)
        if not recorded or member.name not in {".", "./"}:
            return
        try:
            links = orjson.loads(recorded)
        except ValueError:
            return
        if isinstance(links, list):
            self.dropped += [str(link) for link in links[:_MAX_RECORDED_LINKS]]

    def _make_folder(self, path: str) -> None:
        try:
            (self._root / path).mkdir(mode=0o700, parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise UnsafeArchive(f"entry {path!r} is a file and a folder") from None

    def _write_file(self, archive: tarfile.TarFile, member: tarfile.TarInfo, path: str) -> None:
        if member.size > self._limits.max_file_bytes:
            raise ArtifactTooLarge(f"{path!r} has {member.size} bytes")
        self.size += member.size
        if self.size > self._limits.max_bytes:
            raise ArtifactTooLarge(f"the archive holds more than {self._limits.max_bytes} bytes")
        parent, _, _ = path.rpartition("/")
        self._make_folder(parent)
        target = self._root / path
        if not path or target.is_dir():
            raise UnsafeArchive(f"entry {path!r} is a file and a folder")
        target.unlink(missing_ok=True)
        mode = 0o700 if member.mode & _ANY_EXECUTE else 0o600
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with os.fdopen(os.open(target, flags, mode), "wb") as out:
            content = cast("IO[bytes]", archive.extractfile(member))
            shutil.copyfileobj(content, out, _BLOCK)
            if out.tell() != member.size:
                raise UnsafeArchive(f"{path!r} is cut short")
        self.files += 1


def unpack(
    stream: BinaryIO, root: Path, limits: UnpackLimits, *, stop: StopFlag | None = None
) -> UnpackResult:
    """Extract a tar.gz into a new folder.

    Modes are 0700 for folders and programs and 0600 for other files, times are now. Symbolic and
    hard links are left out and named in the result. Of two entries with one name the later wins.

    Args:
        stream: the archive; it knows its position.
        root: must not exist; its parent must. Left as it is after an error: remove it.
        limits: what is allowed.
        stop: checked at each entry.

    Raises:
        UnsafeArchive: damaged, or an entry that escapes, or that is a device, pipe or socket.
        ArtifactTooLarge: a limit is exceeded, told before the excess is written.

    """
    root.mkdir(mode=0o700)
    unpacker = _Unpacker(root, limits)
    source = _Inflater(stream, limits)
    try:
        with tarfile.open(
            fileobj=cast("BinaryIO", source),
            mode="r|",
            tarinfo=_Member,
            errors="surrogateescape",
        ) as archive:
            for member in archive:
                if stop is not None:
                    stop.check()
                unpacker.add(archive, member)
                archive.members.clear()  # type: ignore[attr-defined]  # bounds memory
        while source.read():  # the rest, so that the checksum of the gzip stream is verified
            pass
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, ValueError) as error:
        raise UnsafeArchive(f"the archive is damaged: {error}") from error
    except RecursionError as error:  # tarfile follows one header to the next by calling itself
        raise UnsafeArchive("the archive has too many extended headers in a row") from error
    return UnpackResult(unpacker.files, unpacker.size, tuple(unpacker.dropped))
