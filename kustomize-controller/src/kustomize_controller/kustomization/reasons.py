"""The words that conditions and events use, as Flux 2.9 writes them; some are the library's."""

from __future__ import annotations

from typing import Final

__all__ = [
    "ARTIFACT_FAILED",
    "BUILD_FAILED",
    "DEPENDENCY_NOT_READY",
    "DIRECTORY_CREATION_FAILED",
    "HEALTHY",
    "HEALTH_CHECK_CANCELED",
    "HEALTH_CHECK_FAILED",
    "PROGRESSING",
    "PRUNE_FAILED",
    "READY",
    "RECONCILIATION_FAILED",
    "RECONCILIATION_SUCCEEDED",
    "SUCCEEDED",
]

READY: Final = "Ready"
HEALTHY: Final = "Healthy"

ARTIFACT_FAILED: Final = "ArtifactFailed"
BUILD_FAILED: Final = "BuildFailed"
DEPENDENCY_NOT_READY: Final = "DependencyNotReady"
DIRECTORY_CREATION_FAILED: Final = "DirectoryCreationFailed"
HEALTH_CHECK_CANCELED: Final = "HealthCheckCanceled"
HEALTH_CHECK_FAILED: Final = "HealthCheckFailed"
PROGRESSING: Final = "Progressing"
PRUNE_FAILED: Final = "PruneFailed"
RECONCILIATION_FAILED: Final = "ReconciliationFailed"
RECONCILIATION_SUCCEEDED: Final = "ReconciliationSucceeded"
SUCCEEDED: Final = "Succeeded"
