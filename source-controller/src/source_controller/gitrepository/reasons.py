"""Condition types and reasons that only GitRepository has, as Flux writes them."""

from __future__ import annotations

from source_controller.source.reasons import Summary

__all__ = [
    "COPY_FAILURE",
    "EMPTY_GIT_REPOSITORY",
    "GIT_OPERATION_FAILED",
    "GIT_OPERATION_SUCCEEDED",
    "ILLEGAL_PATH",
    "INCLUDE_CHANGE",
    "INCLUDE_UNAVAILABLE",
    "INVALID_PROVIDER_CONFIGURATION",
    "INVALID_VERIFICATION_MODE",
    "NOT_FOUND",
    "NO_ARTIFACT",
    "SUMMARY",
    "VERIFICATION_ERROR",
]

INCLUDE_UNAVAILABLE = "IncludeUnavailable"

COPY_FAILURE = "CopyFailure"
EMPTY_GIT_REPOSITORY = "EmptyGitRepository"
GIT_OPERATION_FAILED = "GitOperationFailed"
GIT_OPERATION_SUCCEEDED = "GitOperationSucceeded"
ILLEGAL_PATH = "IllegalPath"
INCLUDE_CHANGE = "IncludeChange"
INVALID_PROVIDER_CONFIGURATION = "InvalidProviderConfiguration"
INVALID_VERIFICATION_MODE = "InvalidVerificationMode"
NOT_FOUND = "NotFound"
NO_ARTIFACT = "NoArtifact"
VERIFICATION_ERROR = "VerificationError"

SUMMARY = Summary(own_failures=(INCLUDE_UNAVAILABLE,), verified=True)
