"""Which resources the server serves, and how kinds map to them.

``RestMapper`` keeps one picture of the whole server: read at first use, again on a miss, and at
once after a CustomResourceDefinition was told to have appeared. Reading prefers the aggregated
form (two requests) and falls back to one request per group version. A group whose own server does
not answer is remembered as unknown: its kinds are never called missing, and ``has_kind_fresh``
raises rather than say that a kind is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from fluvial.clock import Clock, RealClock
from fluvial.errors import FluvialError
from fluvial.kube.client import KubeClient
from fluvial.kube.errors import ApiError, NotFound
from fluvial.kube.resource import Resource
from fluvial.kube.urls import UnsafeName, group_version_path, segment
from fluvial.objects import GroupVersionKind, JsonObject

__all__ = ["DiscoveryIncomplete", "NoMatch", "RestMapper"]

_ACCEPT = (
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,"
    "application/json"
)
_SPACING = 1.0
_MISS_SECONDS = 10.0
_EXPECTED_SECONDS = 30.0
_EXPECTED_SPACING = 0.1
_MISSES_KEPT = 1000
_AT_ONCE = 8


class NoMatch(FluvialError):
    """The server does not serve the kind; ``gvk`` is what was asked for (version may be ``""``).

    Worth asking again: its CustomResourceDefinition may appear.
    """

    def __init__(self, gvk: GroupVersionKind, *, unknown_group: bool = False) -> None:
        name = f"{gvk.group}/{gvk.version}" if gvk.group else gvk.version or "v1"
        text = f'no matches for kind "{gvk.kind}" in version "{name.rstrip("/")}"'
        if unknown_group:
            text += ": the server of that API group does not answer"
        super().__init__(text)
        self.gvk = gvk


class DiscoveryIncomplete(FluvialError):
    """Some groups could not be read, so nothing may be called gone; ``groups`` names them."""

    def __init__(self, groups: Iterable[str]) -> None:
        self.groups = tuple(sorted(groups))
        super().__init__(
            f"the API server cannot tell all its kinds: no answer from {', '.join(self.groups)}"
        )


@dataclass(slots=True)
class _Picture:
    """What one complete reading found, in the server's order of preference."""

    by_gvk: dict[GroupVersionKind, Resource] = field(default_factory=dict)
    by_kind: dict[tuple[str, str], list[Resource]] = field(default_factory=dict)
    confirmed: set[tuple[str, str]] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)

    def add(self, resource: Resource, *, confirmed: bool = True) -> None:
        if confirmed:
            self.confirmed.add((resource.group, resource.kind))
        if resource.gvk in self.by_gvk:
            return
        self.by_gvk[resource.gvk] = resource
        self.by_kind.setdefault((resource.group, resource.kind), []).append(resource)

    def fail(self, group: str, version: str) -> None:
        self.failed.add(f"{group}/{version}" if group else version)

    def lacks(self, group: str) -> bool:
        return any(name.rpartition("/")[0] == group for name in self.failed)

    def carry_over(self, before: _Picture) -> None:
        """Go on using what was known of the versions that did not answer now."""
        for resource in before.by_gvk.values():
            if resource.api_version in self.failed:
                self.add(resource, confirmed=False)


class RestMapper:
    """Kinds to resources, for one server. Share one per server, not per tenant."""

    def __init__(self, client: KubeClient, clock: Clock | None = None) -> None:
        """Read nothing yet.

        Args:
            client: any identity; every authenticated user may read discovery.
            clock: the time.

        """
        self._client = client
        self._clock = clock or RealClock()
        self._picture: _Picture | None = None
        self._read_at = 0.0
        self._lock = asyncio.Lock()
        self._started = 0
        self._finished = 0
        self._misses: dict[tuple[str, str, str], float] = {}
        self._expected: dict[str, float] = {}

    async def resource_for(self, gvk: GroupVersionKind) -> Resource:
        """The resource of a kind in exactly this version.

        Raises:
            NoMatch: it is not served, as of a reading at most 10 seconds old.
            ApiError: the server could not be asked.

        """
        picture = await self._current()
        found = picture.by_gvk.get(gvk)
        if found is None:
            picture = await self._after_miss(picture, gvk)
            found = picture.by_gvk.get(gvk)
        if found is None:
            raise NoMatch(gvk, unknown_group=picture.lacks(gvk.group))
        return found

    async def resource_for_kind(self, group: str, kind: str, *, version_hint: str = "") -> Resource:
        """The resource of a kind in the hinted version if that is served, else in the preferred.

        Raises:
            NoMatch: no version of it is served.
            ApiError: the server could not be asked.

        """
        picture = await self._current()
        found = picture.by_kind.get((group, kind))
        gvk = GroupVersionKind(group, version_hint, kind)
        if not found:
            picture = await self._after_miss(picture, gvk)
            found = picture.by_kind.get((group, kind))
        if not found:
            raise NoMatch(gvk, unknown_group=picture.lacks(group))
        return next((each for each in found if each.version == version_hint), found[0])

    async def has_kind_fresh(self, group: str, kind: str) -> bool:
        """Whether any version of a kind is served, by a reading that starts now.

        Raises:
            DiscoveryIncomplete: the kind was not found, but some groups could not be read.
            ApiError: the server could not be asked.

        """
        picture = await self._read(fresh=True)
        if (group, kind) in picture.confirmed:
            return True
        if picture.failed:
            raise DiscoveryIncomplete(picture.failed)
        return False

    async def refresh(self) -> None:
        """Read everything anew; keeps what was known of groups that do not answer.

        Raises:
            ApiError: the server could not be asked.

        """
        await self._read(fresh=True)

    def invalidate(self) -> None:
        """Read everything again at the next question."""
        self._picture = None
        self._misses.clear()

    def crd_appeared(self, group: str) -> None:
        """A CustomResourceDefinition of a group was made or changed: believe no miss in it.

        Servers publish a new kind some moments later, so for 30 seconds every miss in the group
        reads again.
        """
        self._expected[group] = self._clock.monotonic() + _EXPECTED_SECONDS
        self._misses = {key: at for key, at in self._misses.items() if key[0] != group}

    async def _current(self) -> _Picture:
        return self._picture if self._picture is not None else await self._read()

    async def _after_miss(self, picture: _Picture, gvk: GroupVersionKind) -> _Picture:
        """A newer picture if one may be had; the spacing bounds what wrong kinds can cost."""
        now = self._clock.monotonic()
        missed = (gvk.group, gvk.version, gvk.kind)
        if self._expected.get(gvk.group, 0.0) > now:
            spacing = _EXPECTED_SPACING
        else:
            self._expected.pop(gvk.group, None)
            if now - self._misses.get(missed, -_MISS_SECONDS) < _MISS_SECONDS:
                return picture
            spacing = _SPACING
        if self._picture is picture:
            await self._clock.sleep(max(0.0, self._read_at + spacing - now))
        newer = self._picture
        if newer is None or newer is picture:
            newer = await self._read()
        if len(self._misses) >= _MISSES_KEPT:
            self._misses.clear()
        self._misses[missed] = self._clock.monotonic()
        return newer

    async def _read(self, *, fresh: bool = False) -> _Picture:
        """Read everything, or share the reading of somebody else.

        ``fresh`` shares only a reading that began after this call.
        """
        started, finished = self._started, self._finished
        async with self._lock:
            shared = self._finished > (started if fresh else finished)
            if shared and self._picture is not None:
                return self._picture
            self._started += 1
            number = self._started
            before = self._picture
            picture = await _read_server(self._client)
            if picture.failed and before is not None:
                picture.carry_over(before)
            self._finished = number
            self._picture = picture
            self._read_at = self._clock.monotonic()
            return picture


async def _read_server(client: KubeClient) -> _Picture:
    picture = _Picture()
    for path in ("/api", "/apis"):
        document = await client.request("GET", path, accept=_ACCEPT)
        try:
            if document.get("kind") == "APIGroupDiscoveryList":
                _read_aggregated(document, picture)
            else:
                await _read_each(client, _group_versions(document), picture)
        except (AttributeError, TypeError) as error:  # a server that a tenant runs may say anything
            raise ApiError(f"the server's answer to {path} is no discovery document") from error
    return picture


def _read_aggregated(document: JsonObject, picture: _Picture) -> None:
    for item in document.get("items") or ():
        group = str((item.get("metadata") or {}).get("name") or "")
        for version in item.get("versions") or ():
            name = str(version.get("version") or "")
            if version.get("freshness", "Current") != "Current":
                picture.fail(group, name)
                continue
            for entry in version.get("resources") or ():
                kind = str((entry.get("responseKind") or {}).get("kind") or "")
                plural = str(entry.get("resource") or "")
                namespaced = entry.get("scope") == "Namespaced"
                _add(picture, Resource(group, name, plural, kind, namespaced))


def _group_versions(document: JsonObject) -> list[tuple[str, str]]:
    """Of ``/api`` or ``/apis``, the preferred version of each group first."""
    found = [("", str(version)) for version in document.get("versions") or ()]
    for group in document.get("groups") or ():
        preferred = (group.get("preferredVersion") or {}).get("version")
        versions = [str(each.get("version") or "") for each in group.get("versions") or ()]
        versions.sort(key=lambda version: version != preferred)
        found += [(str(group.get("name") or ""), version) for version in versions]
    return found


async def _read_each(
    client: KubeClient, versions: list[tuple[str, str]], picture: _Picture
) -> None:
    """One request per group version, a few at a time, added in the order of preference."""
    for start in range(0, len(versions), _AT_ONCE):
        some = versions[start : start + _AT_ONCE]
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(_read_version(client, *each), name=f"discovery-{each[0]}")
                for each in some
            ]
        for (name, version), task in zip(some, tasks, strict=True):
            entries = task.result()
            if entries is None:
                picture.fail(name, version)
            for entry in entries or ():
                plural, kind = str(entry.get("name") or ""), str(entry.get("kind") or "")
                namespaced = entry.get("namespaced") is True
                if "/" not in plural:  # not a subresource
                    _add(picture, Resource(name, version, plural, kind, namespaced))


async def _read_version(
    client: KubeClient, group: str, version: str
) -> list[dict[str, Any]] | None:
    """The entries of one group version; ``None`` if it does not answer."""
    try:
        document = await client.request("GET", group_version_path(group, version))
    except NotFound:
        return []  # it went between the two requests
    except (ApiError, UnsafeName):
        return None
    return document.get("resources") or []


def _add(picture: _Picture, resource: Resource) -> None:
    try:
        for value, field_name in ((resource.version, "version"), (resource.plural, "plural")):
            segment(value, field_name)
        if resource.group:
            segment(resource.group, "group")
    except UnsafeName:
        return  # a name that no request can carry
    if resource.kind:
        picture.add(resource)
