"""Which requests a hold, a fault or a query of the log is about."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from devcluster.control.journal import Entry

__all__ = ["WRITES", "Match"]

WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})


@dataclass(frozen=True, slots=True)
class Match:
    """Terms that all hold; an empty one holds always. See the package for their meaning."""

    method: str = ""
    verb: str = ""
    path: str = ""
    query: str = ""
    user: str = ""
    agent: str = ""

    @classmethod
    def parse(cls, data: Mapping[str, Any] | None) -> Match:
        """From JSON; ValueError on an unknown term or a bad expression."""
        data = dict(data or {})
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(data) - known)
        if unknown:
            raise ValueError(f"unknown terms: {', '.join(unknown)}")
        try:
            for name in ("path", "query", "user", "agent"):
                re.compile(str(data.get(name, "")))
        except re.error as error:
            raise ValueError(f"bad expression: {error}") from error
        return cls(**{name: str(value) for name, value in data.items()})

    def matches(self, entry: Entry) -> bool:
        """Whether ``entry`` is such a request."""
        if self.method and not self._has_method(entry.method):
            return False
        if self.verb and entry.verb not in self.verb.split("|"):
            return False
        texts = (
            (self.path, entry.path),
            (self.query, entry.query),
            (self.user, entry.acting),
            (self.agent, entry.agent),
        )
        return all(not pattern or re.search(pattern, text) for pattern, text in texts)

    def _has_method(self, method: str) -> bool:
        wanted = self.method.split("|")
        return method in wanted or ("write" in wanted and method in WRITES)
