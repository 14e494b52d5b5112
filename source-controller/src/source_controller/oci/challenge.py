"""``WWW-Authenticate``: how a registry wants to be told who asks (RFC 9110 §11.6.1)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

__all__ = ["Challenge", "choose", "parse_challenges"]

_MAX_HEADER = 8192
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105  # a pattern
_PART = re.compile(rf'({_TOKEN})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|({_TOKEN}))|({_TOKEN})|[\s,]+|.')


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way to authenticate.

    Attributes:
        scheme: in lower case.
        realm: for ``bearer`` the address of the token service.
        service: name of the registry there.
        scope: what the request needs.

    """

    scheme: str
    realm: str = ""
    service: str = ""
    scope: str = ""


def parse_challenges(headers: Iterable[str]) -> list[Challenge]:
    """All challenges of an answer, in order; what cannot be read is left out.

    Args:
        headers: the values of ``WWW-Authenticate``.

    """
    found: list[Challenge] = []
    for header in headers:
        scheme, parameters = "", dict[str, str]()
        for part in _PART.finditer(header[:_MAX_HEADER]):
            name, quoted, plain, word = part.groups()
            if name and scheme:
                value = plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
                parameters.setdefault(name.lower(), value)
            elif word:
                if scheme:
                    found.append(_challenge(scheme, parameters))
                scheme, parameters = word.lower(), {}
        if scheme:
            found.append(_challenge(scheme, parameters))
    return found


def _challenge(scheme: str, parameters: dict[str, str]) -> Challenge:
    return Challenge(
        scheme,
        parameters.get("realm", ""),
        parameters.get("service", ""),
        parameters.get("scope", ""),
    )


def choose(challenges: Iterable[Challenge]) -> Challenge | None:
    """The challenge that is answered: bearer before basic; ``None`` if neither is offered."""
    by_scheme = {challenge.scheme: challenge for challenge in challenges}
    wanted: tuple[Literal["bearer", "basic"], ...] = ("bearer", "basic")
    return next((by_scheme[scheme] for scheme in wanted if scheme in by_scheme), None)
