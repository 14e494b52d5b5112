"""Which requests a rule, or a question to the log, is about."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from faultproxy.asked import Asked

__all__ = ["Match"]


@dataclass(frozen=True, slots=True)
class Match:
    """Terms that all hold; an empty one holds always. See the package for their meaning."""

    verb: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    user: str = ""
    agent: str = ""
    path: str = ""
    query: str = ""

    def __post_init__(self) -> None:
        for term, value in self._terms():
            try:
                re.compile(value)
            except re.error as error:
                raise ValueError(f"{term}: bad expression: {error}") from error

    @classmethod
    def parse(cls, data: object) -> Match:
        """From JSON.

        Raises:
            ValueError: an unknown term or a bad expression.

        """
        if not isinstance(data, Mapping):
            raise TypeError("a match is an object")
        unknown = sorted(set(data) - {field.name for field in fields(cls)})
        if unknown:
            raise ValueError(f"unknown terms: {', '.join(unknown)}")
        return cls(**{str(name): str(value) for name, value in data.items()})

    def matches(self, asked: Asked) -> bool:
        """Whether it is such a request."""
        if self.verb and asked.verb not in self.verb.split("|"):
            return False
        return all(
            not value or re.search(value, asked.acting if term == "user" else getattr(asked, term))
            for term, value in self._terms()
        )

    def _terms(self) -> list[tuple[str, Any]]:
        return [(f.name, getattr(self, f.name)) for f in fields(self) if f.name != "verb"]
