"""Reasons that only Bucket has, as Flux writes them."""

from __future__ import annotations

from source_controller.source.reasons import Summary

__all__ = [
    "BUCKET_OPERATION_FAILED",
    "FEATURE_GATE_DISABLED",
    "INVALID_STS_CONFIGURATION",
    "SUMMARY",
]

BUCKET_OPERATION_FAILED = "BucketOperationFailed"
FEATURE_GATE_DISABLED = "FeatureGateDisabled"
INVALID_STS_CONFIGURATION = "InvalidSTSConfiguration"

SUMMARY = Summary()
