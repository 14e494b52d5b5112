"""Keeps a ``Store`` equal to one resource of the server: list, then watch, for ever.

Run by an ``Informer``. Invariants: the store changes only by what the server said, in the order
it said it; an object that vanished while nobody watched is reported as deleted with its last
known state; the version to watch from is never older than what the store holds; bookmarks move
the version and reach nobody. A failure, whatever it is, is reported, waited out and tried again;
what is in the store stays meanwhile, because "not allowed" and "not served" are not "deleted".

    list pages -> replace with diff -> synced -> watch ----> server ends it in time: watch on
         ^                                        |--------> early, or silence: list
         |                                        |--------> network, 5xx: back off, list
         +---- Gone, 4xx, relist asked, bug <-----+
         +---- an event of another history <------+

After a break nothing but a list will do. A cluster that was emptied, or restored from a backup,
counts its versions from further back, and may have come past ours by the time that it answers: a
watch from our version would then begin in the middle of another history, and the store would keep
objects of a future that never came. A version of that history may even equal one of ours, so such
a list is compared by content.

A kind that is not served (any more) is no fault to shout about: it is told once, tried again ever
more slowly, and at once after ``relist``, which whoever sees its definition come calls.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from fluvial.clock import Clock
from fluvial.kube.client import KubeClient, WatchEvent
from fluvial.kube.errors import (
    ApiError,
    Gone,
    NotFound,
    ServerError,
    TooManyRequests,
    Unreachable,
)
from fluvial.kube.resource import Resource
from fluvial.kube.store import Change, Store
from fluvial.log import Logger
from fluvial.objects import JsonObject, key_of

__all__ = ["Reflector", "ReflectorTiming", "Selection", "Transform"]

Transform = Callable[[JsonObject], JsonObject | None]
"""Makes the object that is stored, or ``None`` to store nothing; may change its argument."""

_PAGE = 500
_SHORTEST_WATCH = 1.0
_LONGEST_PAUSE = 300.0  # seconds, whatever a server asks for
_TRANSIENT = (Unreachable, ServerError, TooManyRequests)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which objects, and how much of each."""

    resource: Resource
    namespace: str = ""
    label_selector: str = ""
    field_selector: str = ""
    metadata_only: bool = False


@dataclass(frozen=True, slots=True)
class ReflectorTiming:
    """How long things take, in seconds.

    Attributes:
        backoff: the first delay after a failure, doubled each time.
        backoff_cap: the longest delay.
        backoff_reset: a round that lasted this long starts the delays anew.
        server_timeout: bounds of the random time after which the server ends a watch.
        absence_cap: the longest delay while the kind is not served.
        inactivity: silence after which a watch is taken for dead. On an idle watch kube-apiserver
            sends a bookmark after at most two minutes, then every minute (measured, v1.37).

    """

    backoff: float = 0.8
    backoff_cap: float = 30.0
    backoff_reset: float = 120.0
    server_timeout: tuple[int, int] = (300, 600)
    inactivity: float = 150.0
    absence_cap: float = 60.0


class Reflector:
    """One list-and-watch loop."""

    def __init__(
        self,
        client: KubeClient,
        selection: Selection,
        store: Store,
        *,
        on_change: Callable[[Change], None],
        on_error: Callable[[Exception], None],
        clock: Clock,
        log: Logger,
        on_list: Callable[[], Awaitable[None]],
        on_absence: Callable[[bool], None] = lambda _absent: None,
        transform: Transform | None = None,
        timing: ReflectorTiming | None = None,
    ) -> None:
        """Prepare; ``run`` does the work.

        Args:
            client: whose identity lists and watches.
            selection: what to keep.
            store: written by this reflector alone.
            on_change: told each change after the store has it; must not raise.
            on_error: told each failure, before the delay.
            clock: the time.
            log: told failures.
            on_list: awaited after a complete list is in the store and was told.
            on_absence: told when the kind is not served any more, and when it is again.
            transform: applied to each object before it is stored.
            timing: delays and limits.

        """
        self._client = client
        self._selection = selection
        self._store = store
        self._on_change = on_change
        self._on_error = on_error
        self._clock = clock
        self._log = log
        self._on_list = on_list
        self._on_absence = on_absence
        self._transform = transform
        self._timing = timing or ReflectorTiming()
        self._version = ""
        self._relist = False
        self._in_doubt = False
        self._watchdog: asyncio.Timeout | None = None
        self._wake = asyncio.Event()
        self._listing = False
        self._failures = 0
        self._absent = False
        self.lists = 0
        self.error: Exception | None = None

    def relist(self) -> int:
        """Read everything again soon and report what the watch missed.

        Returns:
            the value of ``lists`` once a list that starts after this call is in the store.

        """
        self._relist = True
        self._wake.set()
        if self._watchdog is not None and not self._watchdog.expired():
            self._watchdog.reschedule(asyncio.get_running_loop().time())
        return self.lists + (2 if self._listing else 1)

    async def run(self) -> None:
        """List and watch until cancelled."""
        while True:
            started = self._clock.monotonic()
            listed = False
            try:
                if self._in_doubt and self._version:
                    self._doubt()
                while not self._version or self._relist:
                    await self._list()
                    listed = True
                await self._watch()
            except Gone as error:
                self._version = ""
                self.error = error  # until the list is there, the store is behind
                if not listed:
                    continue  # normal after a long silence
                failure: Exception = error
            except Exception as error:  # noqa: BLE001 - a loop that ends here would be blind for ever
                failure = error
            else:
                self._failures = 0
                continue
            if self._clock.monotonic() - started >= self._timing.backoff_reset:
                self._failures = 0
            self._failures += 1
            self._report(failure)
            await self._pause(failure)

    def _report(self, failure: Exception) -> None:
        self.error = failure
        self._in_doubt = True
        if not isinstance(failure, _TRANSIENT):
            self._version = ""  # what the store is worth is not known: list again
        fields: dict[str, Any] = {
            "resource": self._selection.resource.group_resource,
            "namespace": self._selection.namespace,
            "failures": self._failures,
            "error": str(failure),
        }
        if isinstance(failure, NotFound) and failure.is_resource:
            self._set_absent(True)
        elif isinstance(failure, _TRANSIENT):
            self._log.info("cannot list or watch, will try again", **fields)
        elif isinstance(failure, ApiError):
            self._log.error("not allowed to list or watch; will try again", **fields)
        else:
            self._log.error("unexpected failure of a watch", exc_info=failure, **fields)
        self._on_error(failure)

    def _set_absent(self, absent: bool) -> None:  # noqa: FBT001 - the state itself
        if absent == self._absent:
            return
        self._absent = absent
        self._log.info(
            "a kind is not served: will wait for it" if absent else "a kind is served again",
            resource=self._selection.resource.group_resource,
            namespace=self._selection.namespace,
        )
        self._on_absence(absent)

    async def _pause(self, failure: Exception) -> None:
        """Wait ever longer; whoever ends the wait early has news, which begins the delays anew."""
        timing = self._timing
        cap = timing.absence_cap if self._absent else timing.backoff_cap
        delay = min(cap, timing.backoff * float(2 ** min(self._failures - 1, 16)))
        if isinstance(failure, ApiError) and failure.retry_after is not None:
            delay = max(delay, min(failure.retry_after * 1.25, _LONGEST_PAUSE))
        delay *= random.uniform(0.8, 1.2)  # noqa: S311 - jitter
        self._wake.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(delay):
                await self._wake.wait()
                self._failures = 0

    async def _list(self) -> None:
        self._relist = False
        self._listing = True
        try:
            objects, version = await self._read_all()
            changes = self._store.replace(objects, by_content=self._in_doubt)
            for number, change in enumerate(changes, start=1):
                self._on_change(change)
                if number % _PAGE == 0:
                    await asyncio.sleep(0)
        finally:
            self._listing = False
        self._version = version
        self._in_doubt = False
        self.error = None
        self._set_absent(False)
        self.lists += 1
        await self._on_list()

    def _doubt(self) -> None:
        """Trust neither the version nor the store: see above."""
        self._version = ""
        if self.error is None:
            self.error = Unreachable("the watch broke off, and the list is not there yet")

    async def _read_all(self) -> tuple[list[JsonObject], str]:
        selection = self._selection
        objects: list[JsonObject] = []
        token = ""
        while True:
            page = await self._client.list_page(
                selection.resource,
                namespace=selection.namespace,
                label_selector=selection.label_selector,
                field_selector=selection.field_selector,
                metadata_only=selection.metadata_only,
                limit=_PAGE,
                continue_token=token,
            )
            objects += self._kept(page.items)
            token = page.continue_token
            if not token:
                return objects, page.resource_version

    def _kept(self, items: Iterable[JsonObject]) -> Iterable[JsonObject]:
        if self._transform is None:
            return items
        return [kept for item in items if (kept := self._transform(item)) is not None]

    async def _watch(self) -> None:
        """Watch until the server ends it, silence ends it, or something fails."""
        selection = self._selection
        started, version = self._clock.monotonic(), self._version
        agreed = random.randint(*self._timing.server_timeout)  # noqa: S311 - jitter
        self._in_doubt = True  # until the watch ends as agreed
        try:
            async with (
                asyncio.timeout(self._timing.inactivity) as self._watchdog,
                self._client.watch(
                    selection.resource,
                    namespace=selection.namespace,
                    label_selector=selection.label_selector,
                    field_selector=selection.field_selector,
                    metadata_only=selection.metadata_only,
                    resource_version=version,
                    timeout_seconds=agreed,
                ) as events,
            ):
                await self._follow(events, self._watchdog)
        except TimeoutError:
            self._in_doubt = not self._relist  # or it was silence
            return
        finally:
            self._watchdog = None
        lasted = self._clock.monotonic() - started
        if lasted < _SHORTEST_WATCH and self._version == version and not self._relist:
            raise Unreachable("the server ended the watch at once and without an event")
        self._in_doubt = lasted < agreed and not self._relist

    async def _follow(self, events: AsyncIterator[WatchEvent], watchdog: asyncio.Timeout) -> None:
        loop = asyncio.get_running_loop()
        self.error = None
        rearm_at = 0.0
        async for event in events:
            if self._relist:
                return
            now = loop.time()
            if now >= rearm_at:  # a timer for every event would cost as much as the event
                watchdog.reschedule(now + self._timing.inactivity)
                rearm_at = now + self._timing.inactivity / 100
            self._take(event)

    def _take(self, event: WatchEvent) -> None:
        obj = event.object
        version = (obj.get("metadata") or {}).get("resourceVersion")
        if _is_older(str(version or ""), self._version):
            raise Gone("the history of the server began anew")
        if event.type != "BOOKMARK":
            for change in self._changes(event.type, obj):
                self._on_change(change)
        if version:
            self._version = str(version)

    def _changes(self, kind: str, obj: JsonObject) -> list[Change]:
        if kind not in {"ADDED", "MODIFIED", "DELETED"}:
            raise ApiError(f"unknown watch event {kind[:32]!a}")
        key = key_of(obj)
        kept = obj if self._transform is None else self._transform(obj)
        if kept is None:
            return self._store.drop(key)
        return self._store.remove(kept) if kind == "DELETED" else self._store.put(kept)


def _is_older(version: str, than: str) -> bool:
    """Whether one resource version comes before another; no if they do not compare."""
    return version.isdecimal() and than.isdecimal() and int(version) < int(than)
