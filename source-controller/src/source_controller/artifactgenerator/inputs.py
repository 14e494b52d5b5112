"""What an artifact is made of, as a digest: who has seen it before need not put it together again.

The digest is of the operations and of every file that they may read, those that are excluded
included: it may differ where the artifact would not, and never the other way round.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from fluvial.api.source_extensions import CopyOperation
from source_controller.artifactgenerator.patterns import BadPattern, has_wildcards
from source_controller.artifactgenerator.staging import split_alias
from source_controller.artifactgenerator.tree import Entry, SourceTree, UnsafePath, clean_path

__all__ = ["input_digest"]


def input_digest(operations: Sequence[CopyOperation], trees: Mapping[str, SourceTree]) -> str:
    """The digest, in hex; ``""`` where an operation cannot be done, so that it is tried.

    Args:
        operations: of one artifact.
        trees: the sources by alias.

    """
    hasher = hashlib.sha256()
    for operation in operations:
        hasher.update(msgspec.json.encode(operation))
        alias, path = split_alias(operation.from_)
        tree = trees.get(alias)
        if tree is None:
            return ""
        try:
            for entry in _read(tree, path, extracts=operation.strategy == "Extract"):
                name = os.fsencode(entry.path)
                digest = b"" if entry.is_folder else tree.file_digest(entry.path)
                hasher.update(b"%d:%s%d:%s" % (len(name), name, len(digest), digest))
        except (BadPattern, UnsafePath, OSError):
            return ""
    return hasher.hexdigest()


def _read(tree: SourceTree, path: str, *, extracts: bool) -> Iterator[Entry]:
    if has_wildcards(path):
        found = tree.match_deep(path) if extracts else tree.match(path)
    else:
        entry = tree.find(clean_path(path))
        found = [entry] if entry is not None else []
    for entry in found:
        yield entry
        if entry.is_folder and not extracts:
            yield from tree.walk(entry.path)
