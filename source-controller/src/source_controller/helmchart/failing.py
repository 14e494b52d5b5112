"""What a failure means for a HelmChart: which condition, which reason, and whether it may pass."""

from __future__ import annotations

from fluvial.errors import FluvialError
from source_controller.helm.errors import (
    ChartError,
    DependencyFailed,
    NoSuchChart,
    StorageFailed,
    ValuesFailed,
    VersionFailed,
    WorkFailed,
)
from source_controller.helmchart import reasons
from source_controller.helmchart.repositories import RefusedAccess
from source_controller.source import reasons as common
from source_controller.source.run import FailureClass, StepFailed
from source_controller.source.secrets import auth_failed

__all__ = ["build_failed", "package_failed", "pull_failed", "reference_failed", "storage_failed"]


def reference_failed(problem: object) -> StepFailed:
    """``InvalidChartReference``: there is no such chart until somebody changes something."""
    return _failed(
        common.FETCH_FAILED,
        reasons.INVALID_CHART_REFERENCE,
        f"invalid chart reference: {problem}",
        "stalled",
    )


def pull_failed(error: FluvialError | OSError) -> StepFailed:
    """A chart could not be had: ``ChartPullError``, or what the error says."""
    if isinstance(error, RefusedAccess):
        return auth_failed(f"failed to authenticate with the Helm repository: {error}")
    if isinstance(error, NoSuchChart):
        return reference_failed(error)
    known = _by_kind(error)
    return known or _failed(
        common.FETCH_FAILED, reasons.CHART_PULL_ERROR, f"chart pull error: {error}"
    )


def package_failed(error: FluvialError | OSError) -> StepFailed:
    """A chart could not be packaged: ``ChartPackageError``, or what the error says."""
    known = _by_kind(error)
    return known or _failed(
        reasons.BUILD_FAILED, reasons.CHART_PACKAGE_ERROR, f"chart package error: {error}"
    )


def build_failed(error: FluvialError) -> StepFailed:
    """``DependencyBuildError``."""
    return _failed(
        reasons.BUILD_FAILED, reasons.DEPENDENCY_BUILD_ERROR, f"dependency build error: {error}"
    )


def storage_failed(error: OSError) -> StepFailed:
    """``ArchiveOperationFailed``: the disk is full, or the like."""
    return _failed(
        common.STORAGE_OPERATION_FAILED,
        common.ARCHIVE_OPERATION_FAILED,
        f"unable to store the chart: {error.strerror}",
    )


def _by_kind(error: FluvialError | OSError) -> StepFailed | None:
    if isinstance(error, OSError) and not isinstance(error, FluvialError):
        return storage_failed(error)
    if isinstance(error, StorageFailed):
        return _failed(common.STORAGE_OPERATION_FAILED, common.ARCHIVE_OPERATION_FAILED, str(error))
    for kind, condition, reason, prefix, failure in _KINDS:
        if isinstance(error, kind):
            return _failed(condition, reason, f"{prefix}: {error}", failure)
    return None


_KINDS: tuple[tuple[type[ChartError], str, str, str, FailureClass], ...] = (
    (
        VersionFailed,
        reasons.BUILD_FAILED,
        reasons.METADATA_PATCH_ERROR,
        "chart metadata patch error",
        "stalled",
    ),
    (
        ValuesFailed,
        reasons.BUILD_FAILED,
        reasons.VALUES_FILES_ERROR,
        "values files merge error",
        "stalled",
    ),
    (
        DependencyFailed,
        reasons.BUILD_FAILED,
        reasons.DEPENDENCY_BUILD_ERROR,
        "dependency build error",
        "retry",
    ),
    (WorkFailed, common.FETCH_FAILED, reasons.UNKNOWN, "unknown build error", "retry"),
)


def _failed(condition: str, reason: str, message: str, kind: FailureClass = "retry") -> StepFailed:
    return StepFailed(condition, reason, message, kind=kind)
