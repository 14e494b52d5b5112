"""The words that conditions and events use, as Flux 2.9 writes them."""

from __future__ import annotations

from typing import Final

__all__ = [
    "ACCESS_DENIED",
    "ARTIFACT_FAILED",
    "BUILD_FAILED",
    "DEPENDENCY_NOT_READY",
    "DIRECTORY_CREATION_FAILED",
    "HEALTHY",
    "HEALTH_CHECK_CANCELED",
    "HEALTH_CHECK_FAILED",
    "PROGRESSING",
    "PROGRESSING_WITH_RETRY",
    "PRUNE_FAILED",
    "READY",
    "RECONCILIATION_FAILED",
    "RECONCILIATION_SUCCEEDED",
    "SUCCEEDED",
    "UNSUPPORTED_FIELD",
]

READY: Final = "Ready"
HEALTHY: Final = "Healthy"

ACCESS_DENIED: Final = "AccessDenied"
ARTIFACT_FAILED: Final = "ArtifactFailed"
BUILD_FAILED: Final = "BuildFailed"
DEPENDENCY_NOT_READY: Final = "DependencyNotReady"
DIRECTORY_CREATION_FAILED: Final = "DirectoryCreationFailed"
HEALTH_CHECK_CANCELED: Final = "HealthCheckCanceled"
HEALTH_CHECK_FAILED: Final = "HealthCheckFailed"
PROGRESSING: Final = "Progressing"
PROGRESSING_WITH_RETRY: Final = "ProgressingWithRetry"
PRUNE_FAILED: Final = "PruneFailed"
RECONCILIATION_FAILED: Final = "ReconciliationFailed"
RECONCILIATION_SUCCEEDED: Final = "ReconciliationSucceeded"
SUCCEEDED: Final = "Succeeded"
UNSUPPORTED_FIELD: Final = "UnsupportedField"
