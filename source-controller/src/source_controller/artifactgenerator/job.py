"""The jobs that run in a worker process: users' patterns, archives and YAML on strangers' files."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from fluvial.api.source_extensions import CopyOperation
from fluvial.artifact import tar
from fluvial.artifact.ignore import DEFAULT_PATTERNS, VCS_PATTERNS, Matcher, Pattern
from fluvial.objects import JsonObject
from fluvial.workers import landlock
from fluvial.workers.errors import WorkerError
from source_controller.artifactgenerator import pathpattern
from source_controller.artifactgenerator.inputs import input_digest
from source_controller.artifactgenerator.staging import Staging, StagingError
from source_controller.artifactgenerator.tree import SourceTree

__all__ = ["Staged", "StagingJob", "content_filter", "run"]

_MAX_TREES = 8
_MATCHER = Matcher([Pattern.parse(line) for line in VCS_PATTERNS + DEFAULT_PATTERNS])


class StagingJob(msgspec.Struct, frozen=True, kw_only=True):
    """What ``stage`` is given.

    Attributes:
        work: the run's folder; ``staged`` in it becomes the artifact's content.
        readable: the folders of all trees of the generator, and nothing else's.
        trees: alias to folder.
        dropped_links: alias to the links that are not in its folder.
        copy: the operations.
        limits: of all that is written.

    """

    work: str
    readable: list[str]
    trees: dict[str, str]
    dropped_links: dict[str, list[str]]
    copy: list[CopyOperation]
    limits: tar.UnpackLimits


class DiscoveryJob(msgspec.Struct, frozen=True, kw_only=True):
    """What ``discover`` is given; the same, and the pattern without its alias."""

    work: str
    readable: list[str]
    tree: str
    pattern: str


class InputsJob(msgspec.Struct, frozen=True, kw_only=True):
    """What ``inputs`` is given; as ``StagingJob``, with the operations of several artifacts."""

    work: str
    readable: list[str]
    trees: dict[str, str]
    artifacts: list[list[CopyOperation]]


class Staged(msgspec.Struct, frozen=True, kw_only=True):
    """What was staged: a digest of everything that ``content_filter`` keeps."""

    hex: str


def run(method: str, payload: JsonObject) -> JsonObject:
    """The worker's target; ``method`` is ``stage``, ``inputs`` or ``discover``.

    Raises:
        WorkerError: code ``Refused``, for what the user has to change, or ``Storage``.

    """
    try:
        if method == "stage":
            return _stage(msgspec.convert(payload, StagingJob))
        if method == "inputs":
            return _inputs(msgspec.convert(payload, InputsJob))
        if method == "discover":
            return _discover(msgspec.convert(payload, DiscoveryJob))
    except (StagingError, pathpattern.PathPatternError) as error:
        raise WorkerError("Refused", str(error)) from error
    except OSError as error:
        raise WorkerError("Storage", f"files cannot be written: {error.strerror}") from error
    raise WorkerError("Internal", f"unknown method {method!r}")


def content_filter(path: str, is_folder: bool) -> bool:  # noqa: FBT001  # the shape tar.pack asks for
    """What goes into an artifact: all but the files that sources leave out by default."""
    return not _MATCHER.excludes(path, is_folder=is_folder)


def _stage(job: StagingJob) -> JsonObject:
    work = Path(job.work)
    _fence(work.parent, job.readable)
    staged, scratch = work / "staged", work / "scratch"
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir(mode=0o700)
    scratch.mkdir(mode=0o700, exist_ok=True)
    trees = _trees_of(job.trees, job.dropped_links)
    staging = Staging(staged, scratch=scratch, trees=trees, limits=job.limits)
    for operation in job.copy:
        staging.apply(operation)
    result: JsonObject = msgspec.to_builtins(Staged(hex=_content_digest(staged)))
    return result


def _inputs(job: InputsJob) -> JsonObject:
    _fence(Path(job.work).parent, job.readable)
    trees = _trees_of(job.trees, {})
    return {"digests": [input_digest(copy, trees) for copy in job.artifacts]}


def _trees_of(
    folders: Mapping[str, str], dropped_links: Mapping[str, Sequence[str]]
) -> dict[str, SourceTree]:
    return {alias: _tree(path, dropped_links.get(alias, ())) for alias, path in folders.items()}


def _discover(job: DiscoveryJob) -> JsonObject:
    _fence(Path(job.work).parent, job.readable)
    return {"found": pathpattern.discover(SourceTree(Path(job.tree)), job.pattern)}


def _tree(folder: str, dropped_links: Sequence[str]) -> SourceTree:
    """A source's tree, with what was listed and read of it for other artifacts.

    Folders are named by the digest of what is in them, so what was found stays true.
    """
    tree = _known_trees.pop(folder, None) or SourceTree(Path(folder))
    tree.dropped_links |= frozenset(dropped_links)
    _known_trees[folder] = tree
    if len(_known_trees) > _MAX_TREES:
        del _known_trees[next(iter(_known_trees))]
    return tree


def _content_digest(root: Path) -> str:
    """Over names, kinds, executable bits and contents of what is kept, in a fixed order."""
    hasher = hashlib.sha256()
    tree = SourceTree(root)
    for entry in tree.walk(""):
        if not content_filter(entry.path, entry.is_folder):
            continue
        name = os.fsencode(entry.path)
        digest = b"" if entry.is_folder else tree.file_digest(entry.path)
        hasher.update(b"%d:%s%d:%s" % (len(name), name, len(digest), digest))
    return hasher.hexdigest()


def _fence(folder: Path, readable: Sequence[str]) -> None:
    """Limit this process to its namespace's folder and these trees, at the first call, for good.

    Later calls have the same trees: see ``client``.
    """
    if _fenced:
        return
    os.umask(0o077)
    trees = (Path(path) for path in readable)
    landlock.fence(read=[*landlock.paths_of_libraries(), *trees], write=[folder])
    _fenced.append(folder)


_fenced: list[Path] = []
_known_trees: dict[str, SourceTree] = {}
