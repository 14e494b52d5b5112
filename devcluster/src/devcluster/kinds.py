"""The kinds served: what a path means, how a kind is listed in discovery, where it is stored.

Built-in kinds are read from ``data/kinds.json`` (names, verbs and subresources as discovery of
kube-apiserver v1.37 gives them); custom resources come and go with their definitions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

import orjson

__all__ = ["Kind", "Kinds", "Subresource", "Target", "api_version", "version_priority"]

_DEPRECATED = {
    ("", "endpoints"): "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"
}
_ALL = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")

# One storage behind two groups: what is written as the one can be read as the other.
_STORED_ELSEWHERE = {("events.k8s.io", "events"): ("", "events", "v1")}
_STORAGE_VERSION = {("autoscaling", "horizontalpodautoscalers"): "v2"}


def api_version(group: str, version: str) -> str:
    """``apps/v1``, or ``v1`` for the core group."""
    return f"{group}/{version}" if group else version


@dataclass(frozen=True, slots=True)
class Subresource:
    """What discovery says of one subresource; group and version are empty when the kind's own."""

    name: str
    kind: str
    verbs: tuple[str, ...]
    group: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class Kind:
    """One resource in one served version.

    ``table`` is the (group, plural) under which its objects are stored and ``stored_version`` the
    version of the stored form; ``crd`` is the name of the defining CRD, empty for built-in kinds,
    whose ``columns`` and ``selectable`` paths are those of custom resources.
    """

    group: str
    version: str
    kind: str
    plural: str
    singular: str
    namespaced: bool
    verbs: tuple[str, ...] = _ALL
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: Mapping[str, Subresource] = field(default_factory=dict)
    list_kind: str = ""
    table: tuple[str, str] = ("", "")
    stored_version: str = ""
    crd: str = ""
    columns: tuple[Mapping[str, Any], ...] = ()
    selectable: tuple[str, ...] = ()
    scale: Mapping[str, str] = field(default_factory=dict)
    deprecation: str = ""

    @property
    def api_version(self) -> str:
        """The ``apiVersion`` of its objects."""
        return api_version(self.group, self.version)

    @property
    def stored(self) -> bool:
        """False for reviews and the like, which are answered and forgotten."""
        return "get" in self.verbs

    @property
    def qualified(self) -> str:
        """``deployments.apps``."""
        return f"{self.plural}.{self.group}" if self.group else self.plural


@dataclass(frozen=True, slots=True)
class Target:
    """What a request addresses; an empty name is a collection."""

    kind: Kind
    namespace: str = ""
    name: str = ""
    subresource: str = ""


def _builtin(entry: Mapping[str, Any]) -> Kind:
    group, plural, version = entry["group"], entry["plural"], entry["version"]
    elsewhere = _STORED_ELSEWHERE.get((group, plural))
    table = elsewhere[:2] if elsewhere else (group, plural)
    stored_version = elsewhere[2] if elsewhere else _STORAGE_VERSION.get((group, plural), version)
    return Kind(
        group=group,
        version=version,
        kind=entry["kind"],
        plural=plural,
        singular=entry["singular"],
        namespaced=entry["namespaced"],
        verbs=tuple(entry["verbs"]),
        short_names=tuple(entry.get("short_names", ())),
        categories=tuple(entry.get("categories", ())),
        subresources={
            sub["name"]: Subresource(
                name=sub["name"],
                kind=sub["kind"],
                verbs=tuple(sub["verbs"]),
                group=sub["group"],
                version=sub["version"],
            )
            for sub in entry.get("subresources", ())
        },
        list_kind=entry["kind"] + "List",
        table=table,
        stored_version=stored_version,
        deprecation=_DEPRECATED.get(table, ""),
    )


class Kinds:
    """The registry. Versions of a group are kept in the order in which discovery prefers them."""

    def __init__(self) -> None:
        raw = resources.files("devcluster").joinpath("data/kinds.json").read_bytes()
        self._kinds: dict[tuple[str, str, str], Kind] = {}
        self._groups: dict[str, list[str]] = {}
        self._by_kind: dict[tuple[str, str], dict[str, Kind]] = {}
        self._watchers: list[Callable[[], None]] = []
        self.generation = 0
        for entry in orjson.loads(raw):
            self._put(_builtin(entry))

    def _put(self, kind: Kind) -> None:
        self._kinds[kind.group, kind.version, kind.plural] = kind
        versions = self._groups.setdefault(kind.group, [])
        if kind.version not in versions:
            versions.append(kind.version)
            if kind.crd:
                versions.sort(key=version_priority)
        self._by_kind.setdefault((kind.group, kind.kind), {})[kind.version] = kind

    def resource(self, group: str, version: str, plural: str) -> Kind | None:
        """The kind behind a path, or None."""
        return self._kinds.get((group, version, plural))

    def for_kind(self, group: str, kind: str, version: str = "") -> Kind | None:
        """By kind; the preferred version unless one is named."""
        versions = self._by_kind.get((group, kind), {})
        if version:
            return versions.get(version)
        for candidate in self._groups.get(group, ()):
            if candidate in versions:
                return versions[candidate]
        return None

    def preferred(self, group: str, plural: str) -> Kind | None:
        """By plural, in the group's preferred version that has it."""
        for version in self._groups.get(group, ()):
            found = self._kinds.get((group, version, plural))
            if found is not None:
                return found
        return None

    def groups(self) -> Iterator[tuple[str, list[str]]]:
        """Each group with its versions, preferred first."""
        for group, versions in self._groups.items():
            if versions:
                yield group, list(versions)

    def versions(self, group: str) -> list[str]:
        """The versions served of a group; empty when the group is unknown."""
        return list(self._groups.get(group, ()))

    def of(self, group: str, version: str) -> list[Kind]:
        """The kinds of one group version, by plural."""
        found = [kind for (g, v, _), kind in self._kinds.items() if g == group and v == version]
        return sorted(found, key=lambda kind: kind.plural)

    def __iter__(self) -> Iterator[Kind]:
        return iter(list(self._kinds.values()))

    def stored_kinds(self) -> list[Kind]:
        """One kind per table, in its stored version: what garbage collection walks over."""
        chosen: dict[tuple[str, str], Kind] = {}
        for kind in self._kinds.values():
            if not kind.stored or kind.table != (kind.group, kind.plural):
                continue
            if kind.table not in chosen or kind.version == kind.stored_version:
                chosen[kind.table] = kind
        return list(chosen.values())

    def replace_crd(self, name: str, kinds: Iterable[Kind]) -> None:
        """Serve ``kinds`` for the CRD ``name`` and nothing else of it; none removes it."""
        for key in [key for key, kind in self._kinds.items() if kind.crd == name]:
            gone = self._kinds.pop(key)
            by_version = self._by_kind[gone.group, gone.kind]
            by_version.pop(gone.version, None)
            if not any(k[:2] == key[:2] for k in self._kinds):
                self._groups[gone.group].remove(gone.version)
        for kind in kinds:
            self._put(kind)
        self.generation += 1
        for notify in self._watchers:
            notify()

    def on_change(self, notify: Callable[[], None]) -> None:
        """Call ``notify`` after each change of what is served."""
        self._watchers.append(notify)


def version_priority(version: str) -> tuple[int, int, int, str]:
    """Kubernetes' order of versions: v2, v1, v1beta2, v1beta1, v1alpha1, then anything else."""
    for stage, rank in (("alpha", 2), ("beta", 1)):
        head, found, tail = version.partition(stage)
        if found and head[:1] == "v" and head[1:].isdigit() and tail.isdigit():
            return (rank, -int(head[1:]), -int(tail), "")
    if version[:1] == "v" and version[1:].isdigit():
        return (0, -int(version[1:]), 0, "")
    return (3, 0, 0, version)
