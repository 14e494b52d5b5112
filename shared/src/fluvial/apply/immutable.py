"""Which refusals mean "this field can never change", so that only a new object can have it.

Flux recreates at any 409 or 422, so that a typing error deletes a database.
Here every cause must say by itself that the field cannot change. The texts are those of
the API server's validation, recorded from v1.37, and the words that authors of CEL rules and
webhooks use.
"""

from __future__ import annotations

import re

from fluvial.kube.errors import ApiError, BadRequest, Conflict, Forbidden, Invalid

__all__ = ["is_immutable", "is_replaced"]

_IMMUTABLE = re.compile(
    r"\bimmutable\b"
    r"|may not be changed in an update"
    r"|(?:may not|cannot|can not|must not) (?:be )?changed? once set"
    r"|(?:may|must|can)(?:not| not) change once set"
    r"|\bcannot change roleRef\b"
    r"|updates to (?:statefulset|[\w.]+) (?:spec for fields other than .* )?are forbidden"
    r"|pod updates may not change fields other than"
    r"|is forbidden to (?:be )?(?:changed?|updated?) after creation",
    re.IGNORECASE | re.DOTALL,
)
_WEBHOOK = re.compile(r"admission webhook|ValidatingAdmissionPolic", re.IGNORECASE)
_VALUE = re.compile(
    r'(?:Invalid|Unsupported|Duplicate) value: (?:"(?:[^"\\]|\\.)*"|[^:\s]+|\{.*?\}(?=: )|\[.*?\])'
)


def is_immutable(error: ApiError) -> bool:
    """Whether nothing but an immutable field stands in the way of a change."""
    if isinstance(error, Invalid) and error.causes:
        return all(_cause_is_immutable(cause) for cause in error.causes)
    if isinstance(error, Forbidden | BadRequest | Invalid | Conflict):
        asked = _WEBHOOK.search(error.message)
        return bool(asked and _IMMUTABLE.search(_without_values(error.message)))
    return False


def _cause_is_immutable(cause: dict[str, str]) -> bool:
    # A uid that differs is a different object, not a change to this one.
    if (cause.get("field") or "").startswith("metadata."):
        return False
    return bool(_IMMUTABLE.search(_tail(cause.get("message") or "")))


def _tail(message: str) -> str:
    """What is said about the value, without the value: it may contain any words itself."""
    head, found, rest = message.partition("value: ")
    if not found or not head.endswith(("Invalid ", "Unsupported ", "Duplicate ")):
        return message
    return rest.rpartition(": ")[2] if ": " in rest else ""


def _without_values(message: str) -> str:
    return _VALUE.sub("", message)


def is_replaced(error: ApiError) -> bool:
    """Whether the refusal says that the object with the expected uid is not there any more."""
    if isinstance(error, Invalid):
        return any(cause.get("field") == "metadata.uid" for cause in error.causes)
    return isinstance(error, Conflict) and "uid mismatch" in error.message
