"""Why a request's object is refused, in the terms of a Status.

FieldsError          .status .reason .message .causes
└── ApplyConflict    409: another manager owns fields that the applied object would change
"""

from __future__ import annotations

from dataclasses import dataclass

from fluvial.errors import FluvialError

__all__ = ["ApplyConflict", "Cause", "FieldsError", "bad_request", "invalid"]


@dataclass(frozen=True, slots=True)
class Cause:
    """One entry of ``details.causes``.

    Attributes:
        field: the path in the form the server uses, such as ``spec.ports[0].port``.
        message: such as ``Required value``.
        reason: such as ``FieldValueRequired``.
        text: the sentence of this cause inside the Status message.

    """

    field: str
    message: str
    reason: str

    @property
    def text(self) -> str:
        """``field: message``, as the Status message quotes it."""
        return f"{self.field}: {self.message}"

    def as_json(self) -> dict[str, str]:
        """The form in ``details.causes``."""
        return {"reason": self.reason, "message": self.message, "field": self.field}


class FieldsError(FluvialError):
    """The object cannot be accepted.

    Attributes:
        status: the HTTP status.
        reason: the Status reason; empty where the real server gives none (status 500).
        message: the whole Status message. For ``invalid`` it is complete too, kind and name
            included.
        causes: for ``details.causes``.
        details: further keys of ``details`` (name, group, kind).

    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        reason: str = "BadRequest",
        causes: list[Cause] | None = None,
        details: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.reason = reason
        self.causes = causes or []
        self.details = details or {}


class ApplyConflict(FieldsError):
    """Server-side apply met fields of other managers.

    Attributes:
        conflicts: pairs of the manager as the message names it, such as
            ``"kubectl" using apps/v1``, and the path, such as ``.spec.replicas``.

    """

    def __init__(self, conflicts: list[tuple[str, str]]) -> None:
        self.conflicts = conflicts
        causes = [
            Cause(field=path, message=f"conflict with {manager}", reason="FieldManagerConflict")
            for manager, path in conflicts
        ]
        super().__init__(_sentence(conflicts), status=409, reason="Conflict", causes=causes)


def _sentence(conflicts: list[tuple[str, str]]) -> str:
    if len(conflicts) == 1:
        manager, path = conflicts[0]
        return f"Apply failed with 1 conflict: conflict with {manager}: {path}"
    lines: list[str] = []
    for manager in dict.fromkeys(manager for manager, _ in conflicts):
        lines.append(f"conflicts with {manager}:")
        lines.extend(f"- {path}" for name, path in conflicts if name == manager)
    return f"Apply failed with {len(conflicts)} conflicts: " + "\n".join(lines)


def bad_request(message: str) -> FieldsError:
    """A 400 with this message."""
    return FieldsError(message)


def invalid(*, group: str, kind: str, name: str, causes: list[Cause]) -> FieldsError:
    """A 422 for these causes, worded as the API server words it."""
    texts = list(dict.fromkeys(cause.text for cause in causes))
    body = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    qualified = f"{kind}.{group}" if group else kind
    details = {"name": name, "group": group, "kind": kind}
    return FieldsError(
        f'{qualified} "{name}" is invalid: {body}',
        status=422,
        reason="Invalid",
        causes=causes,
        details={key: value for key, value in details.items() if value},
    )
