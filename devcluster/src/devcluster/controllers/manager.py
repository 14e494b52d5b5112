"""Starts and stops the controllers, and tells them what changed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Protocol

from devcluster.controllers.accounts import Accounts
from devcluster.controllers.definitions import Definitions
from devcluster.controllers.garbage import Garbage
from devcluster.controllers.namespaces import Namespaces
from devcluster.controllers.protection import Protection
from devcluster.controllers.roles import Roles
from devcluster.controllers.worker import Worker
from devcluster.engine import Engine
from devcluster.kinds import Kind
from devcluster.store import Change, Table
from devcluster.workloads import Workloads
from fluvial.log import Logger

__all__ = ["Controller", "Controllers"]

JsonObject = dict[str, Any]

_IN_THE_SERVER = frozenset({"definitions"})


class Controller(Protocol):
    """What a controller offers: which keys a change concerns, and the work for one key."""

    def keys(self, table: Table, change: Change) -> Sequence[Hashable]: ...

    @property
    def handle(self) -> Callable[[Any], float | None]: ...


class Controllers:
    """All controllers of one cluster."""

    def __init__(self, engine: Engine, *, ca_pem: bytes, workloads: bool, log: Logger) -> None:
        self._engine = engine
        self._log = log
        self._routes: list[tuple[Controller, Worker[Any]]] = []
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.add("definitions", Definitions(engine, serve=self._serve))
        self.add("accounts", Accounts(engine, ca_pem=ca_pem))
        self.add("namespaces", Namespaces(engine))
        self.add("garbage", Garbage(engine))
        self.add("roles", Roles(engine))
        self.add("protection", Protection(engine))
        if workloads:
            self.add("workloads", Workloads(engine))
        engine.store.listen(self._changed)

    def add(self, name: str, controller: Controller) -> None:
        """Take a controller in; before ``start``."""
        worker: Worker[Any] = Worker(name, controller.handle, log=self._log)
        self._routes.append((controller, worker))

    def _serve(self, crd: JsonObject, kinds: list[Kind]) -> None:
        gate, store = self._engine.gate, self._engine.store
        stored = next(kind for kind in kinds if kind.version == kind.stored_version)
        before = gate.known(stored)
        gate.learn(crd, kinds)
        if before not in (None, gate.known(stored)):
            # What was stored under another schema is read by this one.
            store.reread(store.table(stored.table), lambda obj: gate.as_read(stored, obj))

    def _changed(self, table: Table, change: Change) -> None:
        for controller, worker in self._routes:
            for key in controller.keys(table, change):
                worker.add(key)

    def start(self) -> None:
        """Run those that do not run; needs a running loop."""
        for _, worker in self._routes:
            if worker.name not in self._tasks:
                task = asyncio.create_task(worker.run(), name=f"devcluster-{worker.name}")
                self._tasks[worker.name] = task

    async def stop(self) -> None:
        """Cancel and await them."""
        await self._cancel(set(self._tasks))

    async def halt(self) -> None:
        """Cancel and await those that a real cluster runs in kube-controller-manager."""
        await self._cancel(set(self._tasks) - _IN_THE_SERVER)

    async def _cancel(self, names: set[str]) -> None:
        tasks = [self._tasks.pop(name) for name in names]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def settle(self) -> None:
        """Wait until no controller has anything to do now (timers aside)."""
        while not all(worker.idle.is_set() for _, worker in self._routes):
            for _, worker in self._routes:
                await worker.idle.wait()
