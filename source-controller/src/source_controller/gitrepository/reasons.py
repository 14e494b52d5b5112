"""Condition types, reasons and annotation keys of GitRepository, as Flux writes them."""

from __future__ import annotations

__all__ = [
    "ARCHIVE_OPERATION_FAILED",
    "ARTIFACT_IN_STORAGE",
    "ARTIFACT_OUTDATED",
    "ARTIFACT_UP_TO_DATE",
    "ARTIFACT_VERIFICATION_FAILED",
    "AUTHENTICATION_FAILED",
    "COPY_FAILURE",
    "DIGEST_ANNOTATION",
    "DIRECTORY_CREATION_FAILED",
    "EMPTY_GIT_REPOSITORY",
    "FETCH_FAILED",
    "GARBAGE_COLLECTION_SUCCEEDED",
    "GIT_OPERATION_FAILED",
    "GIT_OPERATION_SUCCEEDED",
    "ILLEGAL_PATH",
    "INCLUDE_CHANGE",
    "INCLUDE_UNAVAILABLE",
    "INVALID_SPEC",
    "NEGATIVE",
    "NEW_ARTIFACT",
    "NEW_REVISION",
    "NOT_FOUND",
    "NO_ARTIFACT",
    "OWNED",
    "PROGRESSING",
    "PROGRESSING_WITH_RETRY",
    "REVISION_ANNOTATION",
    "SOURCE_VERIFIED",
    "STORAGE_OPERATION_FAILED",
    "SUCCEEDED",
    "SUMMARY",
    "UNSUPPORTED_FIELD",
    "URL_INVALID",
]

# --- condition types, beside Ready, Reconciling and Stalled ---------------------------------------
ARTIFACT_IN_STORAGE = "ArtifactInStorage"
ARTIFACT_OUTDATED = "ArtifactOutdated"
FETCH_FAILED = "FetchFailed"
INCLUDE_UNAVAILABLE = "IncludeUnavailable"
SOURCE_VERIFIED = "SourceVerified"
STORAGE_OPERATION_FAILED = "StorageOperationFailed"

SUMMARY = (
    STORAGE_OPERATION_FAILED,
    FETCH_FAILED,
    INCLUDE_UNAVAILABLE,
    ARTIFACT_OUTDATED,
    ARTIFACT_IN_STORAGE,
    SOURCE_VERIFIED,
    "Stalled",
    "Reconciling",
)
"""What Ready is made of, the most telling first."""
NEGATIVE = frozenset(
    {
        STORAGE_OPERATION_FAILED,
        FETCH_FAILED,
        INCLUDE_UNAVAILABLE,
        ARTIFACT_OUTDATED,
        "Stalled",
        "Reconciling",
    }
)
OWNED = frozenset({*SUMMARY, "Ready"})
"""Condition types that nobody else writes."""

# --- reasons --------------------------------------------------------------------------------------
ARCHIVE_OPERATION_FAILED = "ArchiveOperationFailed"
ARTIFACT_UP_TO_DATE = "ArtifactUpToDate"
ARTIFACT_VERIFICATION_FAILED = "ArtifactVerificationFailed"
AUTHENTICATION_FAILED = "AuthenticationFailed"
COPY_FAILURE = "CopyFailure"
DIRECTORY_CREATION_FAILED = "DirectoryCreationFailed"
EMPTY_GIT_REPOSITORY = "EmptyGitRepository"
GARBAGE_COLLECTION_SUCCEEDED = "GarbageCollectionSucceeded"
GIT_OPERATION_FAILED = "GitOperationFailed"
GIT_OPERATION_SUCCEEDED = "GitOperationSucceeded"
ILLEGAL_PATH = "IllegalPath"
INCLUDE_CHANGE = "IncludeChange"
INVALID_SPEC = "InvalidSpec"
NEW_ARTIFACT = "NewArtifact"
NEW_REVISION = "NewRevision"
NOT_FOUND = "NotFound"
NO_ARTIFACT = "NoArtifact"
PROGRESSING = "Progressing"
PROGRESSING_WITH_RETRY = "ProgressingWithRetry"
SUCCEEDED = "Succeeded"
UNSUPPORTED_FIELD = "UnsupportedField"
URL_INVALID = "URLInvalid"

# --- event metadata -------------------------------------------------------------------------------
REVISION_ANNOTATION = "source.toolkit.fluxcd.io/revision"
DIGEST_ANNOTATION = "source.toolkit.fluxcd.io/digest"
