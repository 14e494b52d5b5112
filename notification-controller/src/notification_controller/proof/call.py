"""A call of a webhook, and what comes of looking at it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from multidict import CIMultiDict

from fluvial.errors import FluvialError

__all__ = ["Call", "Proof", "Refused"]


class Refused(FluvialError):
    """The caller did not prove itself; the message is for the log and says no secret."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request.

    Attributes:
        headers: by name in any case.
        body: all of it.

    """

    headers: CIMultiDict[str] = field(repr=False)
    body: bytes = field(repr=False)

    def header(self, name: str) -> str:
        """A header that is there once, or ``""``.

        Raises:
            Refused: it is there more than once: which one counts would be a guess.

        """
        values = self.headers.getall(name, [])
        if len(values) > 1:
            raise Refused(f"the header {name} is there more than once")
        return values[0].strip() if values else ""

    def json(self) -> Any:
        """The body as JSON.

        Raises:
            Refused: it is not.

        """
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError as error:
            raise Refused("the body is not JSON") from error

    @property
    def is_json(self) -> bool:
        """Whether the content type says so."""
        types = [
            kind for value in self.headers.getall("Content-Type", []) for kind in value.split(",")
        ]
        return any(kind.partition(";")[0].strip().lower() == "application/json" for kind in types)


@dataclass(frozen=True, slots=True)
class Proof:
    """A call that is taken.

    Attributes:
        event: what the sender says happened; ``None`` where its type has no names for that.
        delivery: the sender's id of this call, the same when it is sent again; ``""`` for none.
        claims: of the caller's token, for ``generic-oidc``.
        body: what expressions see as ``req``, where it is not the body of the call.

    """

    event: str | None = None
    delivery: str = ""
    claims: Mapping[str, Any] | None = None
    body: Any = None
