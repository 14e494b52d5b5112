"""The composition of one controller process: what runs, in which order, and how it ends.

An app opens a manager, which connects and offers the parts below, adds its controllers, and runs:

    async with Manager(options, name="kustomize-controller", version=VERSION, log=log) as manager:
        informer = manager.informers.informer(KUSTOMIZATION)
        queue = WorkQueue(observer=manager.metrics.queue("kustomization", manager.clock))
        controller = Controller(..., queue=queue, metrics=manager.metrics, clock=manager.clock)
        controller.on_stop(watch_with(informer, ..., queue))
        manager.add(controller)
        return await manager.run()

``manager.client`` has the controller's own identity and, under leader election, refuses to write
once the lease is not held any more (as do its impersonating views; wrap other clients by
``guard``). ``run`` nests scopes, so that the end is the start in reverse:

    servers  >  events  >  informers  >  other runnables  >  lease  >  controllers

SIGTERM or SIGINT: not ready; triggers end and queues shut down; workers finish what they hold,
within ``grace``, then are cancelled; the lease is released; informers stop; events are flushed;
servers close. A second signal, a lost lease or a runnable that failed leaves no grace. Once all is
up, one log line ``ready`` names the bound addresses (``healthAddr``, ``metricsAddr``, ...), so that
whoever passed port 0 learns it.

Exit codes: 0 after a signal; 1 after a lost lease, a failure, a cut grace or a refused start.
"""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, Self, TypeVar

import aiohttp
import yarl
from aiohttp import web

from fluvial.clock import Clock, RealClock
from fluvial.errors import FluvialError
from fluvial.kube.client import KubeClient
from fluvial.kube.config import load_client
from fluvial.kube.http import HttpKubeClient
from fluvial.kube.informer import InformerFactory
from fluvial.log import Logger
from fluvial.net.dialer import Dialer, system_resolve
from fluvial.net.environment import NO_PROXIES, EnvironmentProxies
from fluvial.net.errors import DialFailed
from fluvial.net.policy import AddressPolicy
from fluvial.objects import ObjectKey
from fluvial.runtime.events import EventRecorder
from fluvial.runtime.guard import GuardedClient
from fluvial.runtime.leader import (
    ElectionTimes,
    LeaderElector,
    make_identity,
    refuse_foreign_holder,
)
from fluvial.runtime.listen import listen
from fluvial.runtime.metrics import Metrics, metrics_app
from fluvial.runtime.options import CommonOptions
from fluvial.runtime.probes import Probes, ReadyCheck, probes_app
from fluvial.runtime.sharding import lease_name

__all__ = ["ClientFactory", "Manager", "Runnable"]

ClientFactory = Callable[[], Awaitable[HttpKubeClient]]

_SYNC_TIMEOUT = 120.0
_FLUSH_TIMEOUT = 5.0
_LAG_PERIOD = 0.1
_LAG_WARNING = 1.0
_LEASE_CONNECTIONS = 2

T = TypeVar("T")


class Runnable(Protocol):
    """Something that runs until it is stopped; a ``Controller`` is one."""

    @property
    def name(self) -> str:
        """For tasks and logs."""
        ...

    async def run(self) -> None:
        """Run until ``stop`` was called and what is in hand is finished, or until cancelled."""
        ...

    def stop(self) -> None:
        """Begin to end; returns at once."""
        ...


class _Stopped(Exception):
    """A signal came while the manager was still starting."""


@dataclass(frozen=True, slots=True)
class _Served:
    app: web.Application
    address: str
    name: str
    leader_only: bool


class Manager:
    """Starts, supervises and stops the parts of one controller process.

    Args:
        options: the common options.
        name: Flux' name of the controller, such as ``source-controller``.
        version: sent as part of the user agent.
        log: the process's logger.
        client_factory: makes the client; by default from ``options``.
        clock: the time.
        grace: seconds that workers have to finish after a signal.
        hostname: names this process in events and in the lease.
        check_installations: refuse to start beside Flux' own controller.
        replaces: names of further controllers of Flux whose work this one does.

    """

    client: KubeClient
    """Under the controller's own identity."""
    everywhere: HttpKubeClient
    """The same without a guard: for the little that replicas may write without the lease."""
    informers: InformerFactory
    events: EventRecorder
    http: aiohttp.ClientSession
    """For requests to other services of the cluster; without proxies and cookies."""

    def __init__(
        self,
        options: CommonOptions,
        *,
        name: str,
        version: str,
        log: Logger,
        client_factory: ClientFactory | None = None,
        clock: Clock | None = None,
        grace: float = 30.0,
        hostname: str = "",
        check_installations: bool = True,
        replaces: tuple[str, ...] = (),
    ) -> None:
        self.options = options
        self.name = name
        self.clock: Clock = clock or RealClock()
        self.metrics = Metrics()
        self.probes = Probes()
        self.hostname = hostname or socket.gethostname()
        self.addresses: dict[str, str] = {}
        """Bound addresses as ``host:port``, by server."""
        self._log = log
        self._user_agent = f"{name}/{version}"
        self._client_factory = client_factory or self._load_client
        self._grace = grace
        self._check_installations = check_installations
        self._replaces = replaces
        self._served: list[_Served] = []
        self._runnables: list[tuple[Runnable, bool]] = []
        self._stack = AsyncExitStack()
        self._elector: LeaderElector | None = None
        self._stop = asyncio.Event()
        self._cut = asyncio.Event()
        self._ready = False
        self._code = 0
        self.probes.add("manager", self._readiness)
        self.serve(metrics_app(self.metrics), options.metrics_addr, "metrics")
        self.serve(probes_app(self.probes), options.health_addr, "health")

    async def __aenter__(self) -> Self:
        try:
            await self._connect()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def add(self, runnable: Runnable, *, leader_only: bool = True) -> None:
        """Run something; with ``leader_only`` only while the lease is held."""
        self._runnables.append((runnable, leader_only))

    def add_ready_check(self, name: str, check: ReadyCheck) -> None:
        """Be ready only while ``check`` returns ``""``."""
        self.probes.add(name, check)

    def serve(
        self, app: web.Application, address: str, name: str, *, leader_only: bool = False
    ) -> None:
        """Serve ``app`` at ``address`` (``0``: nowhere); the ready line has it as ``<name>Addr``."""
        self._served.append(_Served(app, address, name, leader_only))

    def guard(self, client: KubeClient) -> KubeClient:
        """A view of ``client`` that refuses to write once the lease is not held any more."""
        if self._elector is None:
            return client
        return GuardedClient(client, self._elector.check)

    @property
    def identity(self) -> str:
        """Name of this process, the one in its lease where it competes for one."""
        return self._elector.identity if self._elector else make_identity(self.hostname)

    @property
    def leads(self) -> bool:
        """Whether this process may work; always without leader election."""
        return self._elector is None or self._elector.is_leader

    @property
    def leader(self) -> str:
        """Name of the process that holds the lease; ``""`` if nobody is known to."""
        return self._elector.holder if self._elector else ""

    def check_leads(self) -> None:
        """Raise ``LeadershipLost`` unless this process may work; from any thread."""
        if self._elector is not None:
            self._elector.check()

    def request_stop(self) -> None:
        """Stop as after a signal; a second call leaves no grace."""
        if self._stop.is_set():
            self._code = 1
            self._cut.set()
        self._stop.set()

    async def run(self) -> int:
        """Run until a signal or a failure; the process's exit code."""
        with self._signals():
            try:
                await self._run()
            except _Stopped:
                self._log.info("stopped while starting")
            except (FluvialError, OSError) as error:
                self._log.error("controller failed", error=str(error))
                return 1
            except Exception as error:  # noqa: BLE001 - the process ends here, with a code
                self._log.error("controller failed", exc_info=error)
                return 1
        return self._code

    async def _run(self) -> None:
        if self._check_installations:
            await self._until_stop(self._refuse_other_installations())
        async with (
            self._serving(leader_only=False),
            self._delivering(),
            self._informing(),
            self._running(leader_only=False),
            self._leading(),
            self._serving(leader_only=True),
            self._running(leader_only=True),
        ):
            fields = {f"{name}Addr": address for name, address in self.addresses.items()}
            self._log.info("ready", **fields)
            await self._stop.wait()
            self._log.info("stopping")

    async def _connect(self) -> None:
        options = self.options
        self.http = await self._stack.enter_async_context(
            aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        )
        client = await self._stack.enter_async_context(await self._client_factory())
        if options.enable_leader_election:
            self._elector = LeaderElector(
                client.own_pool(_LEASE_CONNECTIONS),
                ObjectKey(options.runtime_namespace, self._lease),
                identity=make_identity(self.hostname),
                clock=self.clock,
                log=self._log,
                field_manager=self.name,
                times=ElectionTimes(
                    options.leader_election_lease_duration,
                    options.leader_election_renew_deadline,
                    options.leader_election_retry_period,
                ),
            )
        self.everywhere = client
        self.client = self.guard(client)
        self.informers = InformerFactory(
            client,
            self.clock,
            self._log,
            on_absence=lambda kind, waiting: self.metrics.awaits_kind(kind.group_resource, waiting),
        )
        self.events = EventRecorder(
            client,
            controller=self.name,
            events_addr=options.events_addr,
            clock=self.clock,
            http=self.http,
            hostname=self.hostname,
            log=self._log,
            on_drop=lambda sink: self.metrics.events_dropped.labels(sink).inc(),
        )

    async def dialer(self, *, proxies: EnvironmentProxies = NO_PROXIES) -> Dialer:
        """For connections out of the cluster; the API server is denied to them.

        Args:
            proxies: the operator's, for connections whose object names none.

        Raises:
            DialFailed: the API server's name does not resolve.

        """
        server = yarl.URL(f"//{self.everywhere.host}")
        host, port = server.host or "", server.explicit_port or 443
        try:
            addresses = await system_resolve(host, port)
        except OSError as error:
            raise DialFailed(f"the API server's name {host!r} does not resolve") from error
        policy = AddressPolicy.build(
            allowed=self.options.allow_outbound,
            api_servers=[(address, port) for address in addresses],
        )
        return Dialer(policy, proxies=proxies)

    async def _load_client(self) -> HttpKubeClient:
        return await load_client(
            kubeconfig=self.options.kubeconfig or None,
            user_agent=self._user_agent,
            qps=self.options.kube_api_qps,
            burst=self.options.kube_api_burst,
            on_request=self.metrics.requested,
            clock=self.clock,
        )

    @property
    def _lease(self) -> str:
        return lease_name(self.name, self.options.watch_label_selector)

    async def _refuse_other_installations(self) -> None:
        selector = self.options.watch_label_selector
        names = (self.name, *self._replaces)
        await refuse_foreign_holder(
            self.everywhere,
            namespace=self.options.runtime_namespace,
            names=[lease_name(name, part) for part in (selector, "") for name in names],
            clock=self.clock,
        )

    def _readiness(self) -> str:
        if self._stop.is_set():
            return "stopping"
        return "" if self._ready else "waiting for caches"

    @asynccontextmanager
    async def _serving(self, *, leader_only: bool) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for served in self._served:
                if served.leader_only == leader_only and served.address != "0":
                    self.addresses[served.name] = await listen(stack, served.app, served.address)
            yield

    @asynccontextmanager
    async def _delivering(self) -> AsyncIterator[None]:
        # No TaskGroup around the inner scopes: it would wrap what they raise.
        tasks = [
            asyncio.create_task(self._supervise("events", self.events.run()), name="events"),
            asyncio.create_task(self._supervise("loop-lag", self._watch_loop()), name="loop-lag"),
        ]
        try:
            yield
        finally:
            await self.events.flush(0 if self._cut.is_set() else _FLUSH_TIMEOUT)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    @asynccontextmanager
    async def _informing(self) -> AsyncIterator[None]:
        async with self.informers:
            await self._until_stop(self.informers.wait_synced(_SYNC_TIMEOUT))
            self._ready = True
            yield

    @asynccontextmanager
    async def _leading(self) -> AsyncIterator[None]:
        elector = self._elector
        if elector is None:
            yield
            return
        await self._until_stop(elector.acquire())
        self.metrics.leader.labels(self._lease).set(1)
        renewing = asyncio.create_task(self._supervise("lease", self._renew(elector)), name="lease")
        try:
            yield
        finally:
            renewing.cancel()
            await asyncio.wait((renewing,))
            self.metrics.leader.labels(self._lease).set(0)
            if self.options.leader_election_release_on_cancel:
                await elector.release()

    async def _renew(self, elector: LeaderElector) -> None:
        await elector.renew()
        self._fail()

    @asynccontextmanager
    async def _running(self, *, leader_only: bool) -> AsyncIterator[None]:
        runnables = [item for item, leader in self._runnables if leader == leader_only]
        tasks = [
            asyncio.create_task(self._supervise(item.name, item.run()), name=item.name)
            for item in runnables
        ]
        try:
            yield
        finally:
            for item in runnables:
                item.stop()
            await self._finish(tasks)

    async def _supervise(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except FluvialError as error:  # it says what to do, and a stack adds nothing
            self._log.error("runnable failed", runnable=name, error=str(error))
            self._fail()
        except Exception as error:  # noqa: BLE001 - it ends the process in order, with a code
            self._log.error("runnable failed", runnable=name, exc_info=error)
            self._fail()

    def _fail(self) -> None:
        """End the process without grace, with exit code 1."""
        self._code = 1
        self._stop.set()
        self._cut.set()

    async def _finish(self, tasks: Sequence[asyncio.Task[None]]) -> None:
        """Wait for tasks that were told to stop; cancel them when the grace is over or cut."""
        if not tasks:
            return
        cut = asyncio.create_task(self._cut.wait(), name="cut")
        try:
            pending = set(tasks)
            deadline = self.clock.monotonic() + self._grace
            while pending and not cut.done():
                left = deadline - self.clock.monotonic()
                if left <= 0:
                    break
                await asyncio.wait(
                    {*pending, cut}, timeout=left, return_when=asyncio.FIRST_COMPLETED
                )
                pending = {task for task in pending if not task.done()}
        finally:
            cut.cancel()
            late = [task for task in tasks if not task.done()]
            if late:
                self._log.info("cancelling", runnables=[task.get_name() for task in late])
            for task in late:
                task.cancel()
            # A task ends only when its work really has: no lease may be released before.
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _until_stop(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait for ``work``, but not beyond a signal.

        Raises:
            _Stopped: a signal came first.

        """
        tasks = (
            asyncio.create_task(work, name="starting"),
            asyncio.create_task(self._stop.wait(), name="stop"),
        )
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if not tasks[0].done():
                raise _Stopped
            return tasks[0].result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch_loop(self) -> None:
        """Measure how late the loop runs timers: whatever blocks it delays everybody."""
        while True:
            due = self.clock.monotonic() + _LAG_PERIOD
            await self.clock.sleep(_LAG_PERIOD)
            lag = max(0.0, self.clock.monotonic() - due)
            self.metrics.loop_lag.observe(lag)
            if lag > _LAG_WARNING:
                self._log.info("the event loop was blocked", seconds=round(lag, 3))

    @contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        both = (signal.SIGTERM, signal.SIGINT)
        for number in both:
            loop.add_signal_handler(number, self.request_stop)
        try:
            yield
        finally:
            for number in both:
                loop.remove_signal_handler(number)
