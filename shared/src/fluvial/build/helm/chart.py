"""Chart archives: their limits, their files, and their schemas without references to elsewhere.

Used by ``fluvial.build.helm.engine`` in the worker process. Nothing here reads or writes a file,
so whoever packages charts may use it as well.

The engine loads an archive by itself. What is done here before: the same limits over everything
that the archive holds, subcharts' archives included; contents and times of files as the storage of
releases has them, which the binding does not tell; and schemas that refer to an address or a file.
The engine would fetch those, from wherever the chart says. They are taken out, so what they would
check is not checked, and the release's warnings say so.
"""

from __future__ import annotations

import gzip
import io
import posixpath
import re
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson

from fluvial.build import scalars, yaml
from fluvial.build.errors import YamlError
from fluvial.build.helm.errors import ChartInvalid
from fluvial.build.helm.schemas import localise

__all__ = [
    "MAX_ARCHIVE",
    "MAX_FILE",
    "ChartFile",
    "describe",
    "prepare",
    "read_archive",
    "write_archive",
]

MAX_ARCHIVE: Final = 100 << 20
"""Bytes that an archive may hold, with all archives in it (Helm's limit for one)."""

MAX_FILE: Final = 5 << 20
"""Bytes of one file (Helm)."""

_MAX_FILES: Final = 10_000
_LONGEST: Final = 1024
_MAX_NESTING: Final = 10
_CHUNK: Final = 64 << 10
_HEADERS: Final = 16 << 20
_DRIVE: Final = re.compile(r"[a-zA-Z]:")
_BOM: Final = b"\xef\xbb\xbf"
_VALUES: Final = "values.yaml"
_SCHEMA: Final = "values.schema.json"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class ChartFile:
    """A file of a chart.

    Attributes:
        name: relative to the chart's folder.
        data: its content, without a byte order mark.
        modified: RFC 3339, as the archive has it.

    """

    name: str
    data: bytes = field(repr=False)
    modified: str = ""


class _Budget:
    """What may still be unpacked."""

    def __init__(self) -> None:
        self._left = MAX_ARCHIVE
        self._files = _MAX_FILES

    def take(self, size: int, name: str) -> None:
        if size > MAX_FILE:
            raise ChartInvalid(f"the chart's file {name!r} is larger than {MAX_FILE >> 20} MiB")
        self._left -= size
        self._files -= 1
        if self._left < 0:
            raise ChartInvalid(f"the unpacked chart is larger than {MAX_ARCHIVE >> 20} MiB")
        if self._files < 0:
            raise ChartInvalid(f"the chart has more than {_MAX_FILES} files")


class _Limited(io.RawIOBase):
    """A gzip stream that ends in an error where it unpacks to too much."""

    def __init__(self, data: bytes) -> None:
        self._stream = gzip.GzipFile(fileobj=io.BytesIO(data))
        self._left = MAX_ARCHIVE + _HEADERS

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(_CHUNK if size < 0 else min(size, _CHUNK))
        self._left -= len(data)
        if self._left < 0:
            raise ChartInvalid(f"the unpacked chart is larger than {MAX_ARCHIVE >> 20} MiB")
        return data


def read_archive(data: bytes) -> list[ChartFile]:
    """The files of a chart's archive (.tgz), in its order.

    Raises:
        ChartInvalid: no archive, names that leave the chart's folder, or too much in it.

    """
    return _read(data, _Budget())


def describe(data: bytes) -> dict[str, Any]:
    """What a chart says of itself, without loading it into the engine.

    Args:
        data: the archive.

    Returns:
        ``name``, ``version`` and ``app_version``, each ``""`` where it is not said; ``crds``,
        whether it or a chart in it may bring definitions.

    Raises:
        ChartInvalid: no archive, or it has no readable Chart.yaml.

    """
    files = read_archive(data)
    file = next((one for one in files if one.name == "Chart.yaml"), None)
    if file is None:
        raise ChartInvalid("the chart has no Chart.yaml")
    try:
        found = yaml.load_all(file.data, unique_keys=False)
    except YamlError as error:
        raise ChartInvalid(f"the chart's Chart.yaml cannot be read: {error}") from error
    said = found[0] if found and isinstance(found[0], dict) else {}
    name, version, app_version = (
        _described(said, field) for field in ("name", "version", "appVersion")
    )
    return {
        "name": name,
        "version": version,
        "app_version": app_version,
        # A packed subchart may have anything in it.
        "crds": any("crds/" in one.name or one.name.startswith("charts/") for one in files),
    }


def _described(said: dict[str, Any], field: str) -> str:
    """A text as Helm has it in records; statuses and events have it, so it is not of any length."""
    value = said.get(field)
    if isinstance(value, float):
        text = scalars.float_text(value, bits=64)
    else:
        text = scalars.key_text(value) if isinstance(value, str | int) else ""
    if field != "version":
        # What cannot be seen is taken out, as by Helm, with whose records this is compared.
        spaced = ((" " if one.isspace() else one) for one in text)
        text = "".join(one for one in spaced if one.isprintable())
    if len(text) > _LONGEST:
        raise ChartInvalid(f"the chart's {field} has more than {_LONGEST} characters")
    return text


def prepare(
    data: bytes,
    *,
    validate: bool,
    templates: bool = True,
    version: str = "",
    values: bytes | None = None,
) -> tuple[list[ChartFile], bytes, tuple[str, ...]]:
    """Check an archive and make it fit for the engine.

    Args:
        data: the archive.
        validate: whether the chart's schemas count; else they are taken out.
        templates: likewise for templates.
        version: which the chart is to have; ``""`` leaves its own.
        values: JSON in place of the chart's own values.

    Returns:
        The files as they are; an archive for the engine; warnings for people.

    Raises:
        ChartInvalid: as ``read_archive``, for archives of subcharts too.

    """
    budget = _Budget()
    files = _read(data, budget)
    work = _Rewriter(budget, validate=validate, templates=templates)
    changed = work.visit(files, place="", depth=0)
    if version:
        changed = [_with_version(file, version) for file in changed or files]
    if values is not None:
        others = [file for file in changed or files if file.name != _VALUES]
        changed = [*others, ChartFile(_VALUES, values)]
    return files, data if changed is None else write_archive(changed), tuple(work.warnings)


def _with_version(file: ChartFile, version: str) -> ChartFile:
    """The chart's own description with another version; JSON, which is YAML."""
    if file.name != "Chart.yaml":
        return file
    try:
        found = yaml.load_all(file.data, unique_keys=False)
    except YamlError:
        return file  # the engine says what is wrong with it
    if not found or not isinstance(found[0], dict):
        return file
    return ChartFile(file.name, orjson.dumps({**found[0], "version": version}))


def _read(data: bytes, budget: _Budget) -> list[ChartFile]:
    try:
        with tarfile.open(fileobj=_Limited(data), mode="r|") as archive:
            files = list(_entries(archive, budget))
    except (tarfile.TarError, EOFError, OSError, zlib.error, UnicodeError) as error:
        raise ChartInvalid("the chart is not a gzipped tar archive") from error
    if not files:
        raise ChartInvalid("the chart's archive has no files")
    return files


def _entries(archive: tarfile.TarFile, budget: _Budget) -> Iterator[ChartFile]:
    for member in archive:
        if member.isdir():
            continue
        name = _name_in_chart(member.name)
        budget.take(member.size, name)
        source = archive.extractfile(member) if member.isreg() else None
        data = b"" if source is None else source.read()
        yield ChartFile(name, data.removeprefix(_BOM), _rfc3339(member.mtime))


def _name_in_chart(name: str) -> str:
    """The name below the archive's only folder.

    Archives made on Windows may have backslashes; what then looks like a way out is one.
    """
    delimiter = "\\" if "\\" in name else "/"
    top, _, rest = name.partition(delimiter)
    rest = rest.replace(delimiter, "/")
    path = posixpath.normpath(rest) if rest else "."
    if top == "Chart.yaml" or path == ".":
        raise ChartInvalid(f"the chart's archive has {name[:100]!r} outside the chart's folder")
    if path.startswith(("/", "..")) or "\0" in path or _DRIVE.match(path):
        raise ChartInvalid(f"the chart's archive has a name that leads elsewhere: {name[:100]!r}")
    return path


def _rfc3339(seconds: float) -> str:
    try:
        moment = _EPOCH + timedelta(seconds=seconds)
    except OverflowError:
        return ""
    fraction = f"{moment.microsecond:06d}".rstrip("0")
    return f"{moment:%Y-%m-%dT%H:%M:%S}" + (f".{fraction}Z" if fraction else "Z")


def write_archive(files: Sequence[ChartFile]) -> bytes:
    """An archive of these files, for a reader in the same process: hardly compressed."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz", compresslevel=1) as archive:
        for file in files:
            member = tarfile.TarInfo(f"chart/{file.name}")
            member.size = len(file.data)
            archive.addfile(member, io.BytesIO(file.data))
    return target.getvalue()


class _Rewriter:
    """Goes through a chart and its subcharts for schemas, and for templates that do not count."""

    def __init__(self, budget: _Budget, *, validate: bool, templates: bool) -> None:
        self._budget = budget
        self._validate = validate
        self._templates = templates
        self.warnings: list[str] = []

    def visit(
        self, files: Sequence[ChartFile], *, place: str, depth: int
    ) -> list[ChartFile] | None:
        """The files that the engine gets; ``None`` where they are the same."""
        if depth > _MAX_NESTING:
            raise ChartInvalid(f"subcharts are nested deeper than {_MAX_NESTING} levels")
        result: list[ChartFile] = []
        changed = False
        for file in files:
            replaced = self._file(file, place=place, depth=depth)
            changed = changed or replaced is not file
            if replaced is not None:
                result.append(replaced)
        return result if changed else None

    def _file(self, file: ChartFile, *, place: str, depth: int) -> ChartFile | None:
        folder, _, name = file.name.rpartition("/")
        if not self._templates and _is_template(file.name):
            return None
        if name == _SCHEMA and _is_chart(folder):
            return self._schema(file, place + file.name)
        if name.endswith(".tgz") and folder.rpartition("/")[2] == "charts":
            if name.startswith(("_", ".")) or not _is_chart(folder.rpartition("/")[0]):
                return file
            inner = self.visit(
                _read(file.data, self._budget), place=f"{place}{file.name}/", depth=depth + 1
            )
            return file if inner is None else ChartFile(file.name, write_archive(inner))
        return file

    def _schema(self, file: ChartFile, place: str) -> ChartFile | None:
        if not self._validate:
            return None
        try:
            schema = orjson.loads(file.data)
        except orjson.JSONDecodeError:
            return file  # the engine says what is wrong with it
        local, elsewhere = localise(schema)
        if not elsewhere:
            return file
        targets = ", ".join(sorted(set(elsewhere))[:3])
        self.warnings.append(
            f"{place} refers to {targets}, which is not fetched:"
            " values are not checked against that part"
        )
        return ChartFile(file.name, orjson.dumps(local))


def _is_template(name: str) -> bool:
    """Whether a file is below ``templates`` of the chart or of a subchart."""
    before, found, _ = f"/{name}".partition("/templates/")
    return bool(found) and _is_chart(before.removeprefix("/"))


def _is_chart(folder: str) -> bool:
    """Whether a folder of a chart is the chart, or ``charts/x/charts/y`` of a subchart."""
    parts = folder.split("/") if folder else []
    return len(parts) % 2 == 0 and all(part == "charts" for part in parts[::2])
