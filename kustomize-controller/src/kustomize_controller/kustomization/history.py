"""``status.history``: the last results, the latest first, at most five."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from fluvial.api.kustomize import Snapshot
from fluvial.clock import format_time
from fluvial.durations import format_duration

__all__ = ["record"]

_LIMIT = 5


def record(
    history: Sequence[Snapshot],
    *,
    digest: str,
    status: str,
    metadata: dict[str, str],
    now: datetime,
    seconds: float,
) -> list[Snapshot]:
    """The history with one more result.

    A result with the digest and status of one that is there replaces it, with its count raised
    (Flux: ``meta.History.Upsert``).
    """
    stamp = format_time(now)
    duration = format_duration(round(seconds, 3))
    known = next(
        (s for s in history if s.digest == digest and s.last_reconciled_status == status), None
    )
    if known is None:
        latest = Snapshot(
            digest=digest,
            first_reconciled=stamp,
            last_reconciled=stamp,
            last_reconciled_duration=duration,
            last_reconciled_status=status,
            metadata=metadata,
            total_reconciliations=1,
        )
    else:
        latest = msgspec.structs.replace(
            known,
            last_reconciled=stamp,
            last_reconciled_duration=duration,
            metadata=metadata,
            total_reconciliations=known.total_reconciliations + 1,
        )
    return [latest, *(s for s in history if s is not known)][:_LIMIT]
