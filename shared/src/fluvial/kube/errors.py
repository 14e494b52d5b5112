"""What the API server answers when it does not answer with the object.

ApiError                 .status .reason .message .details
├── BadRequest           400  the request is wrong; do not repeat it
├── Unauthorized         401  credentials are missing, wrong or expired
├── Forbidden            403  RBAC or admission refuses; the message names the user
├── NotFound             404  the object, or (``is_resource``) its kind, is not there
├── MethodNotAllowed     405
├── NotAcceptable        406
├── Conflict             409  resourceVersion is old, or a field has another manager
│   └── AlreadyExists    409
├── Gone                 410  the resourceVersion or continue token is too old: list again
├── TooLarge             413
├── UnsupportedMediaType 415
├── Invalid              422  validation refuses; ``causes`` name the fields
├── TooManyRequests      429  after all retries
├── ServerError          5xx  after all retries
└── Unreachable          no answer at all, after all retries
"""

from __future__ import annotations

from typing import Any

from fluvial.errors import FluvialError

__all__ = [
    "AlreadyExists",
    "ApiError",
    "BadRequest",
    "Conflict",
    "Forbidden",
    "Gone",
    "Invalid",
    "MethodNotAllowed",
    "NotAcceptable",
    "NotFound",
    "ServerError",
    "TooLarge",
    "TooManyRequests",
    "Unauthorized",
    "Unreachable",
    "UnsupportedMediaType",
    "error_from_status",
]


class ApiError(FluvialError):
    """A request failed.

    Attributes:
        status: the HTTP status, 0 if there was no answer.
        reason: the Status object's reason, such as ``NotFound``, or ``""``.
        message: the Status object's message.
        details: the Status object's details: name, group, kind, causes, retryAfterSeconds.
        retry_after: seconds after which the server wants to be asked again, if it said so.

    """

    retry_after: float | None = None

    def __init__(
        self,
        message: str,
        *,
        status: int = 0,
        reason: str = "",
        details: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.reason = reason
        self.details: dict[str, Any] = details or {}

    @property
    def causes(self) -> list[dict[str, str]]:
        """Field-level causes: ``reason``, ``message``, ``field``."""
        return self.details.get("causes") or []


class BadRequest(ApiError):
    """400."""


class Unauthorized(ApiError):
    """401."""


class Forbidden(ApiError):
    """403."""


class NotFound(ApiError):
    """404."""

    @property
    def is_resource(self) -> bool:
        """True if the server does not serve the kind at all, rather than lacking one object."""
        return not self.details.get("name")


class MethodNotAllowed(ApiError):
    """405."""


class NotAcceptable(ApiError):
    """406."""


class Conflict(ApiError):
    """409."""


class AlreadyExists(Conflict):
    """409, reason AlreadyExists."""


class Gone(ApiError):
    """410, reasons Expired and Gone."""


class TooLarge(ApiError):
    """413."""


class UnsupportedMediaType(ApiError):
    """415."""


class Invalid(ApiError):
    """422."""


class TooManyRequests(ApiError):
    """429."""


class ServerError(ApiError):
    """500 and above."""


class Unreachable(ApiError):
    """No answer: refused, reset, timed out, TLS failed.

    Attributes:
        may_have_happened: True if the request may have reached the server, so that a write may
            have taken effect: read before writing again.
        permanent: True if asking again is useless, as with a certificate that is not trusted.

    """

    may_have_happened: bool = True
    permanent: bool = False


_BY_STATUS: dict[int, type[ApiError]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    405: MethodNotAllowed,
    406: NotAcceptable,
    409: Conflict,
    410: Gone,
    413: TooLarge,
    415: UnsupportedMediaType,
    422: Invalid,
    429: TooManyRequests,
}


def error_from_status(status: int, body: dict[str, Any] | None) -> ApiError:
    """The error for an HTTP status and the Status object in its body, if it had one."""
    body = body or {}
    reason = str(body.get("reason") or "")
    kind = _BY_STATUS.get(status, ServerError if status >= 500 else ApiError)
    if kind is Conflict and reason == "AlreadyExists":
        kind = AlreadyExists
    message = str(body.get("message") or f"the server answered {status} without a message")
    return kind(message, status=status, reason=reason, details=_details(body.get("details")))


def _details(value: object) -> dict[str, Any]:
    """What can be relied on of what a server sent, which may be a tenant's."""
    if not isinstance(value, dict):
        return {}
    causes = value.get("causes")
    if causes is None:
        return value
    listed = causes if isinstance(causes, list) else []
    texts = [
        {str(name): str(text) for name, text in cause.items()}
        for cause in listed
        if isinstance(cause, dict)
    ]
    return {**value, "causes": texts}
