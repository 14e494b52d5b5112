"""A look at every kustomization that a build will reach, before it is built.

The kernel is the fence; this gives the message. A remote base, a file that is not there because
it was a link, a path out of the artifact: each is named with the file that asks for it and with
what to do, where the program would answer with a chain of nested errors. Where the kernel has no
fence, whatever could name a file in a way that is not understood here is refused. What is reached
is also all that has to be copied.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from fluvial.build import kustomization
from fluvial.build.errors import DroppedLink, KustomizeError, RefusedInput
from fluvial.build.generate import RootKustomization
from fluvial.objects import JsonObject

__all__ = ["scan"]

_MAX_KUSTOMIZATIONS: Final = 10_000
_FOLDERS_OR_FILES: Final = ("resources", "bases", "components")
_PLUGINS: Final = ("generators", "transformers", "validators")
_FILES: Final = ("configurations", "crds")
_PATCHES: Final = ("patches", "patchesJson6902", "replacements")
_MAPS: Final = ("configMapGenerator", "secretGenerator")
_HELM: Final = ("helmCharts", "helmChartInflationGenerator", "helmGlobals")
_NOT_WITHOUT_FENCE: Final = (*_PLUGINS, "crds", "openapi")


def scan(
    tree: Path, start: RootKustomization, *, dropped_links: Sequence[str] = (), fenced: bool
) -> frozenset[str] | None:
    """Check a root kustomization and all that it reaches.

    Args:
        tree: the artifact's files; a real path. Symbolic links in it count as missing.
        start: where the build starts.
        dropped_links: links that were left out of the artifact, relative to its root.
        fenced: whether the kernel keeps the build inside its root.

    Returns:
        The files that the build needs, relative to ``tree``; ``None`` if it may need any, because
        a transformer or generator is configured in a way that is not understood here.

    Raises:
        RefusedInput: something remote, outside the artifact, made by Helm, or (without a fence)
            of a kind that can name any file.
        DroppedLink: a file or folder that is needed was a link.
        KustomizeError: a file or folder that is needed is not there.
        YamlError: a kustomization is not YAML.

    """
    walk = _Walk(tree, tuple(dropped_links), fenced=fenced)
    walk.run(start)
    return frozenset(walk.needed) if walk.is_complete else None


@dataclass(slots=True)
class _Walk:
    tree: Path
    dropped_links: tuple[str, ...]
    fenced: bool = field(kw_only=True)
    needed: set[str] = field(default_factory=set)
    is_complete: bool = True
    _seen: set[str] = field(default_factory=set)
    _pending: list[str] = field(default_factory=list)

    def run(self, start: RootKustomization) -> None:
        self._seen.add(start.folder)
        self._kustomization(_Place(start.folder, start.file), start.content)
        while self._pending:
            if len(self._seen) > _MAX_KUSTOMIZATIONS:
                raise RefusedInput(f"the build reaches more than {_MAX_KUSTOMIZATIONS} folders")
            self._folder(self._pending.pop())

    def _folder(self, folder: str) -> None:
        file = kustomization.file_in(self.tree / folder)
        if file is None:
            raise KustomizeError(f"{folder}: there is no {', '.join(kustomization.FILE_NAMES)}")
        source = file.relative_to(self.tree).as_posix()
        self._kustomization(_Place(folder, source), kustomization.read(file, source=source))

    def _kustomization(self, place: _Place, content: JsonObject) -> None:
        self.needed.add(place.source)
        self._refuse(content, place.source)
        if any(kustomization.field(content, name) for name in _PLUGINS):
            self.is_complete = False
        for name in _FOLDERS_OR_FILES:
            for entry in _strings(kustomization.field(content, name)):
                self._folder_or_file(place, name, entry)
        for name, entry in _plugins(content):
            self._folder_or_file(place, name, entry)
        for name, entry in _files(content):
            path = self._local(place, name, entry)
            if (self.tree / path).is_dir():
                raise KustomizeError(f"{place.source}: {name}: {entry!r} is a folder, not a file")
            self.needed.add(path)

    def _refuse(self, content: JsonObject, source: str) -> None:
        for name in _HELM:
            if kustomization.field(content, name):
                raise RefusedInput(
                    f"{source}: {name} is not supported, builds do not run Helm: use a HelmRelease"
                )
        if self.fenced:
            return
        for name in _NOT_WITHOUT_FENCE:
            if kustomization.field(content, name):
                raise RefusedInput(
                    f"{source}: {name} is refused because this kernel has no Landlock and it could"
                    " read any file of the controller"
                )

    def _folder_or_file(self, place: _Place, name: str, entry: str) -> None:
        path = self._local(place, name, entry)
        if not (self.tree / path).is_dir():
            self.needed.add(path)
        elif path not in self._seen:
            self._seen.add(path)
            self._pending.append(path)

    def _local(self, place: _Place, name: str, entry: str) -> str:
        """Where an entry is, relative to the root."""
        path = posixpath.normpath(posixpath.join(place.folder, entry))
        is_inside = not posixpath.isabs(entry) and path != ".." and not path.startswith("../")
        if is_inside and _is_there(self.tree / path):
            return path
        what = f"{place.source}: {name}: {entry[:200]!r}"
        if kustomization.is_remote(entry):
            raise RefusedInput(f"{what} is remote and refused; {kustomization.REMOTE_HINT}")
        if not is_inside:
            raise RefusedInput(f"{what} is outside the artifact")
        link = kustomization.dropped_link_in(path, self.dropped_links)
        if link is not None:
            raise DroppedLink(
                f"{what} needs {link}, which is a symbolic link in the source; links are not part"
                " of an artifact: replace it by the file or folder itself"
            )
        raise KustomizeError(f"{what} does not exist in the artifact")


@dataclass(frozen=True, slots=True)
class _Place:
    """Who asks: the folder that entries are relative to, and the file for messages."""

    folder: str
    source: str


def _is_there(path: Path) -> bool:
    """Whether something is at this very path, not behind a link."""
    try:
        return os.path.realpath(path, strict=True) == str(path)
    except (OSError, ValueError):
        return False


def _plugins(content: JsonObject) -> Iterator[tuple[str, str]]:
    for name in _PLUGINS:
        for entry in _strings(kustomization.field(content, name)):
            if not _is_inline(entry):
                yield name, entry


def _files(content: JsonObject) -> Iterator[tuple[str, str]]:
    for name in _FILES:
        yield from ((name, entry) for entry in _strings(kustomization.field(content, name)))
    name = "patchesStrategicMerge"
    for entry in _strings(kustomization.field(content, name)):
        if not _is_inline(entry):
            yield name, entry
    for name, part in _parts(content):
        yield from ((name, entry) for entry in _strings([kustomization.field(part, "path")]))
    for name in _MAPS:
        for part in _mappings(kustomization.field(content, name)):
            yield from ((name, entry) for entry in _generator_files(part))


def _parts(content: JsonObject) -> Iterator[tuple[str, JsonObject]]:
    """Mappings whose ``path`` is a file."""
    for name in _PATCHES:
        yield from ((name, part) for part in _mappings(kustomization.field(content, name)))
    name = "openapi"
    yield from ((name, part) for part in _mappings([kustomization.field(content, name)]))


def _generator_files(part: JsonObject) -> Iterator[str]:
    for entry in _strings(kustomization.field(part, "files")):
        yield entry.partition("=")[2] or entry
    yield from _strings(kustomization.field(part, "envs"))
    yield from _strings([kustomization.field(part, "env")])


def _is_inline(entry: str) -> bool:
    return "\n" in entry.strip() or entry.lstrip().startswith("{")


def _strings(value: Any) -> Iterator[str]:
    """Entries that can be paths; the program itself complains of all others."""
    if isinstance(value, list):
        yield from (entry for entry in value if isinstance(entry, str) and entry)


def _mappings(value: Any) -> Iterator[JsonObject]:
    if isinstance(value, list):
        yield from (entry for entry in value if isinstance(entry, dict))
