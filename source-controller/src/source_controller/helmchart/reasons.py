"""Reasons that only HelmChart has, as Flux writes them."""

from __future__ import annotations

from source_controller.source.reasons import Summary

__all__ = [
    "BUILD_FAILED",
    "CHART_PACKAGE_ERROR",
    "CHART_PACKAGE_SUCCEEDED",
    "CHART_PULL_ERROR",
    "CHART_PULL_SUCCEEDED",
    "CHART_VERIFICATION_ERROR",
    "DEPENDENCY_BUILD_ERROR",
    "FAILED",
    "INVALID_CHART_REFERENCE",
    "METADATA_PATCH_ERROR",
    "NEW_CHART",
    "NO_SOURCE_ARTIFACT",
    "READ_OPERATION_FAILED",
    "RESOLVED_DEPENDENCIES",
    "SOURCE_UNAVAILABLE",
    "SUMMARY",
    "UNKNOWN",
    "VALUES_FILES_ERROR",
    "VERIFICATION_ERROR",
]

BUILD_FAILED = "BuildFailed"
"""A condition type."""

CHART_PACKAGE_ERROR = "ChartPackageError"
CHART_PACKAGE_SUCCEEDED = "ChartPackageSucceeded"
CHART_PULL_ERROR = "ChartPullError"
CHART_PULL_SUCCEEDED = "ChartPullSucceeded"
CHART_VERIFICATION_ERROR = "ChartVerificationError"
DEPENDENCY_BUILD_ERROR = "DependencyBuildError"
FAILED = "Failed"
INVALID_CHART_REFERENCE = "InvalidChartReference"
METADATA_PATCH_ERROR = "MetadataPatchError"
NEW_CHART = "NewChart"
NO_SOURCE_ARTIFACT = "NoSourceArtifact"
READ_OPERATION_FAILED = "ReadOperationFailed"
RESOLVED_DEPENDENCIES = "ResolvedDependencies"
SOURCE_UNAVAILABLE = "SourceUnavailable"
UNKNOWN = "Unknown"
VALUES_FILES_ERROR = "ValuesFilesError"
VERIFICATION_ERROR = "VerificationError"

SUMMARY = Summary(own_failures=(BUILD_FAILED,), verified=True)
