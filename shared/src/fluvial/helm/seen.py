"""What one run has seen of a release's records, so that it does not ask for them twice.

It lives as long as the run, or until an action of it has failed. What others write meanwhile is
found by the next run, or at once by the lock: to make a revision that is there already fails, and
what was seen is then forgotten.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from fluvial.helm.release import Release, Status

__all__ = ["Revision", "SeenRecords"]


@dataclass(frozen=True, slots=True)
class Revision:
    """What a Secret's labels say of the record in it.

    Attributes:
        stamp: another one for each write of the Secret.

    """

    name: str
    version: int
    status: Status
    stamp: str = field(default="", compare=False)


class SeenRecords:
    """Revisions, and the newest record in full, of the releases of one run."""

    def __init__(self) -> None:
        self._revisions: dict[tuple[str, str], dict[int, Revision]] = {}
        self._records: dict[tuple[str, str], Release] = {}

    def revisions(self, namespace: str, name: str) -> list[Revision] | None:
        """The revisions that there are, the oldest first; ``None`` if nobody has looked."""
        known = self._revisions.get((namespace, name))
        return None if known is None else [known[version] for version in sorted(known)]

    def record(self, namespace: str, name: str, version: int) -> Release | None:
        """A record, if it is the one that was read or written last."""
        record = self._records.get((namespace, name))
        return record if record is not None and record.version == version else None

    def listed(self, namespace: str, name: str, revisions: Iterable[Revision]) -> None:
        """All revisions were looked up."""
        self._revisions[(namespace, name)] = {one.version: one for one in revisions}
        self._records.pop((namespace, name), None)

    def has_read(self, namespace: str, record: Release) -> None:
        """A record was read."""
        self._records[(namespace, record.name)] = record

    def has_written(self, namespace: str, record: Release, revision: Revision) -> None:
        """A record was written, and how its labels are now."""
        known = self._revisions.get((namespace, record.name))
        if known is None:
            return
        known[revision.version] = revision
        newest = self._records.get((namespace, record.name))
        if newest is None or newest.version <= record.version:
            self._records[(namespace, record.name)] = record

    def has_deleted(self, namespace: str, name: str, version: int) -> None:
        """A record was deleted."""
        self._revisions.get((namespace, name), {}).pop(version, None)
        if self.record(namespace, name, version) is not None:
            del self._records[(namespace, name)]

    def forget(self, namespace: str, name: str) -> None:
        """Somebody else writes, or nobody knows what became of a write: look again."""
        self._revisions.pop((namespace, name), None)
        self._records.pop((namespace, name), None)
