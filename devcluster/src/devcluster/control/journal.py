"""The request log: every request in the order of arrival, in memory and as JSON lines.

An audit log in the API server's own format (level Metadata) can be written beside it, so that
what counts requests works on both control planes.
"""

from __future__ import annotations

import sys
import uuid
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

import orjson

from devcluster import clock
from devcluster.identity import User
from devcluster.request import RequestInfo

__all__ = ["Entry", "Journal"]


@dataclass(slots=True)
class Entry:
    """One request.

    ``user`` is who authenticated, ``impersonated`` whom it acts as (empty: itself); ``status``
    is 0 while it is in flight and when its connection was cut; ``sent`` counts body bytes of the
    answer; ``seconds`` is the time to the answer, for watches to their start. ``metadata_only``:
    nothing but metadata was asked for.
    """

    seq: int
    time: str
    method: str
    verb: str
    path: str
    query: str
    agent: str
    user: str = ""
    impersonated: str = ""
    status: int = 0
    sent: int = 0
    seconds: float = 0.0
    write: bool = field(default=False)
    metadata_only: bool = False

    @property
    def acting(self) -> str:
        """Whose permissions counted."""
        return self.impersonated or self.user


class Journal:
    """Keeps entries and writes the files.

    Args:
        keep: how many entries stay in memory.
        request_log: JSON lines of Entry; None writes none.
        audit_log: JSON lines of ``audit.k8s.io/v1`` Events; None writes none.

    """

    def __init__(
        self, *, keep: int = 200_000, request_log: Path | None, audit_log: Path | None
    ) -> None:
        self._entries: deque[Entry] = deque(maxlen=keep)
        self._next = 1
        self._request_log = request_log
        self._audit_log = audit_log
        self._requests: IO[bytes] | None = None
        self._audit: IO[bytes] | None = None

    def open(self) -> None:
        """Open the files, to write on at their ends."""
        self._requests, self._audit = _open(self._request_log), _open(self._audit_log)

    def begin(
        self, method: str, info: RequestInfo, query: str, headers: Mapping[str, str]
    ) -> Entry:
        """Note a request that has arrived."""
        agent, accept = headers.get("User-Agent", ""), headers.get("Accept", "")
        entry = Entry(
            seq=self._next,
            time=clock.format_micro(clock.now()),
            method=method,
            verb=info.verb,
            # The same few texts come again and again; the log keeps each of them once.
            path=sys.intern(info.path),
            query=sys.intern(query),
            agent=sys.intern(agent),
            metadata_only="as=PartialObjectMetadata" in accept,
        )
        self._next += 1
        self._entries.append(entry)
        return entry

    def end(self, entry: Entry, info: RequestInfo, users: tuple[User | None, User | None]) -> None:
        """Note the answer; ``users`` are who authenticated and whom it acted as."""
        if self._requests is not None:
            self._requests.write(orjson.dumps(asdict(entry)) + b"\n")
        if self._audit is not None:
            self._audit.write(orjson.dumps(_audit_event(entry, info, users)) + b"\n")

    def __iter__(self) -> Iterator[Entry]:
        return iter(list(self._entries))

    def clear(self) -> None:
        """Forget what is in memory; the files stay."""
        self._entries.clear()

    def close(self) -> None:
        """Flush and close the files."""
        for file in (self._requests, self._audit):
            if file is not None:
                file.close()
        self._requests = self._audit = None


def _open(path: Path | None) -> IO[bytes] | None:
    # Line by line, so that a reader sees each request at once and a killed server loses none.
    return None if path is None else path.open("ab", buffering=0)


def _user(user: User) -> dict[str, Any]:
    shown: dict[str, Any] = {"username": user.name, "groups": list(user.groups)}
    if user.uid:
        shown["uid"] = user.uid
    if user.extra:
        shown["extra"] = {key: list(values) for key, values in user.extra.items()}
    return shown


def _audit_event(
    entry: Entry, info: RequestInfo, users: tuple[User | None, User | None]
) -> dict[str, Any]:
    event: dict[str, Any] = {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": "Metadata",
        "auditID": str(uuid.uuid4()),
        "stage": "ResponseComplete",
        "requestURI": entry.path + (f"?{entry.query}" if entry.query else ""),
        "verb": entry.verb,
        "user": _user(users[0]) if users[0] else {},
        "sourceIPs": ["127.0.0.1"],
        "userAgent": entry.agent,
        "responseStatus": {"metadata": {}, "code": entry.status},
        "requestReceivedTimestamp": entry.time,
        "stageTimestamp": clock.format_micro(clock.now()),
    }
    if users[1] is not None:
        event["impersonatedUser"] = _user(users[1])
    if info.is_resource:
        reference = {
            "resource": info.resource,
            "namespace": info.namespace,
            "name": info.name,
            "apiGroup": info.group,
            "apiVersion": info.version,
            "subresource": info.subresource,
        }
        event["objectRef"] = {key: value for key, value in reference.items() if value}
    return event
