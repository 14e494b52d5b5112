"""The words that conditions and events use, as Flux 2.9 writes them."""

from __future__ import annotations

from typing import Final

__all__ = [
    "ACCESS_DENIED",
    "APPROVED",
    "ARTIFACT_FAILED",
    "AWAITING_APPROVAL",
    "AWAITING_TESTS",
    "CHART_MUTATE_ERROR",
    "DRIFTED",
    "DRIFT_CORRECTED",
    "DRIFT_CORRECTION_FAILED",
    "DRIFT_DETECTED",
    "HEALTH_CHECK_CANCELED",
    "HELM_CHART_CONFIGURED",
    "HELM_CHART_CREATED",
    "HELM_CHART_DELETED",
    "HELM_CHART_SYNC_ERROR",
    "INSTALL_FAILED",
    "INSTALL_SUCCEEDED",
    "INVENTORY_BUILD_FAILED",
    "MISSING_ROLLBACK_TARGET",
    "NAMESPACE_CHECK_SKIPPED",
    "NO_DRIFT_DETECTED",
    "PENDING_RELEASE",
    "PLAN_CARRIED_OUT",
    "PLAN_FAILED",
    "PROGRESSING",
    "PROGRESSING_WITH_RETRY",
    "READY",
    "RECONCILE_ERROR",
    "RELEASED",
    "RELEASE_FOUND",
    "REMEDIATED",
    "REST_CLIENT_ERROR",
    "RETRIES_EXCEEDED",
    "ROLLBACK_FAILED",
    "ROLLBACK_SUCCEEDED",
    "SOURCE_NOT_READY",
    "STATE_ERROR",
    "TEST_FAILED",
    "TEST_SUCCEEDED",
    "TEST_SUCCESS",
    "UNINSTALL_FAILED",
    "UNINSTALL_SUCCEEDED",
    "UNSUPPORTED_FIELD",
    "UPGRADE_FAILED",
    "UPGRADE_SUCCEEDED",
    "VALUES_ERROR",
]

READY: Final = "Ready"
RELEASED: Final = "Released"
REMEDIATED: Final = "Remediated"
TEST_SUCCESS: Final = "TestSuccess"
DRIFTED: Final = "Drifted"
APPROVED: Final = "Approved"

ACCESS_DENIED: Final = "AccessDenied"
ARTIFACT_FAILED: Final = "ArtifactFailed"
AWAITING_APPROVAL: Final = "AwaitingApproval"
AWAITING_TESTS: Final = "AwaitingTests"
CHART_MUTATE_ERROR: Final = "ChartMutateError"
DRIFT_CORRECTED: Final = "DriftCorrected"
DRIFT_CORRECTION_FAILED: Final = "DriftCorrectionFailed"
DRIFT_DETECTED: Final = "DriftDetected"
HEALTH_CHECK_CANCELED: Final = "HealthCheckCanceled"
HELM_CHART_CONFIGURED: Final = "HelmChartConfigured"
HELM_CHART_CREATED: Final = "HelmChartCreated"
HELM_CHART_DELETED: Final = "HelmChartDeleted"
HELM_CHART_SYNC_ERROR: Final = "HelmChartSyncErr"
INSTALL_FAILED: Final = "InstallFailed"
INSTALL_SUCCEEDED: Final = "InstallSucceeded"
INVENTORY_BUILD_FAILED: Final = "InventoryBuildFailed"
MISSING_ROLLBACK_TARGET: Final = "MissingRollbackTarget"
NAMESPACE_CHECK_SKIPPED: Final = "NamespaceCheckSkipped"
NO_DRIFT_DETECTED: Final = "NoDriftDetected"
PENDING_RELEASE: Final = "PendingRelease"
PLAN_CARRIED_OUT: Final = "PlanCarriedOut"
PLAN_FAILED: Final = "PlanFailed"
PROGRESSING: Final = "Progressing"
PROGRESSING_WITH_RETRY: Final = "ProgressingWithRetry"
RECONCILE_ERROR: Final = "ReconcileError"
RELEASE_FOUND: Final = "ReleaseFound"
REST_CLIENT_ERROR: Final = "RESTClientError"
RETRIES_EXCEEDED: Final = "RetriesExceeded"
ROLLBACK_FAILED: Final = "RollbackFailed"
ROLLBACK_SUCCEEDED: Final = "RollbackSucceeded"
SOURCE_NOT_READY: Final = "SourceNotReady"
STATE_ERROR: Final = "StateError"
TEST_FAILED: Final = "TestFailed"
TEST_SUCCEEDED: Final = "TestSucceeded"
UNINSTALL_FAILED: Final = "UninstallFailed"
UNINSTALL_SUCCEEDED: Final = "UninstallSucceeded"
UNSUPPORTED_FIELD: Final = "UnsupportedField"
UPGRADE_FAILED: Final = "UpgradeFailed"
UPGRADE_SUCCEEDED: Final = "UpgradeSucceeded"
VALUES_ERROR: Final = "ValuesError"
