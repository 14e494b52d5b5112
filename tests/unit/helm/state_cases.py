"""Histories and policies for the tests of what follows from what was observed."""

from __future__ import annotations

from typing import Any

import msgspec

from fluvial.api import helm_status
from fluvial.helm import history as past
from fluvial.helm.history import History
from fluvial.helm.policy import Policy, Remedy
from fluvial.helm.release import ChartMetadata, Info, Release

__all__ = ["policy_with", "snapshots"]


def snapshots(*statuses: str) -> History:
    """One for each status, the newest first; ``+`` and ``!`` mark tests that went well or not."""
    count = len(statuses)
    phases = {"+": "Succeeded", "!": "Failed"}
    made = []
    for index, status in enumerate(statuses):
        info = Info(status=status.rstrip("+!"), last_deployed="2026-01-02T03:04:05Z")
        release = Release(
            name="app", version=count - index, info=info, metadata=ChartMetadata(name="c")
        )
        phase = phases.get(status[-1])
        hooks = {"t": helm_status.TestHookStatus(phase=phase)} if phase else None
        made.append(msgspec.structs.replace(past.snapshot_of(release), test_hooks=hooks))
    return tuple(made)


def policy_with(**fields: Any) -> Policy:
    """Keys of the upgrade's remedy may be given too; ``install`` has its own."""
    remedy = {key: fields.pop(key) for key in list(fields) if key in Remedy.__slots__}
    install = fields.pop("install", Remedy(**(remedy | {"strategy": "uninstall"})))
    return Policy(install=install, upgrade=Remedy(**({"strategy": "rollback"} | remedy)), **fields)
