"""What a bucket holds: which object has which content, and the digest of that."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping

from fluvial.artifact.digest import Digest, new_hasher
from fluvial.artifact.ignore import IGNORE_FILE, Matcher
from source_controller.bucket.stores.errors import StoreError, TooLarge
from source_controller.bucket.stores.model import Item, Limits, Store

__all__ = ["BadKey", "check_keys", "digest_of", "read_index"]

_MAX_NAME, _MAX_PATH = 255, 1024
_SHOWN = 100
_MAX_NAMES = 32 << 20  # bytes of all names together, which are kept in memory


class BadKey(StoreError):
    """An object whose name is no path in an archive, unless it is ignored."""


async def read_index(
    store: Store, prefix: str, matcher: Matcher, limits: Limits
) -> dict[str, Item]:
    """The objects that belong into the artifact, by key.

    Args:
        store: the bucket.
        prefix: of the keys.
        matcher: excludes keys.
        limits: of the list and of what it adds up to.

    Raises:
        BadKey: an object that is not ignored has a name that is no path.
        StoreError: as ``Store.pages``; or a limit is exceeded.

    """
    kept: dict[str, Item] = {}
    listed = total = names = 0
    async for page in store.pages(prefix):
        listed += len(page)
        chosen = await asyncio.to_thread(_choose, page, matcher)
        kept.update((item.key, item) for item in chosen)
        total += sum(item.size for item in chosen)
        names += sum(len(item.key.encode()) for item in chosen)
        if listed > limits.max_listed:
            raise TooLarge(f"the bucket has more than {limits.max_listed} objects")
        if len(kept) > limits.max_entries:
            raise TooLarge(f"more than {limits.max_entries} objects are not ignored")
        if names > _MAX_NAMES:
            raise TooLarge(f"the names of the objects have more than {_MAX_NAMES} bytes together")
        if total > limits.max_total:
            raise TooLarge(f"the objects have more than {limits.max_total} bytes together")
        for item in chosen:
            if item.size > limits.max_object:
                raise TooLarge(
                    f"object {_short(item.key)} has {item.size} bytes,"
                    f" more than {limits.max_object}"
                )
    await asyncio.to_thread(check_keys, kept)
    return kept


def digest_of(index: Mapping[str, Item], algorithm: str) -> Digest:
    """The digest of the lines ``<key> <etag>``, sorted by key: Flux' revision of a bucket."""
    hasher = new_hasher(algorithm)
    for key in sorted(index):
        hasher.update(f"{key} {index[key].etag}\n".encode())
    return Digest(algorithm, hasher.hexdigest())


def check_keys(keys: Collection[str]) -> None:
    """See to it that every key is the path of a file, and of no other's folder.

    Raises:
        BadKey: naming the first that is not.

    """
    folders: set[str] = set()
    for key in keys:
        problem = _problem(key)
        if problem:
            raise BadKey(f"object {_short(key)} cannot be a file: {problem}; rename or ignore it")
        folder = key.rpartition("/")[0]
        while folder and folder not in folders:
            folders.add(folder)
            folder = folder.rpartition("/")[0]
    for key in keys:
        if key in folders:
            raise BadKey(f"object {_short(key)} would be a file and a folder; rename or ignore it")


def _problem(key: str) -> str:
    if key.startswith("/"):
        return "its name begins with a slash"
    if "\\" in key or any(ord(char) < 32 or ord(char) == 127 for char in key):
        return "its name has a backslash or a control character"
    parts = key.split("/")
    if not {"", ".", ".."}.isdisjoint(parts):
        return "its name has a part that is empty, '.' or '..'"
    if any(len(part.encode()) > _MAX_NAME for part in parts) or len(key.encode()) > _MAX_PATH:
        return "its name is too long"
    return ""


def _choose(page: Iterable[Item], matcher: Matcher) -> list[Item]:
    return [
        item
        for item in page
        if not item.key.endswith("/")
        and item.key != IGNORE_FILE
        and not matcher.excludes(item.key, is_folder=False)
    ]


def _short(key: str) -> str:
    return repr(key if len(key) <= _SHOWN else f"{key[:_SHOWN]}...")
