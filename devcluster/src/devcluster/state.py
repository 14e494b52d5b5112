"""A cluster in one file: how it is written, and what is refused when it is read.

The file is text: a line with format and version, a line with what is not an object (the revision,
the port, keys and the admin's token), one line for each object, and a last line with the SHA-256 of
all lines before it. It holds private keys, so it is for its owner's eyes only (mode 0600).

It is replaced as a whole: written beside, flushed to the disk, renamed. A crash at any moment
leaves the previous file or the new one. A lock on a file beside it keeps a second process out.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO, Any

import orjson

from devcluster.store import Row, row_of
from fluvial.errors import FluvialError

__all__ = ["Saved", "StateError", "StateFile", "decode", "encode"]

_FORMAT = "devcluster-state"
_VERSION = 1
_BATCH = 256  # objects that are written and summed at a time
_OBJECT = b',"object":'
TableName = tuple[str, str]


class StateError(FluvialError):
    """A state file that cannot be used; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Saved:
    """Everything that outlives a process.

    Attributes:
        revision: the store's.
        port: where the server listened; 0 if it never did.
        admin_token: of ``system:masters``.
        authority: certificate and key of the CA, PEM.
        token_key: the key that signs service account tokens, PEM.
        rows: every object with the name of its table.

    """

    revision: int
    port: int
    admin_token: str = field(repr=False)
    authority: tuple[bytes, bytes] = field(repr=False)
    token_key: bytes = field(repr=False)
    rows: list[tuple[TableName, Row]] = field(repr=False)


def encode(saved: Saved) -> Iterator[bytes]:
    """The file's content, a few hundred objects at a time."""
    digest = hashlib.sha256()
    for part in _parts(saved):
        digest.update(part)
        yield part
    yield orjson.dumps({"sha256": digest.hexdigest()}) + b"\n"


def _parts(saved: Saved) -> Iterator[bytes]:
    head = {"format": _FORMAT, "version": _VERSION}
    own = {
        "revision": saved.revision,
        "port": saved.port,
        "adminToken": saved.admin_token,
        "certificate": base64.b64encode(saved.authority[0]).decode(),
        "key": base64.b64encode(saved.authority[1]).decode(),
        "tokenKey": base64.b64encode(saved.token_key).decode(),
        "objects": len(saved.rows),
    }
    yield orjson.dumps(head) + b"\n" + orjson.dumps(own) + b"\n"
    rows = iter(saved.rows)
    while batch := list(islice(rows, _BATCH)):
        yield b"".join(_line(name, row) for name, row in batch)


def _line(name: TableName, row: Row) -> bytes:
    head = orjson.dumps({"table": name, "metaEnd": row.meta_end})
    return head[:-1] + _OBJECT + row.body + b"}\n"


def decode(data: bytes) -> Saved:
    """Read a file's content.

    Raises:
        StateError: it is none, of another version, or damaged.

    """
    first, _, _ = data.partition(b"\n")
    _check_head(first)
    at = data.rfind(b"\n", 0, len(data) - 1) + 1
    if _json(data[at:]).get("sha256") != hashlib.sha256(data[:at]).hexdigest():
        raise StateError("is damaged: its checksum does not fit")
    _, own_line, *lines = data[: at - 1].split(b"\n")
    own = _json(own_line)
    rows = [_row(line) for line in lines]
    if len(rows) != own["objects"]:
        raise StateError(f"is damaged: {len(rows)} objects instead of {own['objects']}")
    return Saved(
        revision=own["revision"],
        port=own["port"],
        admin_token=own["adminToken"],
        authority=(base64.b64decode(own["certificate"]), base64.b64decode(own["key"])),
        token_key=base64.b64decode(own["tokenKey"]),
        rows=rows,
    )


def _check_head(line: bytes) -> None:
    head = _json(line)
    if head.get("format") != _FORMAT:
        raise StateError("is no state of devcluster")
    if head.get("version") != _VERSION:
        raise StateError(f"is of version {head.get('version')}, this devcluster reads {_VERSION}")


def _json(line: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def _row(line: bytes) -> tuple[TableName, Row]:
    at = line.index(_OBJECT)
    head = orjson.loads(line[:at] + b"}")
    group, plural = head["table"]
    return (group, plural), row_of(line[at + len(_OBJECT) : -1], head["metaEnd"])


class StateFile:
    """One file and the lock beside it.

    Args:
        path: the file; its folder must exist.

    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen = b""  # the sum of what has been read or written last
        self._lock: IO[bytes] | None = None

    def read(self) -> Saved | None:
        """What was saved; None when there is no file yet.

        Raises:
            StateError: the file cannot be used.

        """
        try:
            with self.path.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                data = file.read()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StateError(f"{self.path} cannot be read: {error.strerror}") from error
        if mode & 0o077:
            raise StateError(f"{self.path} holds keys and others can read it: chmod 600 it")
        try:
            saved = decode(data)
        except StateError as error:
            raise StateError(
                f"{self.path} {error}; move it away to start with an empty cluster"
            ) from error
        self._seen = _last_line(data)
        return saved

    def lock(self) -> None:
        """Keep others out until ``unlock``.

        Raises:
            StateError: another process has it, or has had it since ``read``.

        """
        path = self.path.with_name(self.path.name + ".lock")
        try:
            lock = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "rb+")
        except OSError as error:
            raise StateError(f"{path} cannot be opened: {error.strerror}") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.close()
            raise StateError(f"{self.path} is in use by another process") from error
        self._lock = lock
        if self._on_disk() != self._seen:
            self.unlock()
            raise StateError(f"{self.path} has been changed by another process: start again")

    def unlock(self) -> None:
        """Let others have it."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    @property
    def locked(self) -> bool:
        """Whether it is ours."""
        return self._lock is not None

    def _on_disk(self) -> bytes:
        try:
            with self.path.open("rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - 256))
                return _last_line(file.read())
        except FileNotFoundError:
            return b""

    def write(self, saved: Saved) -> None:
        """Replace the file. Blocks for as long as the disk takes.

        Raises:
            OSError: it could not be written; the old file is as it was.

        """
        beside = self.path.with_name(self.path.name + ".tmp")
        last = b""
        with os.fdopen(os.open(beside, _CREATE, 0o600), "wb") as file:
            os.fchmod(file.fileno(), 0o600)
            for part in encode(saved):
                file.write(part)
                last = part
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self.path)
        self._seen = last
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


_CREATE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC


def _last_line(data: bytes) -> bytes:
    return data[data.rfind(b"\n", 0, len(data) - 1) + 1 :]
