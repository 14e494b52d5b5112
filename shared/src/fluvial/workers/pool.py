"""A bounded pool of worker processes for what must not run in a controller's own process.

A job may crash, hang, leak or be hostile: it costs its process, which is replaced. A process that
has served one trust domain (a namespace with its credentials) serves no other, because libraries
keep trust in global state. Callers queue in bounded number, and trust domains take turns.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self

from fluvial.clock import RealClock
from fluvial.log import Logger
from fluvial.objects import JsonObject
from fluvial.workers.errors import WorkerDied, WorkerError, WorkerTimeout
from fluvial.workers.limits import FILE_MAPPINGS
from fluvial.workers.process import Answering, Worker, WorkerSettings
from fluvial.workers.turns import Turns

__all__ = ["Meter", "WorkerPool"]


class Meter(Protocol):
    """Bounds how much work is done for somebody."""

    def admit(self) -> None:
        """Return if a job may begin; raises WorkerBusy if not now."""

    def charge(self, seconds: float) -> None:
        """Note that a job has taken so long."""


@dataclass(frozen=True, slots=True)
class _Job:
    """What ``call`` was asked for."""

    method: str
    payload: JsonObject = field(repr=False)
    seconds: float
    trust_domain: str
    turn: str
    answering: Answering | None
    meter: Meter | None


@dataclass(slots=True)
class _Slot:
    """A turn, and the seconds for which it was used."""

    used: float = 0.0


class WorkerPool:
    """``async with WorkerPool(...) as pool: await pool.call(...)``.

    Args:
        target: what each process imports, ``package.module:function``; the function gets
            ``(method, payload)`` and returns a JSON object.
        size: jobs that run at once, number of processes. One fresh process more is kept ready.
        memory_bytes: private memory of one process; 0 for no limit.
        max_jobs: jobs after which a process is replaced.
        start_timeout: seconds for a process to become ready.
        env: the whole environment of the processes, beside ``PATH``, ``LANG`` and ``HOME``.
        log: gets process ends at debug level.
        file_bytes: largest file a process may write; 0 for no limit.
        max_waiting: callers that may wait for a process.
        keep_spare: keep one fresh process ready, so that a new trust domain starts at once.
        mapping_bytes: address space that a process may have beside its memory.
        slice_seconds: for which a domain has its turn if more of its jobs wait; without it each
            turn is one job, and where many domains wait each job is a new process.

    """

    def __init__(
        self,
        *,
        target: str,
        size: int,
        memory_bytes: int,
        log: Logger,
        max_jobs: int = 500,
        start_timeout: float = 30.0,
        env: Mapping[str, str] | None = None,
        file_bytes: int = 0,
        max_waiting: int = 1024,
        keep_spare: bool = True,
        mapping_bytes: int = FILE_MAPPINGS,
        slice_seconds: float = 0.0,
    ) -> None:
        self._settings = WorkerSettings(
            target=target,
            memory_bytes=memory_bytes,
            file_bytes=file_bytes,
            start_timeout=start_timeout,
            env=dict(env or {}),
            mapping_bytes=mapping_bytes,
        )
        self._size = size
        self._max_jobs = max_jobs
        self._keep_spare = keep_spare
        self._log = log
        self._turns = Turns(size, most=max_waiting, slice_seconds=slice_seconds)
        self._idle: deque[Worker] = deque()
        self._busy: set[Worker] = set()
        self._spare: asyncio.Task[Worker] | None = None
        self._clock = RealClock()
        self._open = False

    async def __aenter__(self) -> Self:
        self._open = True
        self._prepare_spare()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._open = False
        spare, self._spare = self._spare, None
        if spare is not None:
            spare.cancel()
            await asyncio.wait((spare,))
            if not spare.cancelled() and spare.exception() is None:
                self._idle.append(spare.result())
        workers = [*self._idle, *self._busy]
        self._idle.clear()
        for worker in workers:
            worker.kill()
        for worker in workers:
            await worker.stop()

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids of the workers that are idle or at work, without the spare."""
        return tuple(worker.pid for worker in (*self._idle, *self._busy))

    async def call(
        self,
        method: str,
        payload: JsonObject,
        *,
        timeout: float,
        trust_domain: str = "",
        turn: str | None = None,
        retry: bool = True,
        retry_timeout: bool = True,
        answering: Answering | None = None,
        meter: Meter | None = None,
    ) -> JsonObject:
        """Run one job in a process of ``trust_domain``. Cancelling it kills the process.

        Args:
            method: for the target to choose by.
            payload: JSON, at most ``frames.MAX_FRAME_BYTES``.
            timeout: seconds from the start of the job, without the time in the queue.
            trust_domain: whose credentials and data are in the payload.
            turn: who waits in line, where one who waits has several trust domains.
            retry: run the job once more in another process if its own died.
            retry_timeout: likewise if the job ran out of time; only with ``retry``.
            answering: answers what the job asks (``fluvial.workers.asking``); what it raises
                ends the job's process and is raised here.
            meter: asked before a process begins, and told how long it took, however it ended.

        Raises:
            WorkerError: the job's own, with its code and message.
            WorkerDied: the process died (with ``retry``: twice).
            WorkerTimeout: out of time (with ``retry_timeout``: twice).
            WorkerBusy: ``max_waiting`` callers wait already, most of them for this domain; or
                ``meter`` says so.
            WorkerStartFailed: no process could be started.

        """
        in_line = trust_domain if turn is None else turn
        job = _Job(method, payload, timeout, trust_domain, in_line, answering, meter)
        try:
            return await self._call_once(job)
        except (WorkerDied, WorkerTimeout) as error:
            if not retry or (isinstance(error, WorkerTimeout) and not retry_timeout):
                raise
            self._log.info("a worker was lost, the job runs once more", method=method, why=error)
        return await self._call_once(job)

    async def _call_once(self, job: _Job) -> JsonObject:
        async with self._slot(job.turn) as slot:
            if job.meter is not None:
                job.meter.admit()
            worker = await self._take(job.trust_domain)
            self._busy.add(worker)
            started = self._clock.monotonic()
            try:
                return await worker.exchange(
                    job.method, job.payload, timeout=job.seconds, answering=job.answering
                )
            finally:
                slot.used = self._clock.monotonic() - started
                self._busy.discard(worker)
                if job.meter is not None:
                    job.meter.charge(slot.used)
                await self._give_back(worker)

    @contextlib.asynccontextmanager
    async def _slot(self, turn: str) -> AsyncIterator[_Slot]:
        self._check_open()
        await self._turns.take(turn)
        slot = _Slot()
        try:
            self._check_open()
            yield slot
        finally:
            self._turns.give_back(turn, slot.used)

    def _check_open(self) -> None:
        if not self._open:
            raise WorkerError("Closed", "the worker pool is closed")

    async def _take(self, trust_domain: str) -> Worker:
        worker = self._pick(trust_domain)
        if worker is None:
            while len(self._idle) + len(self._busy) >= self._size and self._idle:
                await self._idle.popleft().stop()
            worker = await self._fresh()
        worker.trust_domain = trust_domain
        return worker

    def _pick(self, trust_domain: str) -> Worker | None:
        """The idle worker used last for this domain; dead ones are dropped."""
        self._idle = deque(worker for worker in self._idle if worker.alive)
        for wanted in dict.fromkeys((trust_domain, "")):
            for worker in reversed(self._idle):
                if worker.trust_domain == wanted:
                    self._idle.remove(worker)
                    return worker
        return None

    async def _fresh(self) -> Worker:
        spare, self._spare = self._spare, None
        try:
            if spare is not None and (worker := await self._claim(spare)) is not None:
                return worker
            return await Worker.start(self._settings, log=self._log)
        finally:
            self._prepare_spare()

    async def _claim(self, spare: asyncio.Task[Worker]) -> Worker | None:
        try:
            worker = await asyncio.shield(spare)
        except asyncio.CancelledError:
            # The caller goes; the process it was to have stays ready for the next one.
            if self._spare is None and not spare.cancelled():
                self._spare = spare
            raise
        except WorkerError:
            return None  # the caller's own attempt says why
        return worker if worker.alive else None

    def _prepare_spare(self) -> None:
        if self._open and self._keep_spare and self._spare is None:
            start = Worker.start(self._settings, log=self._log)
            self._spare = asyncio.create_task(start, name="worker-spare")
            self._spare.add_done_callback(_retrieve)

    async def _give_back(self, worker: Worker) -> None:
        if not worker.alive:
            return
        if not self._open or worker.jobs >= self._max_jobs:
            await worker.stop()
            return
        self._idle.append(worker)


def _retrieve(task: asyncio.Task[Worker]) -> None:
    """Note the failure of a spare as seen; whoever needs a worker starts one and hears why."""
    if not task.cancelled():
        task.exception()
