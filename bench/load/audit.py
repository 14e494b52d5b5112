"""API requests of a phase, counted from the audit log that either control plane writes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import orjson

from fluvial.objects import JsonObject

__all__ = ["AuditLog", "Counted", "Request", "count", "read_request"]


@dataclass(frozen=True, slots=True)
class Request:
    """One request that was answered.

    Attributes:
        agent: the user agent.
        verb: ``get``, ``list``, ``watch``, ``create``, ``update``, ``delete``, ``patch``, or
            ``apply`` for a server-side apply; ``dry-run`` for an apply that writes nothing.
        resource: plural, with ``/subresource`` where there is one; the path without its last
            part's detail where it is no resource (``/openapi``).
        tenant: made by impersonation.
        code: the answer's HTTP status.

    """

    agent: str
    verb: str
    resource: str
    tenant: bool
    code: int


@dataclass(frozen=True, slots=True, order=True)
class Counted:
    """How often a controller asked one thing in one way."""

    controller: str
    verb: str
    resource: str
    tenant: bool
    count: int
    failed: int = 0
    """Answered with 4xx or 5xx, such as conflicts."""


class AuditLog:
    """Reads what is appended to an audit log."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._offset = 0
        self._rest = b""

    def news(self) -> list[Request]:
        """Requests since the last call; a line that is not complete yet comes with the next."""
        if not self._file.exists():
            return []
        with self._file.open("rb") as log:
            log.seek(self._offset)
            data = log.read()
        self._offset += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        return list(_requests(lines))


def _requests(lines: Iterable[bytes]) -> Iterator[Request]:
    for line in lines:
        if not line:
            continue
        event = orjson.loads(line)
        if event.get("stage") in {None, "ResponseComplete", "Panic"}:
            yield read_request(event)


def read_request(event: JsonObject) -> Request:
    """A request of an ``audit.k8s.io/v1`` Event at level Metadata."""
    uri = urlsplit(str(event.get("requestURI") or ""))
    query = parse_qs(uri.query)
    verb = str(event.get("verb") or "")
    if verb == "patch" and "force" in query:
        verb = "apply"
    if query.get("dryRun") == ["All"]:
        verb = "dry-run"
    ref = event.get("objectRef") or {}
    name = str(ref.get("resource") or "")
    if not name:
        name = "/" + uri.path.strip("/").partition("/")[0]
    elif ref.get("subresource"):
        name = f"{name}/{ref['subresource']}"
    return Request(
        agent=str(event.get("userAgent") or ""),
        verb=verb,
        resource=name,
        tenant="impersonatedUser" in event,
        code=int((event.get("responseStatus") or {}).get("code") or 0),
    )


def count(requests: Iterable[Request], agents: Mapping[str, str]) -> tuple[Counted, ...]:
    """Count what the controllers asked; other clients' requests are left out.

    Args:
        requests: in any order.
        agents: how the user agent of each controller begins, by its name.

    """
    totals: Counter[tuple[str, str, str, bool]] = Counter()
    failures: Counter[tuple[str, str, str, bool]] = Counter()
    for one in requests:
        names = [name for name, agent in agents.items() if one.agent.startswith(agent)]
        if not names:
            continue
        key = (max(names, key=lambda name: len(agents[name])), one.verb, one.resource, one.tenant)
        totals[key] += 1
        failures[key] += one.code >= 400
    return tuple(sorted(Counted(*key, total, failures[key]) for key, total in totals.items()))
