"""Reasons that only OCIRepository has, as Flux writes them."""

from __future__ import annotations

from source_controller.source.reasons import Summary

__all__ = [
    "LAYER_OPERATION_FAILED",
    "PULL_FAILED",
    "READ_OPERATION_FAILED",
    "SUMMARY",
    "VERIFICATION_ERROR",
]

LAYER_OPERATION_FAILED = "OCIArtifactLayerOperationFailed"
PULL_FAILED = "OCIArtifactPullFailed"
READ_OPERATION_FAILED = "ReadOperationFailed"
VERIFICATION_ERROR = "VerificationError"

SUMMARY = Summary(verified=True)
