"""Several installations side by side, each with the objects that its label selector matches."""

from __future__ import annotations

import hashlib

__all__ = ["lease_name"]


def lease_name(controller: str, label_selector: str = "") -> str:
    """The lease that replicas with this selector compete for, as Flux names it.

    Args:
        controller: Flux' name of the controller, such as ``source-controller``.
        label_selector: ``--watch-label-selector``; each selector has a lease of its own.

    """
    name = f"{controller}-leader-election"
    if not label_selector:
        return name
    return f"{name}-{hashlib.sha256(label_selector.encode()).hexdigest()[:8]}"
