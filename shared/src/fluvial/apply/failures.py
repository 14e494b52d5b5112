"""From the API server's refusal to a sentence that says which object, what, and what to do."""

from __future__ import annotations

import re
from collections.abc import Callable

from fluvial.apply.errors import Failure, FailureReason
from fluvial.apply.immutable import is_immutable
from fluvial.apply.masking import Masker
from fluvial.errors import FluvialError
from fluvial.kube.discovery import NoMatch
from fluvial.kube.errors import (
    ApiError,
    BadRequest,
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    ServerError,
    TooLarge,
    TooManyRequests,
    Unauthorized,
    Unreachable,
)
from fluvial.objects import JsonObject, ObjectRef

__all__ = [
    "asked_to_wait",
    "ends_all",
    "failure_of",
    "is_schema_error",
    "kind_missing",
    "namespace_missing",
]

_SCHEMA = re.compile(r"failed to (?:create typed patch object|convert new object)")
_WEBHOOK = re.compile(r"admission webhook|failed calling webhook|ValidatingAdmissionPolic")
_MAX_MESSAGE = 600


def is_schema_error(error: FluvialError) -> bool:
    """Whether the object does not fit the kind's schema; the server calls that a 500."""
    return isinstance(error, ApiError) and bool(_SCHEMA.search(error.message))


def kind_missing(error: FluvialError) -> bool:
    """Whether the server does not (yet, or any more) serve the kind itself."""
    return isinstance(error, NotFound) and error.is_resource


def namespace_missing(error: FluvialError) -> bool:
    """Whether the object's namespace is what was not found."""
    return isinstance(error, NotFound) and error.details.get("kind") == "namespaces"


def ends_all(failure: Failure) -> bool:
    """Whether every other request would fail in the same way, each after all its retries."""
    return failure.reason in {FailureReason.UNREACHABLE, FailureReason.UNAUTHORIZED}


def failure_of(
    ref: ObjectRef,
    error: FluvialError,
    *,
    masker: Masker,
    during: str,
    objects: tuple[JsonObject | None, ...] = (),
) -> Failure:
    """What to tell about one object.

    Args:
        ref: the object.
        error: what was raised.
        masker: hides strings that came from Secrets.
        during: ``dry-run``, ``apply`` or ``delete``, as Flux's messages have it.
        objects: desired and live; the values of Secrets among them are hidden too.

    """
    reason = _reason(error)
    text = masker.message(str(error), *objects)
    if len(text) > _MAX_MESSAGE:
        text = text[: _MAX_MESSAGE - 3] + "..."
    if reason is FailureReason.NAMESPACE_NOT_FOUND and ref.kind != "Namespace":
        return Failure(
            ref,
            reason,
            f"{ref} namespace not found: create Namespace {ref.namespace!r} in the same source, "
            "or in one that this depends on",
        )
    label = error.reason if isinstance(error, ApiError) and error.reason else str(reason)
    text = f"{ref} {during} failed ({label}): {text}"
    return Failure(ref, reason, text + _hint(reason), asked_to_wait(error))


def asked_to_wait(error: BaseException | None) -> float:
    """Seconds for which the server wants to be left alone: the longest in an error and its causes."""
    seconds = 0.0
    while error is not None:
        if isinstance(error, ApiError):
            seconds = max(seconds, error.retry_after or 0.0)
        failures: tuple[Failure, ...] = tuple(getattr(error, "failures", ()))
        seconds = max(seconds, *(failure.retry_after for failure in failures), 0.0)
        error = error.__cause__
    return seconds


def _hint(reason: FailureReason) -> str:
    match reason:
        case FailureReason.IMMUTABLE:
            return "; set spec.force, or the force annotation on the object, to recreate it"
        case FailureReason.KIND_NOT_FOUND:
            return "; install its CustomResourceDefinition first (dependsOn)"
        case _:
            return ""


def _reason(error: FluvialError) -> FailureReason:
    if isinstance(error, NoMatch):
        return FailureReason.KIND_NOT_FOUND
    if not isinstance(error, ApiError):
        return FailureReason.INVALID
    if isinstance(error, NotFound):
        return _not_found(error)
    for holds, reason in _TESTS:
        if holds(error):
            return reason
    return next(
        (reason for kinds, reason in _REASONS if isinstance(error, kinds)), FailureReason.OTHER
    )


def _not_found(error: NotFound) -> FailureReason:
    if namespace_missing(error):
        return FailureReason.NAMESPACE_NOT_FOUND
    return FailureReason.KIND_NOT_FOUND if error.is_resource else FailureReason.OTHER


_TESTS: tuple[tuple[Callable[[ApiError], bool], FailureReason], ...] = (
    (is_schema_error, FailureReason.INVALID),
    (lambda error: bool(_WEBHOOK.search(error.message)), FailureReason.WEBHOOK),
    (is_immutable, FailureReason.IMMUTABLE),
)
_REASONS: tuple[tuple[tuple[type[ApiError], ...], FailureReason], ...] = (
    ((Forbidden,), FailureReason.FORBIDDEN),
    ((Unauthorized,), FailureReason.UNAUTHORIZED),
    ((Conflict,), FailureReason.CONFLICT),
    ((Invalid, BadRequest, TooLarge), FailureReason.INVALID),
    ((TooManyRequests, ServerError), FailureReason.UNAVAILABLE),
    ((Unreachable,), FailureReason.UNREACHABLE),
)
