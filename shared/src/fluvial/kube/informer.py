"""Informers: a store that follows the server, and functions that are told its changes.

Controllers get theirs from one ``InformerFactory``, which shares an informer between all that
ask for the same objects and stops it when the last has released it. Subscribers are plain
functions that map an object to keys: they run on the event loop between two watch events, must
be quick, and what they raise is logged and stops nothing.

While an informer's kind is not served, the factory watches the names of definitions, and tells
the informer to try again when its own comes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

from fluvial.clock import Clock
from fluvial.errors import FluvialError
from fluvial.kube import kinds
from fluvial.kube.client import KubeClient
from fluvial.kube.errors import Forbidden
from fluvial.kube.reflector import Reflector, ReflectorTiming, Selection, Transform
from fluvial.kube.resource import Resource
from fluvial.kube.store import Change, IndexFunction, Store
from fluvial.log import Logger
from fluvial.objects import JsonObject

__all__ = ["AbsenceHook", "ErrorHook", "Informer", "InformerFactory", "NotSynced", "Subscriber"]

Subscriber = Callable[[JsonObject | None, JsonObject | None], None]
"""Called with the object before and after; one of them may be ``None``."""
ErrorHook = Callable[[Resource, Exception], None]
"""Told each failed list or watch and each subscriber's exception. For metrics."""
AbsenceHook = Callable[[Resource, int], None]
"""Told how many informers wait for a resource to be served, whenever that changes."""


class NotSynced(FluvialError):
    """The first list has not come in time; the text has the last failure, such as a 403."""


class Informer:
    """The objects of one selection. Made by an ``InformerFactory`` only."""

    def __init__(
        self,
        client: KubeClient,
        selection: Selection,
        *,
        clock: Clock,
        log: Logger,
        on_error: ErrorHook | None,
        on_absence: Callable[[Informer, bool], None],
        transform: Transform | None,
        timing: ReflectorTiming | None,
        verify: bool,
    ) -> None:
        self.selection = selection
        self.store = Store(verify=verify)
        self._log = log
        self._on_error = on_error
        self._subscribers: list[Subscriber] = []
        self._progress = asyncio.Condition()
        self._reflector = Reflector(
            client,
            selection,
            self.store,
            on_change=self._tell,
            on_error=self._failed,
            clock=clock,
            log=log,
            transform=transform,
            timing=timing,
            on_list=self._listed,
            on_absence=lambda absent: on_absence(self, absent),
        )

    @property
    def resource(self) -> Resource:
        """The resource that is followed."""
        return self.selection.resource

    @property
    def synced(self) -> bool:
        """True once the first list is in the store."""
        return self._reflector.lists > 0

    @property
    def lists(self) -> int:
        """How many complete lists have been taken so far."""
        return self._reflector.lists

    @property
    def error(self) -> Exception | None:
        """Why the store may be behind now; ``None`` while lists and watches work."""
        return self._reflector.error

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Hear every change from now on, and first ``(None, object)`` for all that is there.

        Returns:
            a function that ends it; calling it again does nothing.

        """
        self._subscribers.append(subscriber)
        for obj in self.store.list():
            self._call(subscriber, Change(None, obj))

        def unsubscribe() -> None:
            if subscriber in self._subscribers:
                self._subscribers.remove(subscriber)

        return unsubscribe

    async def wait_synced(self, timeout: float = 60.0) -> None:
        """Wait until the first list is in the store and was told to all subscribers.

        Raises:
            NotSynced: it took longer than ``timeout`` seconds.

        """
        await self._wait_lists(1, timeout)

    async def relist(self, timeout: float = 60.0) -> None:
        """Compare the store with one fresh list; subscribers hear what the watch missed.

        Raises:
            NotSynced: it took longer than ``timeout`` seconds.

        """
        await self._wait_lists(self._reflector.relist(), timeout)

    async def _wait_lists(self, wanted: int, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds), self._progress:
                await self._progress.wait_for(lambda: self._reflector.lists >= wanted)
        except TimeoutError:
            why = f": {self.error}" if self.error is not None else ""
            raise NotSynced(
                f"{self.resource.group_resource} were not listed within {seconds:g} s{why}"
            ) from self.error

    def retry_now(self) -> None:
        """If lists or watches fail, try again at once instead of after the delay."""
        if self.error is not None:
            self._reflector.relist()

    async def run(self) -> None:
        """Follow the server until cancelled."""
        await self._reflector.run()

    async def _listed(self) -> None:
        async with self._progress:
            self._progress.notify_all()

    def _tell(self, change: Change) -> None:
        for subscriber in tuple(self._subscribers):
            self._call(subscriber, change)

    def _call(self, subscriber: Subscriber, change: Change) -> None:
        try:
            subscriber(change.old, change.new)
        except Exception as error:  # noqa: BLE001 - one subscriber must not blind the others
            self._log.exception(
                "a subscriber of an informer failed", resource=self.resource.group_resource
            )
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        if self._on_error is not None:
            self._on_error(self.resource, error)


class InformerFactory:
    """Makes, shares, runs and stops informers of one client.

    ``async with factory:`` runs what was asked for before and what is asked for inside; leaving
    it stops everything. Informers of a factory that does not run yet stay empty.
    """

    def __init__(
        self,
        client: KubeClient,
        clock: Clock,
        log: Logger,
        *,
        on_error: ErrorHook | None = None,
        on_absence: AbsenceHook | None = None,
        timing: ReflectorTiming | None = None,
        verify: bool = False,
    ) -> None:
        """Start nothing.

        Args:
            client: whose identity lists and watches.
            clock: the time.
            log: told failures.
            on_error: told failures, for metrics.
            on_absence: told which kinds are waited for, for metrics.
            timing: delays and limits of the watches.
            verify: find out who changes stored objects in place (slow: tests only).

        """
        self._client = client
        self._clock = clock
        self._log = log
        self._on_error = on_error
        self._on_absence = on_absence
        self._timing = timing
        self._verify = verify
        self._absent: list[Informer] = []
        self._definitions: Informer | None = None
        self._informers: dict[tuple[Selection, Transform | None], Informer] = {}
        self._uses: dict[Informer, int] = {}
        self._tasks: dict[Informer, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None

    async def __aenter__(self) -> Self:
        group = asyncio.TaskGroup()
        await group.__aenter__()
        self._group = group
        for informer in self._uses:
            self._start(informer)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        group, self._group = self._group, None
        for task in self._tasks.values():
            task.cancel()
        self._tasks.clear()
        if group is not None:
            await group.__aexit__(None, None, None)

    def informer(
        self,
        resource: Resource,
        *,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        metadata_only: bool = False,
        indexes: Mapping[str, IndexFunction] | None = None,
        transform: Transform | None = None,
    ) -> Informer:
        """The informer for these objects, new or shared; give it back with ``release``.

        Args:
            resource: what to follow.
            namespace: one namespace, or ``""`` for all.
            label_selector: as the API has it.
            field_selector: as the API has it.
            metadata_only: store metadata alone, without managedFields.
            indexes: added to the shared store.
            transform: applied before storing; ``None`` from it stores nothing. Informers are
                shared only where it is the same function.

        Raises:
            ValueError: an index of that name exists with another function.

        """
        selection = Selection(resource, namespace, label_selector, field_selector, metadata_only)
        informer = self._informers.get((selection, transform))
        fresh = informer is None
        if informer is None:
            informer = self._make(selection, transform, self._on_error, self._absence)
        for name, function in (indexes or {}).items():
            informer.store.add_index(name, function)
        if fresh:
            self._informers[selection, transform] = informer
            if self._group is not None:
                self._start(informer)
        self._uses[informer] = self._uses.get(informer, 0) + 1
        return informer

    def release(self, informer: Informer) -> None:
        """Give back one use; the last one stops the watch. Its store keeps what it has."""
        left = self._uses.get(informer, 0) - 1
        if left > 0:
            self._uses[informer] = left
            return
        self._uses.pop(informer, None)
        self._informers = {key: each for key, each in self._informers.items() if each != informer}
        self._end(informer)
        self._absence(informer, absent=False)

    async def wait_synced(self, timeout: float = 60.0) -> None:
        """Wait for the first list of every informer that there is now.

        Raises:
            NotSynced: one took longer than ``timeout`` seconds.

        """
        deadline = self._clock.monotonic() + timeout
        for informer in tuple(self._uses):
            await informer.wait_synced(max(0.0, deadline - self._clock.monotonic()))

    def _make(
        self,
        selection: Selection,
        transform: Transform | None,
        on_error: ErrorHook | None,
        on_absence: Callable[[Informer, bool], None],
    ) -> Informer:
        return Informer(
            self._client,
            selection,
            clock=self._clock,
            log=self._log,
            on_error=on_error,
            on_absence=on_absence,
            transform=transform,
            timing=self._timing,
            verify=self._verify,
        )

    def _start(self, informer: Informer) -> None:
        if self._group is not None:
            name = f"informer-{informer.resource.group_resource}"
            self._tasks[informer] = self._group.create_task(informer.run(), name=name)

    def _end(self, informer: Informer) -> None:
        task = self._tasks.pop(informer, None)
        if task is not None:
            task.cancel()

    # -- kinds that are not served ---------------------------------------------------------------

    def _absence(self, informer: Informer, absent: bool) -> None:  # noqa: FBT001 - the state itself
        """An informer's kind is not served, or is again, or nobody wants to know any more."""
        if absent == (informer in self._absent):
            return
        if absent:
            self._absent.append(informer)
        else:
            self._absent.remove(informer)
        if self._on_absence is not None:
            resource = informer.resource
            waiting = sum(each.resource == resource for each in self._absent)
            self._on_absence(resource, waiting)
        defined = any(each.resource.group for each in self._absent)  # the core group's are built in
        if defined and self._definitions is None:
            self._watch_definitions()
        elif not defined and self._definitions is not None:
            self._end(self._definitions)
            self._definitions = None

    def _watch_definitions(self) -> None:
        selection = Selection(kinds.CRD, metadata_only=True)
        made = self._make(selection, _name_only, self._definitions_failed, lambda *_: None)
        made.subscribe(self._defined)
        self._definitions = made
        self._start(made)

    def _defined(self, _old: JsonObject | None, new: JsonObject | None) -> None:
        name = (new or {}).get("metadata", {}).get("name")
        for informer in self._absent:
            if informer.resource.group_resource == name:
                informer.retry_now()

    def _definitions_failed(self, _resource: Resource, error: Exception) -> None:
        """Who may not watch definitions does without: absent kinds are tried again in time."""
        if isinstance(error, Forbidden) and self._definitions is not None:
            self._end(self._definitions)


def _name_only(obj: JsonObject) -> JsonObject:
    metadata = obj["metadata"]
    kept = {name: metadata.get(name) for name in ("name", "uid", "resourceVersion")}
    return {"metadata": kept}
