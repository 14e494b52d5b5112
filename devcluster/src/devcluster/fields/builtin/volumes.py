"""Volumes of a pod spec."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from devcluster.fields.builtin import names
from devcluster.fields.builtin.checker import Checker
from devcluster.fields.schema import JsonObject

__all__ = ["check_volumes"]

_HOST_PATH_TYPES = (
    "",
    "BlockDevice",
    "CharDevice",
    "Directory",
    "DirectoryOrCreate",
    "File",
    "FileOrCreate",
    "Socket",
)


def check_volumes(checker: Checker, volumes: list[Any], path: str) -> dict[str, JsonObject]:
    """Each volume's name and source; returns the volumes by name."""
    known: dict[str, JsonObject] = {}
    for at, volume in enumerate(volumes):
        inner, faults = f"{path}[{at}]", len(checker.causes)
        _check_source(checker, volume, inner)
        name = volume.get("name", "")
        if not name:
            checker.required(f"{inner}.name")
            continue
        problems = names.dns_label(name)
        checker.problems(f"{inner}.name", name, problems)
        if name in known:
            checker.duplicate(f"{inner}.name", name)
        if len(checker.causes) == faults:  # one that is wrong is not there for its mounts
            known[name] = volume
    return known


def _check_source(checker: Checker, volume: JsonObject, path: str) -> None:
    first = True
    for kind in sorted(volume, key=_rank):
        if kind == "name" or volume[kind] is None:
            continue
        if not first:
            checker.forbidden(f"{path}.{kind}", "may not specify more than 1 volume type")
            continue
        first = False
        check = _SOURCES.get(kind)
        if check is not None:
            check(checker, volume[kind], f"{path}.{kind}")


_ORDER = ("emptyDir", "hostPath", "gitRepo", "secret", "nfs", "iscsi", "persistentVolumeClaim")


def _rank(kind: str) -> int:
    return _ORDER.index(kind) if kind in _ORDER else len(_ORDER)


def _needs(field: str) -> Callable[[Checker, JsonObject, str], None]:
    def check(checker: Checker, source: JsonObject, path: str) -> None:
        if not source.get(field):
            checker.required(f"{path}.{field}")

    return check


def _host_path(checker: Checker, source: JsonObject, path: str) -> None:
    place = source.get("path", "")
    if not place:
        checker.required(f"{path}.path")
        return
    if ".." in place.split("/"):
        checker.invalid(f"{path}.path", place, "must not contain '..'")
    kind = source.get("type") or ""
    if kind not in _HOST_PATH_TYPES:
        checker.unsupported(f"{path}.type", kind, _HOST_PATH_TYPES)


def _nfs(checker: Checker, source: JsonObject, path: str) -> None:
    if not source.get("server"):
        checker.required(f"{path}.server")
    place = source.get("path", "")
    if not place:
        checker.required(f"{path}.path")
    if not place.startswith("/"):
        checker.invalid(f"{path}.path", place, "must be an absolute path")


def _files(name_field: str) -> Callable[[Checker, JsonObject, str], None]:
    def check(checker: Checker, source: JsonObject, path: str) -> None:
        if not source.get(name_field):
            checker.required(f"{path}.{name_field}")
        _check_mode(checker, source.get("defaultMode"), f"{path}.defaultMode")
        _check_items(checker, source.get("items") or (), f"{path}.items")

    return check


def _check_mode(checker: Checker, mode: Any, path: str) -> None:
    if mode is not None and not 0 <= mode <= 0o777:
        checker.invalid(path, mode, "must be a number between 0 and 0777 (octal), both inclusive")


def _check_items(checker: Checker, items: Any, path: str) -> None:
    for at, item in enumerate(items):
        inner = f"{path}[{at}]"
        if not item.get("key"):
            checker.required(f"{inner}.key")
        place = item.get("path", "")
        if not place:
            checker.required(f"{inner}.path")
            continue
        if place.startswith("/"):
            checker.invalid(f"{inner}.path", place, "must be a relative path")
        if ".." in place.split("/"):
            checker.invalid(f"{inner}.path", place, "must not contain '..'")
        _check_mode(checker, item.get("mode"), f"{inner}.mode")


def _projected(checker: Checker, source: JsonObject, path: str) -> None:
    for at, part in enumerate(source.get("sources") or ()):
        inner = f"{path}.sources[{at}]"
        for kind in ("secret", "configMap"):
            if part.get(kind) is not None and not part[kind].get("name"):
                checker.required(f"{inner}.{kind}.name")
        token = part.get("serviceAccountToken")
        if token is not None and not token.get("path"):
            checker.required(f"{path}.path")


_SOURCES: dict[str, Callable[[Checker, JsonObject, str], None]] = {
    "hostPath": _host_path,
    "nfs": _nfs,
    "secret": _files("secretName"),
    "configMap": _files("name"),
    "persistentVolumeClaim": _needs("claimName"),
    "projected": _projected,
    "csi": _needs("driver"),
}
