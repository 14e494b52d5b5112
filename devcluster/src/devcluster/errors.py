"""What the API server answers when it says no: one exception, one constructor per reason.

    FluvialError
    └── ApiFailure ........ carries the Status that the client receives

Messages and details are those of kube-apiserver, because tools read them: ``kubectl`` prints
them, controllers match on reason and causes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fluvial.errors import FluvialError

__all__ = [
    "ApiFailure",
    "already_exists",
    "bad_request",
    "conflict",
    "expired",
    "forbidden",
    "internal",
    "invalid",
    "method_not_allowed",
    "not_found",
    "resource_not_found",
    "terminating",
    "too_many_requests",
    "unauthorized",
    "unsupported_media_type",
]


class ApiFailure(FluvialError):
    """A request ended with a Status of failure.

    Args:
        code: the HTTP status code.
        reason: the machine-readable reason; empty when the server gives none.
        message: what a person reads.
        details: the Status' details as they go on the wire.
        headers: extra response headers (``Retry-After``).

    """

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        *,
        details: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details
        self.metadata = metadata or {}
        self.headers = headers or {}

    def status(self) -> dict[str, Any]:
        """The ``v1`` Status object."""
        body: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": dict(self.metadata),
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            body["reason"] = self.reason
        if self.details is not None:
            body["details"] = dict(self.details)
        body["code"] = self.code
        return body


def qualified(plural: str, group: str) -> str:
    """``deployments.apps``, or ``configmaps`` for the core group."""
    return f"{plural}.{group}" if group else plural


def _details(name: str, group: str, kind: str) -> dict[str, Any]:
    details: dict[str, Any] = {}
    if name:
        details["name"] = name
    if group:
        details["group"] = group
    if kind:
        details["kind"] = kind
    return details


def not_found(*, group: str, plural: str, name: str) -> ApiFailure:
    """404 for one object."""
    return ApiFailure(
        404,
        "NotFound",
        f'{qualified(plural, group)} "{name}" not found',
        details=_details(name, group, plural),
    )


def resource_not_found() -> ApiFailure:
    """404 for a path under a known group and version that names no served resource."""
    return ApiFailure(
        404, "NotFound", "the server could not find the requested resource", details={}
    )


def already_exists(
    *, group: str, plural: str, name: str, going: bool = False, generated: bool = False
) -> ApiFailure:
    """409 on create.

    Args:
        group: of the kind.
        plural: of the kind.
        name: of the object.
        going: what is there is being deleted.
        generated: the name was, or could have been, made by the server; another try may do.

    """
    text = f'{qualified(plural, group)} "{name}" already exists'
    details = _details(name, group, plural)
    if generated:
        text += ", the server was not able to generate a unique name for the object"
        details["retryAfterSeconds"] = 1
    elif going:
        text = f"object is being deleted: {text}"
    return ApiFailure(409, "AlreadyExists", text, details=details)


def conflict(*, group: str, plural: str, name: str, why: str = "") -> ApiFailure:
    """409 on update: the caller reads again and repeats."""
    why = why or (
        "the object has been modified; please apply your changes to the latest version and try again"
    )
    return ApiFailure(
        409,
        "Conflict",
        f'Operation cannot be fulfilled on {qualified(plural, group)} "{name}": {why}',
        details=_details(name, group, plural),
    )


def invalid(*, group: str, kind: str, name: str, causes: Sequence[Mapping[str, str]]) -> ApiFailure:
    """422 with one cause per field: each has ``reason``, ``message`` and ``field``."""
    texts = [f"{cause['field']}: {cause['message']}" for cause in causes]
    text = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    details = _details(name, group, kind)
    details["causes"] = [dict(cause) for cause in causes]
    return ApiFailure(
        422,
        "Invalid",
        f'{qualified(kind, group)} "{name}" is invalid: {text}',
        details=details,
    )


def forbidden(*, group: str, plural: str, name: str, why: str) -> ApiFailure:
    """403 about a resource."""
    subject = qualified(plural, group) + (f' "{name}"' if name else "")
    return ApiFailure(
        403,
        "Forbidden",
        f"{subject} is forbidden: {why}",
        details=_details(name, group, plural),
    )


def terminating(*, group: str, plural: str, name: str, namespace: str) -> ApiFailure:
    """403 for something new in a namespace that is going away."""
    why = f"unable to create new content in namespace {namespace} because it is being terminated"
    failure = forbidden(group=group, plural=plural, name=name, why=why)
    cause = {
        "reason": "NamespaceTerminating",
        "message": f"namespace {namespace} is being terminated",
        "field": "metadata.namespace",
    }
    failure.details = {**(failure.details or {}), "causes": [cause]}
    return failure


def bad_request(message: str) -> ApiFailure:
    """400."""
    return ApiFailure(400, "BadRequest", message)


def unauthorized() -> ApiFailure:
    """401."""
    return ApiFailure(401, "Unauthorized", "Unauthorized")


def method_not_allowed() -> ApiFailure:
    """405."""
    return ApiFailure(
        405,
        "MethodNotAllowed",
        "the server does not allow this method on the requested resource",
        details={},
    )


def expired(message: str, *, fresh_token: str = "") -> ApiFailure:
    """410: the revision asked for has been compacted; ``fresh_token`` continues inconsistently."""
    metadata = {"continue": fresh_token} if fresh_token else None
    return ApiFailure(410, "Expired", message, metadata=metadata)


def unsupported_media_type(accepted: Sequence[str]) -> ApiFailure:
    """415: the body's content type is not one of ``accepted``."""
    return ApiFailure(
        415,
        "UnsupportedMediaType",
        "the body of the request was in an unknown format - accepted media types include: "
        + ", ".join(accepted),
    )


def too_many_requests(*, retry_after: int, message: str = "") -> ApiFailure:
    """429 with ``Retry-After`` in seconds."""
    return ApiFailure(
        429,
        "TooManyRequests",
        message or "Too many requests, please try again later.",
        details={"retryAfterSeconds": retry_after},
        headers={"Retry-After": str(retry_after)},
    )


def internal(message: str) -> ApiFailure:
    """500."""
    return ApiFailure(
        500,
        "InternalError",
        f"Internal error occurred: {message}",
        details={"causes": [{"message": message}]},
    )
