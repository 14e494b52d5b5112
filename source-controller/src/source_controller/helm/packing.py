"""From the files of a chart to its package: reproducible, and what nobody changed byte by byte."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from fluvial.build import yaml
from fluvial.semver import InvalidVersion
from source_controller.helm.choosing import with_metadata
from source_controller.helm.errors import InvalidChart, ValuesFailed, VersionFailed
from source_controller.helm.files import MAX_FILE, MAX_TOTAL, Files
from source_controller.helm.metadata import CHART_FILE, VALUES_FILE, load_mapping

__all__ = ["add_chart", "merge_values", "set_version", "write"]

_MODE = 0o644
_MAX_MERGE_DEPTH = 250


def set_version(files: Files, metadata: str) -> str:
    """Give the chart's version build metadata, in ``Chart.yaml`` too; the version.

    Args:
        files: of the chart; ``Chart.yaml`` is replaced if anything changes.
        metadata: ``""`` to leave all as it is.

    Raises:
        VersionFailed: the chart has no version that can have it.

    """
    document = load_mapping(files[CHART_FILE], CHART_FILE)
    try:
        version = with_metadata(str(document.get("version") or ""), metadata)
    except InvalidVersion as error:
        raise VersionFailed(str(error)) from error
    if version != document.get("version"):
        files[CHART_FILE] = yaml.dump({**document, "version": version})
    return version


def merge_values(
    files: Files, names: Iterable[str], read: Callable[[str], bytes | None], *, ignore_missing: bool
) -> list[str]:
    """Replace the chart's values by those of several files, merged; the later wins.

    Args:
        files: of the chart.
        names: of the values files, the weakest first.
        read: gives the content of one; ``None`` if it is missing.
        ignore_missing: pass over those.

    Returns:
        The names of those that were there.

    Raises:
        ValuesFailed: one is missing or is no mapping.

    """
    merged: dict[str, Any] = {}
    found = []
    for name in names:
        try:
            data = read(name)
            if data is None:
                if ignore_missing:
                    continue
                raise ValuesFailed(f"no values file found at path {name[:200]!r}")
            merged = _merged(merged, load_mapping(data, name[:200]), 0)
        except InvalidChart as error:
            raise ValuesFailed(str(error)) from error
        found.append(name)
    files[VALUES_FILE] = yaml.dump(_sorted(merged)) if merged else b""
    return found


def add_chart(files: Files, name: str, chart: Files) -> None:
    """Put another chart below ``charts``, in a folder that nothing else is in.

    Raises:
        InvalidChart: there are too many of one name.

    """
    for number in range(1, 1000):
        folder = f"charts/{name}/" if number == 1 else f"charts/{name}-{number}/"
        if not any(path.startswith(folder) for path in files):
            files |= {folder + path: data for path, data in chart.items()}
            return
    raise InvalidChart(f"too many dependencies of the name {name!r}")


def write(files: Mapping[str, bytes], name: str, target: Path, *, max_file: int = MAX_FILE) -> None:
    """Write a package as Helm reads it: a tar.gz with everything below one folder.

    Args:
        files: of the chart.
        name: of the folder.
        target: a new file.
        max_file: bytes of one file.

    Raises:
        InvalidChart: it is larger than Helm takes.
        OSError: the disk is full.

    """
    if sum(map(len, files.values())) > MAX_TOTAL:
        raise InvalidChart(f"the chart has more than {MAX_TOTAL} bytes")
    large = next((path for path in files if len(files[path]) > max_file), None)
    if large is not None:
        raise InvalidChart(f"{large[:200]!r} has more than {max_file} bytes")
    order = sorted(files, key=lambda path: (path != CHART_FILE, path.split("/")))
    with (
        target.open("xb") as out,
        gzip.GzipFile("", "wb", 6, out, mtime=0) as zipped,
        tarfile.open(
            fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT, errors="surrogateescape"
        ) as archive,
    ):
        for path in order:
            info = tarfile.TarInfo(f"{name}/{path}")
            info.size, info.mode = len(files[path]), _MODE
            archive.addfile(info, io.BytesIO(files[path]))


def _merged(weak: dict[str, Any], strong: dict[str, Any], depth: int) -> dict[str, Any]:
    if depth > _MAX_MERGE_DEPTH:
        raise ValuesFailed("the values are nested too deeply")
    merged = dict(weak)
    for key, value in strong.items():
        old = merged.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            merged[key] = _merged(old, value, depth + 1)
        else:
            merged[key] = value
    return merged


def _sorted(value: Any) -> Any:
    """With keys in order, as Helm writes values."""
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [_sorted(item) for item in value]
    return value
