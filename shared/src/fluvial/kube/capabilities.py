"""What a cluster can do, as Helm's templates see it (``.Capabilities``)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

from fluvial.clock import Clock, RealClock
from fluvial.kube.client import KubeClient
from fluvial.kube.errors import ApiError
from fluvial.kube.urls import UnsafeName, group_version_path
from fluvial.objects import JsonObject

__all__ = ["Capabilities", "CapabilitiesReader", "api_versions"]

_ACCEPT = (
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,"
    "application/json"
)
_MAX_AGE = 10.0
_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Capabilities:
    """A cluster's version and what it serves.

    Attributes:
        version: as the server says it, ``v1.33.4+k3s1``.
        major: as the server says it.
        minor: as the server says it, perhaps ``33+``.
        api_versions: group versions (``apps/v1``) and kinds in them (``apps/v1/Deployment``),
            kinds of subresources among them (``apps/v1/Scale``); sorted, each once.

    """

    version: str
    major: str
    minor: str
    api_versions: tuple[str, ...] = ()

    @classmethod
    def of_version(cls, version: str, api_versions: tuple[str, ...] = ()) -> Capabilities:
        """Those of a version that nobody was asked for; ``v1.33.4`` has major 1 and minor 33."""
        major, _, rest = version.removeprefix("v").partition(".")
        return cls(version, major, rest.partition(".")[0], api_versions)


class CapabilitiesReader:
    """The capabilities of one server, read anew where they are more than 10 seconds old.

    Args:
        client: any identity; every authenticated user may read discovery.
        clock: the time.

    """

    def __init__(self, client: KubeClient, clock: Clock | None = None) -> None:
        self._client = client
        self._clock = clock or RealClock()
        self._known: Capabilities | None = None
        self._read_at = 0.0
        self._lock = asyncio.Lock()

    async def current(self) -> Capabilities:
        """What the server can do.

        A group version that does not answer, because its own server is down, is left out.

        Raises:
            ApiError: the server could not be asked.

        """
        async with self._lock:
            age = self._clock.monotonic() - self._read_at
            if self._known is None or age > _MAX_AGE:
                self._known = await _read(self._client)
                self._read_at = self._clock.monotonic()
            return self._known

    def invalidate(self) -> None:
        """Read anew at the next call: definitions have been written."""
        self._known = None


def api_versions(document: JsonObject) -> Iterator[str]:
    """What a document of aggregated discovery names, kinds of subresources included."""
    for item in document.get("items") or ():
        group = str((item.get("metadata") or {}).get("name") or "")
        for version in item.get("versions") or ():
            name = str(version.get("version") or "")
            group_version = f"{group}/{name}" if group else name
            yield group_version
            if version.get("freshness", "Current") != "Current":
                continue
            for entry in version.get("resources") or ():
                for each in (entry, *(entry.get("subresources") or ())):
                    kind = str((each.get("responseKind") or {}).get("kind") or "")
                    if kind:
                        yield f"{group_version}/{kind}"


async def _read(client: KubeClient) -> Capabilities:
    version = await client.request("GET", "/version")
    found: set[str] = set()
    for path in ("/api", "/apis"):
        document = await client.request("GET", path, accept=_ACCEPT)
        try:
            if document.get("kind") == "APIGroupDiscoveryList":
                found.update(api_versions(document))
            else:
                await _read_each(client, list(_group_versions(document)), found)
        except (AttributeError, TypeError) as error:  # a server that a tenant runs may say anything
            raise ApiError(f"the server's answer to {path} is no discovery document") from error
    return Capabilities(
        str(version.get("gitVersion") or ""),
        str(version.get("major") or ""),
        str(version.get("minor") or ""),
        tuple(sorted(found)),
    )


def _group_versions(document: JsonObject) -> Iterator[tuple[str, str]]:
    for version in document.get("versions") or ():
        yield "", str(version)
    for group in document.get("groups") or ():
        for each in group.get("versions") or ():
            yield str(group.get("name") or ""), str(each.get("version") or "")


async def _read_each(client: KubeClient, versions: list[tuple[str, str]], found: set[str]) -> None:
    """For a server without aggregated discovery: one request per group version."""
    for start in range(0, len(versions), _AT_ONCE):
        async with asyncio.TaskGroup() as group:
            for each in versions[start : start + _AT_ONCE]:
                group.create_task(_read_version(client, *each, found), name=f"versions-{each[0]}")


async def _read_version(client: KubeClient, group: str, version: str, found: set[str]) -> None:
    group_version = f"{group}/{version}" if group else version
    found.add(group_version)
    try:
        document = await client.request("GET", group_version_path(group, version))
        kinds = [str(entry["kind"]) for entry in document["resources"] if entry.get("kind")]
    except (ApiError, UnsafeName, AttributeError, KeyError, TypeError):
        return  # as a server that is down
    found.update(f"{group_version}/{kind}" for kind in kinds)
