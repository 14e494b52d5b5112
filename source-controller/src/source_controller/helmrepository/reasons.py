"""Reasons that only the kinds of Helm have, as Flux writes them."""

from __future__ import annotations

from source_controller.source.reasons import Summary

__all__ = ["FAILED", "INDEXATION_FAILED", "SUMMARY"]

FAILED = "Failed"
INDEXATION_FAILED = "IndexationFailed"

SUMMARY = Summary()
