"""Files that the operator mounts into the controller; no path here ever comes from an object."""

from __future__ import annotations

import asyncio
from pathlib import Path

from fluvial.cloud.errors import NoIdentity

__all__ = ["read_file", "read_token_file"]

_MAX_BYTES = 64 << 10


async def read_file(path: str, *, what: str) -> bytes:
    """The content of a small file.

    Args:
        path: of the environment or of what it leads to.
        what: names the setting in messages; the path is not repeated.

    Raises:
        NoIdentity: it cannot be read.

    """
    try:
        data = await asyncio.to_thread(_read, path)
    except OSError as error:
        raise NoIdentity(f"the file of {what} cannot be read: {error.strerror}") from error
    if len(data) > _MAX_BYTES:
        raise NoIdentity(f"the file of {what} is too large")
    return data


async def read_token_file(path: str, *, what: str) -> str:
    """The token in a file, read anew each time: projected tokens are replaced.

    Raises:
        NoIdentity: it cannot be read, or holds no token.

    """
    try:
        token = (await read_file(path, what=what)).decode("ascii").strip()
    except UnicodeDecodeError:
        token = ""
    if not token or not token.isprintable():
        raise NoIdentity(f"the file of {what} holds no token")
    return token


def _read(path: str) -> bytes:
    with Path(path).open("rb") as file:
        return file.read(_MAX_BYTES + 1)
