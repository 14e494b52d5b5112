"""What can happen to a request. The package has the table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

__all__ = [
    "Fault",
    "answer",
    "conflict",
    "delay",
    "hang",
    "redirect",
    "reset",
    "slow",
    "status_body",
    "truncate",
    "unauthorized",
    "watch",
]

_CHOICES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "delay": {},
    "status": {"body": ("status", "text", "none")},
    "redirect": {},
    "reset": {"when": ("before", "after", "body")},
    "hang": {"when": ("before", "after", "headers")},
    "truncate": {"how": ("length", "chunk")},
    "slow": {},
    "watch": {"then": ("end", "reset", "hang", "garbage", "gone", "late")},
}
_NUMBERS = frozenset({"seconds", "jitter"})
_COUNTS = frozenset({"status", "retry_after", "bytes", "events"})
_REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    410: "Expired",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault; made by the functions of this module or by ``parse``."""

    do: str
    seconds: float = 0.0
    jitter: float = 0.0
    status: int = 0
    retry_after: int | None = None
    body: str = "status"
    location: str = ""
    when: str = "before"
    how: str = "length"
    bytes: int = 1
    events: int = 0
    then: str = "end"

    def __post_init__(self) -> None:
        choices = _CHOICES.get(self.do)
        if choices is None:
            raise ValueError(f"do is one of {', '.join(_CHOICES)}")
        for term, allowed in choices.items():
            if getattr(self, term) not in allowed:
                raise ValueError(f"{term} is one of {', '.join(allowed)}")
        if self.seconds < 0 or self.jitter < 0 or self.bytes < 1 or self.events < 0:
            raise ValueError("seconds, jitter and events are not negative, bytes are at least 1")
        if self.do in {"status", "redirect"} and not 200 <= self.status <= 599:
            raise ValueError("status is from 200 to 599")

    @classmethod
    def parse(cls, data: object) -> Fault:
        """From JSON.

        Raises:
            ValueError: an unknown term, or a value that it cannot have.
            TypeError: a value of the wrong type.

        """
        if not isinstance(data, Mapping) or "do" not in data:
            raise TypeError("a fault is an object with do")
        unknown = sorted(set(data) - {field.name for field in fields(cls)})
        if unknown:
            raise ValueError(f"unknown terms: {', '.join(unknown)}")
        return cls(**{str(name): _value(str(name), value) for name, value in data.items()})

    @property
    def is_of_watches(self) -> bool:
        """Whether it can strike a watch only."""
        return self.do == "watch"

    @property
    def label(self) -> str:
        """For the log."""
        detail = {
            "status": str(self.status),
            "redirect": str(self.status),
            "reset": self.when,
            "hang": self.when,
            "truncate": self.how,
            "watch": self.then,
        }.get(self.do, "")
        return f"{self.do} {detail}".rstrip()


def _value(name: str, value: Any) -> Any:
    if name in _NUMBERS:
        return float(value)
    if name in _COUNTS:
        return None if value is None else int(value)
    if not isinstance(value, str):
        raise TypeError(f"{name} is text")
    return value


def delay(seconds: float, *, jitter: float = 0.0) -> Fault:
    """The request goes on later."""
    return Fault("delay", seconds=seconds, jitter=jitter)


def answer(status: int, *, retry_after: int | None = None, body: str = "status") -> Fault:
    """The proxy answers in place of the server."""
    return Fault("status", status=status, retry_after=retry_after, body=body)


def conflict() -> Fault:
    """409, as if somebody else had written."""
    return answer(409)


def unauthorized() -> Fault:
    """401, as for a token that has expired."""
    return answer(401)


def redirect(location: str, *, status: int = 307) -> Fault:
    """The server wants to be asked elsewhere."""
    return Fault("redirect", status=status, location=location)


def reset(when: str) -> Fault:
    """The connection is reset: ``before`` it is sent on, ``after`` it took effect, in the ``body``."""
    return Fault("reset", when=when)


def hang(when: str) -> Fault:
    """Nothing comes any more: ``before`` it is sent on, ``after`` it took effect, after ``headers``."""
    return Fault("hang", when=when)


def truncate(how: str) -> Fault:
    """Half of the body and a proper end: of a ``length`` that is more, or without a last ``chunk``."""
    return Fault("truncate", how=how)


def slow(piece: int, seconds: float) -> Fault:
    """The body comes ``piece`` bytes at a time, ``seconds`` apart."""
    return Fault("slow", bytes=piece, seconds=seconds)


def watch(then: str, *, events: int = 0, seconds: float = 0.0) -> Fault:
    """What becomes of a watch after some events."""
    return Fault("watch", then=then, events=events, seconds=seconds)


def status_body(status: int, *, retry_after: int | None = None) -> dict[str, Any]:
    """The Status object of a refusal."""
    details = {} if retry_after is None else {"retryAfterSeconds": retry_after}
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": "fault injected",
        "reason": _REASONS.get(status, ""),
        "details": details,
        "code": status,
    }
