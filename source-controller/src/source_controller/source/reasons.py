"""What the conditions and events of all sources have in common, as Flux writes it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "ARCHIVE_OPERATION_FAILED",
    "ARTIFACT_IN_STORAGE",
    "ARTIFACT_OUTDATED",
    "ARTIFACT_UP_TO_DATE",
    "ARTIFACT_VERIFICATION_FAILED",
    "AUTHENTICATION_FAILED",
    "DIGEST_ANNOTATION",
    "DIRECTORY_CREATION_FAILED",
    "FEATURE_GATE_DISABLED",
    "FETCH_FAILED",
    "GARBAGE_COLLECTION_FAILED",
    "GARBAGE_COLLECTION_SUCCEEDED",
    "INVALID_SPEC",
    "NEW_ARTIFACT",
    "NEW_REVISION",
    "PROGRESSING",
    "PROGRESSING_WITH_RETRY",
    "REVISION_ANNOTATION",
    "SOURCE_VERIFIED",
    "STAT_OPERATION_FAILED",
    "STORAGE_OPERATION_FAILED",
    "SUCCEEDED",
    "SYMLINK_UPDATE_FAILED",
    "UNSUPPORTED_FIELD",
    "URL_INVALID",
    "Summary",
]

# --- condition types, beside Ready, Reconciling and Stalled ---------------------------------------
ARTIFACT_IN_STORAGE = "ArtifactInStorage"
ARTIFACT_OUTDATED = "ArtifactOutdated"
FETCH_FAILED = "FetchFailed"
SOURCE_VERIFIED = "SourceVerified"
STORAGE_OPERATION_FAILED = "StorageOperationFailed"

# --- reasons --------------------------------------------------------------------------------------
ARCHIVE_OPERATION_FAILED = "ArchiveOperationFailed"
ARTIFACT_UP_TO_DATE = "ArtifactUpToDate"
ARTIFACT_VERIFICATION_FAILED = "ArtifactVerificationFailed"
AUTHENTICATION_FAILED = "AuthenticationFailed"
DIRECTORY_CREATION_FAILED = "DirectoryCreationFailed"
GARBAGE_COLLECTION_FAILED = "GarbageCollectionFailed"
FEATURE_GATE_DISABLED = "FeatureGateDisabled"
GARBAGE_COLLECTION_SUCCEEDED = "GarbageCollectionSucceeded"
INVALID_SPEC = "InvalidSpec"
NEW_ARTIFACT = "NewArtifact"
NEW_REVISION = "NewRevision"
PROGRESSING = "Progressing"
PROGRESSING_WITH_RETRY = "ProgressingWithRetry"
STAT_OPERATION_FAILED = "StatOperationFailed"
SUCCEEDED = "Succeeded"
SYMLINK_UPDATE_FAILED = "SymlinkUpdateFailed"
UNSUPPORTED_FIELD = "UnsupportedField"
URL_INVALID = "URLInvalid"

# --- event metadata -------------------------------------------------------------------------------
REVISION_ANNOTATION = "source.toolkit.fluxcd.io/revision"
DIGEST_ANNOTATION = "source.toolkit.fluxcd.io/digest"


@dataclass(frozen=True, slots=True)
class Summary:
    """What Ready is made of, for one kind.

    Attributes:
        own_failures: condition types of the kind that are bad news, beside the common ones:
            ``IncludeUnavailable``, ``BuildFailed``.
        verified: the kind checks signatures, so ``SourceVerified`` counts.

    """

    own_failures: tuple[str, ...] = ()
    verified: bool = False

    @property
    def failures(self) -> tuple[str, ...]:
        """Types that say that a run failed; once they are gone, that is told."""
        return (STORAGE_OPERATION_FAILED, FETCH_FAILED, *self.own_failures)

    @property
    def order(self) -> tuple[str, ...]:
        """The types that count, the most telling first."""
        verified = (SOURCE_VERIFIED,) if self.verified else ()
        return (
            *self.failures,
            ARTIFACT_OUTDATED,
            ARTIFACT_IN_STORAGE,
            *verified,
            "Stalled",
            "Reconciling",
        )

    @property
    def negative(self) -> frozenset[str]:
        """Those that are bad news when true."""
        return frozenset({*self.failures, ARTIFACT_OUTDATED, "Stalled", "Reconciling"})

    @property
    def owned(self) -> frozenset[str]:
        """Condition types that nobody else writes."""
        return frozenset({*self.order, "Ready"})
