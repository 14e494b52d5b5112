"""Reasons of a Receiver's conditions and events."""

from __future__ import annotations

__all__ = ["INVALID_CEL", "SUCCEEDED", "TOKEN_NOT_FOUND", "VALIDATION_FAILED"]

SUCCEEDED = "Succeeded"
TOKEN_NOT_FOUND = "TokenNotFound"  # noqa: S105 - a reason
VALIDATION_FAILED = "ValidationFailed"
INVALID_CEL = "InvalidCELExpression"
