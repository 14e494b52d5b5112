"""A request on its way to the verbs, and what comes back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from devcluster.gate import Strictness
from devcluster.identity import User
from devcluster.kinds import Kind
from devcluster.negotiation import Wanted, negotiate
from devcluster.request import RequestInfo, truth
from devcluster.sametype import check_sent
from devcluster.watching import Watch
from devcluster.wire import bodies
from devcluster.wire.protobuf import MAGIC
from devcluster.writes import WriteOptions

__all__ = ["Call", "Reply", "Stream"]

JsonObject = dict[str, Any]
_MAX_MANAGER = 128


@dataclass(frozen=True, slots=True)
class Reply:
    """A finished response."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Stream:
    """A response that goes on: the server writes its lines until they end."""

    watch: Watch


@dataclass(slots=True)
class Call:
    """One authorised request."""

    info: RequestInfo
    method: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    user: User
    warnings: list[str] = field(default_factory=list)
    _wanted: Wanted | None = None

    @property
    def content_type(self) -> str:
        return self.headers.get("Content-Type", "").partition(";")[0].strip()

    @property
    def wanted(self) -> Wanted:
        """What ``Accept`` asks for; raises 406."""
        if self._wanted is None:
            accept = self.headers.get("Accept", "")
            self._wanted = negotiate(accept, watch=self.info.verb == "watch")
        return self._wanted

    def decoded(self, kind: str) -> JsonObject:
        """The body as an object, which should be of ``kind``; 400 or 415."""
        return bodies.decode(self.body, self.content_type, kind=kind)

    def object(self, kind: Kind) -> JsonObject:
        """The body as an object of ``kind``; 400 or 422 when it says to be another."""
        obj = self.decoded(kind.kind)
        given = (obj.get("apiVersion") or "", obj.get("kind") or "")
        if given != (kind.api_version, kind.kind):
            check_sent(kind, obj, *given)
        return {**obj, "kind": kind.kind, "apiVersion": kind.api_version}

    def write_options(self) -> WriteOptions:
        """How to write; the query has been checked."""
        query = self.query
        modes: dict[str, Strictness] = {"Strict": "Strict", "Ignore": "Ignore"}
        return WriteOptions(
            manager=query.get("fieldManager", "") or self._default_manager(),
            user=self.user,
            dry_run=bool(query.get("dryRun")),
            strictness=modes.get(query.get("fieldValidation", ""), "Warn"),
            force=truth(query.get("force")),
            raw=b"" if self.body.startswith(MAGIC) else self.body,
            warnings=self.warnings,
            name=self.info.name,
        )

    def _default_manager(self) -> str:
        """The manager of a write that names none: the user agent up to its first slash."""
        agent = self.headers.get("User-Agent", "").partition("/")[0]
        return agent[:_MAX_MANAGER] or "unknown"
