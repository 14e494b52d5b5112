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
    "NOT_FOUND",
    "NO_ARTIFACT",
    "SUMMARY",
]

INCLUDE_UNAVAILABLE = "IncludeUnavailable"

COPY_FAILURE = "CopyFailure"
EMPTY_GIT_REPOSITORY = "EmptyGitRepository"
GIT_OPERATION_FAILED = "GitOperationFailed"
GIT_OPERATION_SUCCEEDED = "GitOperationSucceeded"
ILLEGAL_PATH = "IllegalPath"
INCLUDE_CHANGE = "IncludeChange"
NOT_FOUND = "NotFound"
NO_ARTIFACT = "NoArtifact"

SUMMARY = Summary(own_failures=(INCLUDE_UNAVAILABLE,), verified=True)
