"""``Chart.yaml`` and what belongs to it, by Helm's rules."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from fluvial.build import yaml
from fluvial.build.errors import BuildError
from fluvial.semver import InvalidVersion, Range, Version
from source_controller.helm.chart import ChartVersion, Dependency, clean, is_chart
from source_controller.helm.errors import InvalidChart
from source_controller.helm.files import Files

__all__ = [
    "CHART_FILE",
    "FILE_SCHEME",
    "VALUES_FILE",
    "Metadata",
    "Requirement",
    "fits",
    "load_mapping",
    "read_metadata",
]

CHART_FILE = "Chart.yaml"
VALUES_FILE = "values.yaml"
FILE_SCHEME = "file://"
_REQUIREMENTS = "requirements.yaml"
_LOCKS = ("Chart.lock", "requirements.lock")
_MAX_REQUIREMENTS = 200
_UNSAFE_NAME = re.compile(r"^\.|[/\\\x00-\x1f\x7f]")
"""Helm takes them, but they cannot be part of a file's name."""


class Requirement(msgspec.Struct, frozen=True):
    """A chart that another one needs.

    Attributes:
        name: of that chart.
        version: range; ``""`` for any.
        repository: URL, ``file://`` path, or ``""`` for a folder below ``charts``.

    """

    name: str
    version: str
    repository: str

    @property
    def is_local(self) -> bool:
        """Whether it is in the same source."""
        return not self.repository or self.repository.startswith(FILE_SCHEME)


class Metadata(msgspec.Struct, frozen=True):
    """What a chart says about itself.

    Attributes:
        name: without slashes.
        version: a version that Helm takes.
        requirements: of the lock if there is one.

    """

    name: str
    version: str
    requirements: tuple[Requirement, ...] = ()


def read_metadata(files: Files) -> Metadata:
    """What the files of a chart say about it.

    Raises:
        InvalidChart: Helm would not take it.

    """
    if CHART_FILE not in files:
        raise InvalidChart(f"no {CHART_FILE} found")
    document = load_mapping(files[CHART_FILE], CHART_FILE)
    if _REQUIREMENTS in files:
        found = load_mapping(files[_REQUIREMENTS], _REQUIREMENTS)
        document = {**document, "dependencies": found.get("dependencies")}
    chart = _convert(document, CHART_FILE)
    clean(chart)
    if not is_chart(chart) or _UNSAFE_NAME.search(chart.name or ""):
        raise InvalidChart(f"{CHART_FILE} is not valid: name, type, maintainers or dependencies")
    try:
        Version.parse(chart.version or "")
    except InvalidVersion as error:
        raise InvalidChart(f"{CHART_FILE} is not valid: {error}") from error
    _refuse_twice(chart.dependencies or [])
    return Metadata(chart.name or "", chart.version or "", _requirements(chart, files))


def fits(version: str, wanted: str) -> bool:
    """Whether a version is in a range; any is in an empty one.

    Raises:
        InvalidVersion: the range cannot be read.

    """
    if not wanted:
        return True
    accepted = Range.parse(wanted)
    try:
        return Version.parse(version) in accepted
    except InvalidVersion:
        return False


def load_mapping(data: bytes, name: str) -> dict[str, Any]:
    """The mapping in a YAML file of a chart; of a key that is there twice the last value counts.

    Raises:
        InvalidChart: it is no YAML, or no mapping.

    """
    try:
        documents = yaml.load_all(data, source=name, unique_keys=False)
    except BuildError as error:
        raise InvalidChart(f"cannot read {name}: {error}") from error
    document = documents[0] if documents else {}
    if not isinstance(document, dict):
        raise InvalidChart(f"{name} is not a mapping")
    return document


def _convert(document: dict[str, Any], name: str) -> ChartVersion:
    try:
        return msgspec.convert(document, ChartVersion)
    except msgspec.ValidationError as error:
        raise InvalidChart(f"cannot read {name}: {error}") from None


def _refuse_twice(dependencies: list[Dependency | None]) -> None:
    seen: set[str] = set()
    for dependency in dependencies:
        name = (dependency.alias or dependency.name or "") if dependency else ""
        if name in seen:
            raise InvalidChart(f"more than one dependency with name or alias {name[:100]!r}")
        seen.add(name)


def _requirements(chart: ChartVersion, files: Files) -> tuple[Requirement, ...]:
    """The lock knows better than the chart, and each chart is needed once."""
    for lock in _LOCKS:
        if lock in files:
            document = load_mapping(files[lock], lock)
            chart = _convert({"dependencies": document.get("dependencies")}, lock)
            break
    listed = chart.dependencies or []
    if len(listed) > _MAX_REQUIREMENTS:
        raise InvalidChart(f"the chart has more than {_MAX_REQUIREMENTS} dependencies")
    needed = (
        Requirement(item.name or "", item.version or "", item.repository or "")
        for item in listed
        if item is not None
    )
    return tuple(dict.fromkeys(needed))
