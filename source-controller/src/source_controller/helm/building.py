"""The work on one chart, in a worker: look at it, and package it with what was asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec

from fluvial.paths import secure_join
from fluvial.semver import InvalidVersion
from source_controller.helm import packing
from source_controller.helm.errors import (
    ChartError,
    DependencyFailed,
    InvalidChart,
    NoSuchChart,
    ValuesFailed,
)
from source_controller.helm.files import MAX_FILE, Files, read_archive, read_folder
from source_controller.helm.metadata import FILE_SCHEME, Metadata, Requirement, fits, read_metadata

__all__ = ["Fetched", "Found", "Packed", "Wish", "inspect", "package"]

_SCRATCH = "unpacked"


class Wish(msgspec.Struct, frozen=True):
    """A chart, and how it is to be packaged.

    Attributes:
        path: of the chart below ``tree``; of its package below the job's folder without one.
        tree: folder of the source below the job's folder; ``""`` for a chart that was downloaded.
        metadata: build metadata for its version.
        values_files: whose values it gets; below the tree, or in the chart without one.
        ignore_missing: pass over values files that are not there.
        max_file: bytes of one file in a chart.

    """

    path: str
    tree: str = ""
    metadata: str = ""
    values_files: tuple[str, ...] = ()
    ignore_missing: bool = False
    max_file: int = MAX_FILE


class Found(msgspec.Struct, frozen=True):
    """What a chart is.

    Attributes:
        name: of the chart.
        version: with the build metadata.
        is_folder: it is not packaged yet.
        path: of the chart below the tree, without detours.
        missing: dependencies that it does not bring along.

    """

    name: str
    version: str
    is_folder: bool
    path: str
    missing: tuple[Requirement, ...] = ()


class Fetched(msgspec.Struct, frozen=True):
    """A dependency that was downloaded, and its file below the job's folder."""

    requirement: Requirement
    file: Annotated[str, msgspec.Meta(min_length=1)]


class Packed(msgspec.Struct, frozen=True):
    """A chart that was packaged, and the values files that went into it."""

    name: str
    version: str
    values_files: tuple[str, ...] = ()


def inspect(work: Path, wish: Wish) -> Found:
    """Look at a chart, with all checks.

    Raises:
        NoSuchChart: there is none.
        InvalidChart: Helm would not take it, or it breaks a limit.
        VersionFailed: its version cannot get the metadata.
        OSError: it cannot be read.

    """
    files, is_folder, path = _load(work, wish)
    found = read_metadata(files)
    missing = _missing(work, files, found) if is_folder else ()
    version = packing.set_version(files, wish.metadata) if wish.metadata else found.version
    return Found(found.name, version, is_folder, path, missing)


def package(work: Path, wish: Wish, fetched: tuple[Fetched, ...], target: Path) -> Packed:
    """Package a chart.

    Args:
        work: the job's folder.
        wish: which, and how.
        fetched: the dependencies from elsewhere that ``inspect`` missed.
        target: a new file.

    Raises:
        ValuesFailed: a values file is missing, or is no mapping.
        DependencyFailed: one is missing, or not of the version that is asked for.
        NoSuchChart, InvalidChart, VersionFailed, OSError: as ``inspect``.

    """
    files, is_folder, path = _load(work, wish)
    found = read_metadata(files)
    original = dict(files)
    values: list[str] = []
    if wish.values_files:
        values = packing.merge_values(
            files,
            wish.values_files,
            lambda name: _values(work, wish, original, name),
            ignore_missing=wish.ignore_missing,
        )
    if is_folder:
        by_requirement = {item.requirement: item.file for item in fetched}
        for requirement in _missing(work, files, found):
            name, chart = _dependency(
                work, wish, path, requirement, by_requirement.get(requirement)
            )
            packing.add_chart(files, name, chart)
    version = packing.set_version(files, wish.metadata) if wish.metadata else found.version
    packing.write(files, found.name, target, max_file=wish.max_file)
    return Packed(found.name, version, tuple(values))


def _load(work: Path, wish: Wish) -> tuple[Files, bool, str]:
    """Files, whether they are from a folder, and its path below the tree."""
    root = work / wish.tree if wish.tree else work
    try:
        chart = secure_join(root, wish.path)
    except ValueError as error:
        raise NoSuchChart(str(error)) from error
    path = chart.relative_to(root).as_posix()
    if chart.is_dir() and wish.tree:
        if not (chart / "Chart.yaml").exists():
            raise NoSuchChart(f"there is no Chart.yaml in {path[:200]!r}")
        return read_folder(root, chart, max_file=wish.max_file), True, path
    if not chart.is_file():
        raise NoSuchChart(f"there is no chart at {path[:200]!r}")
    with chart.open("rb") as stream:
        return read_archive(stream, work / _SCRATCH, max_file=wish.max_file), False, path


def _values(work: Path, wish: Wish, files: Files, name: str) -> bytes | None:
    if not wish.tree:
        return files.get(_normal(name))
    try:
        path = secure_join(work / wish.tree, name)
    except ValueError as error:
        raise ValuesFailed(str(error)) from error
    if not path.is_file():
        return None
    if path.stat().st_size > wish.max_file:
        raise ValuesFailed(f"{name[:200]!r} has more than {wish.max_file} bytes")
    return path.read_bytes()


def _normal(name: str) -> str:
    parts: list[str] = []
    for part in name.split("/"):
        if part == "..":
            if parts:
                parts.pop()
        elif part not in {"", "."}:
            parts.append(part)
    return "/".join(parts)


# --- dependencies ---------------------------------------------------------------------------------


def _missing(work: Path, files: Files, found: Metadata) -> tuple[Requirement, ...]:
    if not found.requirements:
        return ()
    there = list(_charts_within(work, files))
    names = [requirement.name for requirement in found.requirements]

    def is_there(requirement: Requirement) -> bool:
        several = names.count(requirement.name) > 1
        return any(
            name == requirement.name and (not several or _fits(version, requirement))
            for name, version in there
        )

    return tuple(item for item in found.requirements if not is_there(item))


def _charts_within(work: Path, files: Files) -> list[tuple[str, str]]:
    """Name and version of each chart below ``charts``; what is none does not count."""
    below: dict[str, Files] = {}
    for path, data in files.items():
        folder, slash, rest = path.removeprefix("charts/").partition("/")
        if not path.startswith("charts/") or folder.startswith((".", "_")):
            continue
        below.setdefault(folder, {})[rest if slash else ""] = data
    found = []
    for folder, content in below.items():
        try:
            if folder.endswith(".tgz"):
                if "" not in content:
                    continue
                content = _unpacked(work, content[""])  # noqa: PLW2901  # the same chart, readable
            chart = read_metadata(content)
        except ChartError:
            continue
        found.append((chart.name, chart.version))
    return found


def _unpacked(work: Path, data: bytes) -> Files:
    scratch = work / f"{_SCRATCH}.tgz"
    scratch.write_bytes(data)
    try:
        with scratch.open("rb") as stream:
            return read_archive(stream, work / _SCRATCH)
    finally:
        scratch.unlink()


def _dependency(
    work: Path, wish: Wish, path: str, requirement: Requirement, file: str | None
) -> tuple[str, Files]:
    """The name that the chart itself has, which is one of a folder, and its files."""
    name = requirement.name[:100]
    try:
        if file is not None:
            chart, _, _ = _load(work, Wish(file, max_file=wish.max_file))
        else:
            local = Wish(_local_path(path, requirement), wish.tree, max_file=wish.max_file)
            chart, _, _ = _load(work, local)
        found = read_metadata(chart)
    except ChartError as error:
        raise DependencyFailed(f"failed to add dependency {name!r}: {error}") from error
    if file is None and not _fits(found.version, requirement):
        raise DependencyFailed(
            f"failed to add dependency {name!r}: version {found.version} is not in the range"
            f" {requirement.version[:100]!r}"
        )
    return found.name, chart


def _local_path(path: str, requirement: Requirement) -> str:
    repository = requirement.repository
    if not repository:
        return f"{path}/charts/{requirement.name}"
    if not repository.startswith(FILE_SCHEME):
        raise InvalidChart("it was not downloaded")
    return f"{path}/{repository.removeprefix(FILE_SCHEME)}"


def _fits(version: str, requirement: Requirement) -> bool:
    try:
        return fits(version, requirement.version)
    except InvalidVersion as error:
        raise DependencyFailed(
            f"dependency {requirement.name[:100]!r} asks for no range: {error}"
        ) from error
