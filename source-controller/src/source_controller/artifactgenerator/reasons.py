"""What the conditions and events of an ArtifactGenerator say, as Flux writes it."""

from __future__ import annotations

__all__ = [
    "ACCESS_DENIED",
    "BUILD_FAILED",
    "DISABLED",
    "GARBAGE_COLLECTION_SUCCEEDED",
    "OWNED",
    "READY",
    "RECONCILIATION_FAILED",
    "SOURCE_FETCH_FAILED",
    "VALIDATION_FAILED",
]

ACCESS_DENIED = "AccessDenied"
BUILD_FAILED = "BuildFailed"
DISABLED = "ReconciliationDisabled"
GARBAGE_COLLECTION_SUCCEEDED = "GarbageCollectionSucceeded"
READY = "Ready"
"""Also the reason of events that tell of success."""
RECONCILIATION_FAILED = "ReconciliationFailed"
SOURCE_FETCH_FAILED = "SourceFetchFailed"
VALIDATION_FAILED = "ValidationFailed"

OWNED = frozenset({"Ready", "Reconciling", "Stalled"})
"""Condition types that nobody else writes."""
