"""One version of one chart, as indexes and charts describe it, by Helm's rules."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

__all__ = ["ChartVersion", "Dependency", "Maintainer", "clean", "is_chart"]

_CHART_TYPES: Final = frozenset({None, "", "application", "library"})
_ALIAS: Final = re.compile(r"[a-zA-Z0-9_-]+")


class Maintainer(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Somebody who maintains a chart."""

    name: str | None = None
    email: str | None = None
    url: str | None = None


class Dependency(
    msgspec.Struct, kw_only=True, omit_defaults=True, rename={"import_values": "import-values"}
):
    """A chart that another one needs."""

    name: str | None = None
    version: str | None = None
    repository: str | None = None
    condition: str | None = None
    tags: list[str | None] | None = None
    enabled: bool | None = None
    import_values: list[Any] | None = None
    alias: str | None = None


class ChartVersion(msgspec.Struct, kw_only=True, omit_defaults=True, rename="camel"):
    """One version of one chart, as an index lists it; ``null`` is the same as absent.

    Attributes:
        created: as it was written; RFC 3339.
        checksum: of Helm 2, like the next three: allowed, and not read.

    """

    name: str | None = None
    home: str | None = None
    sources: list[str | None] | None = None
    version: str | None = None
    description: str | None = None
    keywords: list[str | None] | None = None
    maintainers: list[Maintainer | None] | None = None
    icon: str | None = None
    api_version: str | None = None
    condition: str | None = None
    tags: str | None = None
    app_version: str | None = None
    deprecated: bool | None = None
    annotations: dict[str, str | None] | None = None
    kube_version: str | None = None
    dependencies: list[Dependency | None] | None = None
    type: str | None = None
    urls: list[str | None] | None = None
    created: str | None = None
    removed: bool | None = None
    digest: str | None = None
    checksum: str | None = None
    engine: str | None = None
    tiller_version: str | None = None
    url: str | None = None


def is_chart(chart: ChartVersion) -> bool:
    """Whether Helm takes it for a chart; the version is for the caller to judge."""
    name = chart.name or ""
    return (
        name not in {"", ".", ".."}
        and "/" not in name
        and chart.type in _CHART_TYPES
        and all(maintainer is not None for maintainer in chart.maintainers or ())
        and all(
            dependency is not None
            and (not dependency.alias or _ALIAS.fullmatch(dependency.alias) is not None)
            for dependency in chart.dependencies or ()
        )
    )


def clean(chart: ChartVersion) -> None:
    """Bring texts on one line, without what cannot be printed."""
    for name in _CLEANED:
        value = getattr(chart, name)
        if value and not value.isprintable():
            setattr(chart, name, _printable(value))
    for texts in (chart.sources, chart.keywords):
        if texts:
            texts[:] = [_printable(text or "") for text in texts]
    for part in (*(chart.maintainers or ()), *(chart.dependencies or ())):
        for name in getattr(part, "__struct_fields__", ()):
            value = getattr(part, name)
            if isinstance(value, str) and not value.isprintable() and name != "alias":
                setattr(part, name, _printable(value))


_CLEANED: Final = (
    "name",
    "description",
    "home",
    "icon",
    "condition",
    "tags",
    "app_version",
    "kube_version",
)


def _printable(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(
        " " if char.isspace() else char for char in text if char.isspace() or char.isprintable()
    )
