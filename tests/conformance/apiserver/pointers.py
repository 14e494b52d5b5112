"""JSON pointers, and the part of a discovery document that a scenario is about."""

from __future__ import annotations

from typing import Any, Final

__all__ = ["NOTHING", "keep_discovery", "pick", "put"]

Json = dict[str, Any]
_SUBRESOURCES = ("status", "scale", "token")


class _Nothing:
    def __repr__(self) -> str:
        return "nothing"


NOTHING: Final = _Nothing()
"""There is no value at this pointer."""


def pick(document: Any, pointer: str) -> Any:
    """The value at an RFC 6901 ``pointer``, or ``NOTHING``."""
    value = document
    for part in _parts(pointer):
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            return NOTHING
    return value


def put(document: Json, pointer: str, value: Any) -> None:
    """Note ``value`` under the pointer's own text, so that absence can be noted too."""
    document[pointer] = "<absent>" if value is NOTHING else value


def keep_discovery(body: Any, entries: tuple[str, ...]) -> Any:
    """A discovery document with only these ``group/version/resource`` entries (core: ``v1/…``).

    Of their subresources only those that a controller uses are kept. Resources keep their order;
    groups and versions without an entry go. Other bodies are returned as they are.
    """
    if not entries or not isinstance(body, dict):
        return body
    if body.get("kind") == "APIGroupDiscoveryList":
        groups = [_group(group, entries) for group in body["items"]]
        return {**body, "items": [group for group in groups if group["versions"]]}
    if body.get("kind") == "APIResourceList":
        version = body["groupVersion"]
        kept = [r for r in body["resources"] if _is_kept(version, r["name"], entries)]
        return {**body, "resources": kept}
    if body.get("kind") == "APIGroupList":
        names = {entry.rpartition("/")[0].rpartition("/")[0] for entry in entries}
        return {**body, "groups": [group for group in body["groups"] if group["name"] in names]}
    return body


def _group(group: Json, entries: tuple[str, ...]) -> Json:
    name = group.get("metadata", {}).get("name", "")
    prefix = f"{name}/" if name else ""
    versions = []
    for version in group["versions"]:
        start = f"{prefix}{version['version']}/"
        kept = [_trim(r) for r in version["resources"] if start + r["resource"] in entries]
        if kept:
            versions.append({**version, "resources": kept})
    return {**group, "versions": versions}


def _trim(resource: Json) -> Json:
    if "subresources" not in resource:
        return resource
    kept = [s for s in resource["subresources"] if s["subresource"] in _SUBRESOURCES]
    rest = {key: value for key, value in resource.items() if key != "subresources"}
    return {**rest, "subresources": kept} if kept else rest


def _is_kept(version: str, name: str, entries: tuple[str, ...]) -> bool:
    plural, _, subresource = name.partition("/")
    return f"{version}/{plural}" in entries and subresource in ("", *_SUBRESOURCES)


def _parts(pointer: str) -> list[str]:
    if not pointer:
        return []
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer[1:].split("/")]
