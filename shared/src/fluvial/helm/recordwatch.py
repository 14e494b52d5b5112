"""Seeing at once that somebody else has changed the newest record of a release.

One metadata-only watch of the Secrets that are Helm's records, under the controller's identity. It
decides nothing: what it says is "look again", and the owner's next run reads as the tenant. Whose
state is ``pending-…`` or ``uninstalling`` is being worked on: a look would take that for a killed
process, so it waits until there is an end, or for the owner's timer. Who may not watch Secrets, or
would have to keep too many, goes without, and all is found by timers.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from fluvial.apply import WatchLimits
from fluvial.apply.live import uid_of, version_of
from fluvial.apply.pacing import Paces
from fluvial.clock import Clock
from fluvial.helm.release import Status
from fluvial.helm.storage import RELEASE_TYPE
from fluvial.kube.errors import Forbidden
from fluvial.kube.informer import Informer, InformerFactory
from fluvial.kube.kinds import SECRET
from fluvial.log import Logger
from fluvial.objects import JsonObject, ObjectKey, key_of, labels_of

__all__ = ["RecordWatch"]

_INDEX: Final = "release"
_NAME: Final = re.compile(r"sh\.helm\.release\.v1\.(.+)\.v([1-9][0-9]{0,8})", re.ASCII)
_SLACK: Final = 0.001  # seconds: a timer may fire early by what its clock counts in


@dataclass(frozen=True, slots=True)
class _Followed:
    """The newest record of a release, as its owner has last seen it."""

    key: ObjectKey
    version: int
    uid: str
    resource_version: int


class RecordWatch:
    """Watches the records of one cluster; run beside the controller's workers.

    Args:
        informers: of the controller's identity.
        namespace: the only one that is watched; ``""`` for all.
        wake: called with the key of an owner that should look again; quick, must not raise.
        is_busy: whether an owner is being worked on: what it writes just now is not known yet.
        clock: the time.
        log: told why nothing is watched.
        limits: ``objects`` is how many records are kept; the delays are those of objects.

    """

    def __init__(
        self,
        informers: InformerFactory,
        *,
        namespace: str = "",
        wake: Callable[[ObjectKey], None],
        is_busy: Callable[[ObjectKey], bool],
        clock: Clock,
        log: Logger,
        limits: WatchLimits,
    ) -> None:
        self._informers = informers
        self._namespace = namespace
        self._wake = wake
        self._is_busy = is_busy
        self._clock = clock
        self._log = log
        self._limits = limits
        self._informer: Informer | None = None
        self._unsubscribe: Callable[[], None] = lambda: None
        self._off_until = 0.0
        self._followed: dict[str, _Followed] = {}
        self._release_of: dict[ObjectKey, str] = {}
        self._gone: dict[str, str] = {}  # uid of the last record that was deleted
        self._due: dict[str, float] = {}
        self._changed = asyncio.Event()
        self._paces: Paces[str] = Paces(
            first=limits.first_delay, longest=limits.longest_delay, peace=limits.peace
        )

    def follow(self, key: ObjectKey, *, namespace: str, name: str, record: str) -> None:
        """Hear of a release, in place of what an owner followed before.

        Args:
            key: of the owner.
            namespace: of the records.
            name: of the release.
            record: number, uid and version of the newest one, ``<number> <uid>@<version>``.

        """
        self.release(key)
        number, _, stamp = record.partition(" ")
        uid, _, version = stamp.rpartition("@")
        if not number.isdecimal() or not version.isdecimal():
            return
        release = f"{namespace}/{name}"
        self._followed[release] = _Followed(key, int(number), uid, int(version))
        self._release_of[key] = release
        self._begin()
        self._look(release)

    def release(self, key: ObjectKey) -> None:
        """An owner has no release in this cluster (any more)."""
        release = self._release_of.pop(key, "")
        if release in self._followed and self._followed[release].key == key:
            del self._followed[release]

    async def run(self) -> None:
        """Serve until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._keep_time(), name="records-timer")
                group.create_task(self._tend(), name="records-watch")
        finally:
            self._end()

    # -- the watch -----------------------------------------------------------------------------

    def _begin(self) -> None:
        if self._informer is not None or self._clock.monotonic() < self._off_until:
            return
        informer = self._informer = self._informers.informer(
            SECRET,
            namespace=self._namespace,
            field_selector=f"type={RELEASE_TYPE}",
            metadata_only=True,
            indexes={_INDEX: _release_of},
            transform=_outlined,
        )
        self._unsubscribe = informer.subscribe(self._heard)

    def _end(self) -> None:
        informer, self._informer = self._informer, None
        if informer is not None:
            self._unsubscribe()
            self._informers.release(informer)

    async def _tend(self) -> None:
        while True:
            await self._clock.sleep(self._limits.tick)
            now = self._clock.monotonic()
            self._paces.sweep(now)
            for release in [one for one in self._gone if one not in self._followed]:
                del self._gone[release]
            why = self._objection()
            if why:
                self._end()
                self._off_until = now + self._limits.retry
                self._log.info("records of releases are not watched", reason=why)
            elif self._followed:
                self._begin()

    def _objection(self) -> str:
        informer = self._informer
        if informer is None:
            return ""
        if isinstance(informer.error, Forbidden):
            return str(informer.error)
        if len(informer.store) > self._limits.objects:
            return f"there are more than {self._limits.objects} of them"
        return ""

    # -- events --------------------------------------------------------------------------------

    def _heard(self, old: JsonObject | None, new: JsonObject | None) -> None:
        obj = new or old
        for release in _release_of(obj) if obj is not None else ():
            if release not in self._followed:
                continue
            if new is None and obj is not None:
                self._gone[release] = uid_of(obj)
            self._look(release)

    def _look(self, release: str) -> None:
        """See to it that a release is judged in a moment, if there is news of it."""
        if release not in self._due and self._is_news(release):
            wanted = self._clock.monotonic() + self._limits.debounce
            self._due[release] = self._paces.earliest(release, wanted)
            self._changed.set()

    def _is_news(self, release: str) -> bool:
        """Whether the newest record is another one than the owner's, and has come to an end."""
        followed, informer = self._followed.get(release), self._informer
        if followed is None or informer is None:
            return False
        there = informer.store.by_index(_INDEX, release)
        newest = max(there, key=_number, default=None)
        if newest is None or _number(newest) < followed.version:
            # Or the watch has not told yet of a record that the owner has just made.
            return self._gone.get(release) == followed.uid
        if newest["ended"] and uid_of(newest) == followed.uid:
            return int(version_of(newest)) > followed.resource_version
        return bool(newest["ended"])

    async def _keep_time(self) -> None:
        while True:
            now = self._clock.monotonic()
            for release in [one for one, due in self._due.items() if due <= now + _SLACK]:
                del self._due[release]
                self._judge(release, now)
            self._changed.clear()
            delay = min(self._due.values()) - now if self._due else None
            try:
                async with asyncio.timeout(delay):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def _judge(self, release: str, now: float) -> None:
        if not self._is_news(release):
            return  # it was the owner's own write, or it has looked since
        key = self._followed[release].key
        if self._is_busy(key):
            self._look(release)
            return
        self._paces.answered(release, now)
        self._wake(key)


def _outlined(obj: JsonObject) -> JsonObject | None:
    """Identity, version, and whether what the record tells of is over.

    What a run would not take for a record is left out: it would be news for ever.
    """
    metadata, labels = obj["metadata"], labels_of(obj)
    found = _NAME.fullmatch(str(metadata.get("name") or ""))
    if found is None or (labels.get("owner"), labels.get("name")) != ("helm", found[1]):
        return None
    kept = {name: metadata[name] for name in ("namespace", "name", "uid", "resourceVersion")}
    status = Status.of(str(labels.get("status") or ""))
    return {"metadata": kept, "ended": not (status.is_pending or status is Status.UNINSTALLING)}


def _release_of(obj: JsonObject) -> Iterable[str]:
    """Index function: namespace and name of the release that a record is of."""
    key = key_of(obj)
    found = _NAME.fullmatch(key.name)
    return (f"{key.namespace}/{found[1]}",) if found else ()


def _number(obj: JsonObject) -> int:
    found = _NAME.fullmatch(key_of(obj).name)
    return int(found[2]) if found else 0
