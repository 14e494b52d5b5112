"""One worker process, seen from the parent."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import orjson

from fluvial.log import Logger
from fluvial.objects import JsonObject
from fluvial.workers import frames
from fluvial.workers.asking import QUESTION
from fluvial.workers.errors import (
    WorkerDied,
    WorkerError,
    WorkerOutOfMemory,
    WorkerStartFailed,
    WorkerTimeout,
)
from fluvial.workers.limits import FILE_MAPPINGS

__all__ = ["Answering", "Worker", "WorkerSettings"]

Answering = Callable[[JsonObject], Awaitable[JsonObject]]
"""Answers the questions of a job; what it raises ends the job and its process."""

_STDERR_TAIL = 4096
_KILL_WAIT = 10.0


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """What every worker of a pool has in common; see ``WorkerPool``."""

    target: str
    memory_bytes: int
    file_bytes: int
    start_timeout: float
    env: Mapping[str, str] = field(default_factory=dict)
    mapping_bytes: int = FILE_MAPPINGS

    def environment(self) -> dict[str, str]:
        """The child's whole environment: nothing is inherited."""
        return {"PATH": os.defpath, "LANG": "C.UTF-8", "HOME": "/nonexistent", **self.env}


class Worker:
    """A started process with its connection. Made by ``Worker.start``, ended by ``stop``."""

    def __init__(self, process: asyncio.subprocess.Process, *, target: str, log: Logger) -> None:
        self._process = process
        self._target = target
        self._log = log
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._tail = b""
        self._watch = asyncio.create_task(self._watch_exit(), name=f"worker-{process.pid}")
        self.trust_domain = ""
        self.jobs = 0

    @classmethod
    async def start(cls, settings: WorkerSettings, *, log: Logger) -> Worker:
        """Start a process and wait until its target is imported.

        Raises:
            WorkerStartFailed: it ended, said no, or took longer than ``start_timeout`` seconds.

        """
        ours, theirs = socket.socketpair()
        with contextlib.ExitStack() as cleanup:
            cleanup.callback(ours.close)
            with theirs:
                process = await _spawn(settings, theirs.fileno())
            cleanup.pop_all()
        worker = cls(process, target=settings.target, log=log)
        ready = False
        try:
            async with asyncio.timeout(settings.start_timeout):
                await worker._connect(ours)
                await worker._greet()
            ready = True
        except TimeoutError as error:
            raise WorkerStartFailed(
                f"a worker was not ready after {settings.start_timeout:g}s"
            ) from error
        finally:
            if not ready:
                await worker.stop()
        return worker

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """False once the process has ended."""
        return self._process.returncode is None and not self._watch.done()

    async def exchange(
        self,
        method: str,
        payload: JsonObject,
        *,
        timeout: float,
        answering: Answering | None = None,
    ) -> JsonObject:
        """Run one job. Whatever goes wrong but a ``WorkerError`` of the job ends the process.

        Raises:
            WorkerDied: the process ended before it had answered.
            WorkerTimeout: ``timeout`` seconds were over; the process is gone.
            WorkerError: the job's own.

        """
        self.jobs += 1
        clean = False
        try:
            async with asyncio.timeout(timeout):
                answer = await self._converse(method, payload, answering)
            clean = True
        except TimeoutError as error:
            raise WorkerTimeout(f"the job took longer than {timeout:g}s") from error
        finally:
            if not clean:
                await self.stop()
        return await self._unpack(answer)

    async def stop(self) -> None:
        """Kill the process and wait until it has gone."""
        self.kill()
        if self._writer is not None:
            self._writer.transport.abort()
        await asyncio.shield(self._watch)

    def kill(self) -> None:
        """Kill the process and what it started; returns at once."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def _connect(self, ours: socket.socket) -> None:
        self._reader, self._writer = await asyncio.open_unix_connection(sock=ours, limit=1 << 20)

    async def _greet(self) -> None:
        assert self._reader is not None  # noqa: S101  # set by _connect
        try:
            greeting = await frames.read_async(self._reader)
        except (asyncio.IncompleteReadError, ConnectionError, ValueError) as error:
            raise WorkerStartFailed(
                f"a worker for {self._target} ended before it was ready"
            ) from error
        if "ready" not in greeting:
            raise WorkerStartFailed(
                f"a worker for {self._target} cannot start: {greeting['error']['message']}"
            )

    async def _converse(
        self, method: str, payload: JsonObject, answering: Answering | None
    ) -> JsonObject:
        """Send the job, answer its questions, and return its answer."""
        said = await self._say({"method": method, "payload": payload})
        while QUESTION in said:
            answer = None if answering is None else await answering(said[QUESTION])
            said = await self._say({"answer": answer})
        return said

    async def _say(self, message: JsonObject) -> JsonObject:
        """Send one frame and wait for the next."""
        assert self._reader is not None  # noqa: S101  # set by _connect
        assert self._writer is not None  # noqa: S101  # likewise
        try:
            self._writer.write(frames.encode(message))
            await self._writer.drain()
            return await frames.read_async(self._reader)
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            await asyncio.shield(self._watch)
            raise WorkerDied(f"the worker ended with {self._exit_text()}") from error
        except frames.FrameTooLarge as error:
            raise WorkerError("MessageTooLarge", str(error)) from error
        except ValueError as error:
            raise WorkerDied("the worker sent something that is no answer") from error

    async def _unpack(self, answer: JsonObject) -> JsonObject:
        if "result" in answer:
            result: JsonObject = answer["result"]
            return result
        error = answer.get("error") or {}
        code, message = str(error.get("code")), str(error.get("message"))
        if code == "WorkerOutOfMemory":
            await self.stop()
            raise WorkerOutOfMemory(message)
        raise WorkerError(code, message, details=error.get("details") or {})

    async def _watch_exit(self) -> None:
        """Drain what the process prints, then notice its end even if its children hold on."""
        output = self._process.stdout
        assert output is not None  # noqa: S101  # created with a pipe
        drain = asyncio.create_task(self._drain(output), name=f"worker-{self._process.pid}-output")
        try:
            await self._process.wait()
            if self._writer is not None:
                self._writer.transport.abort()
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            await asyncio.wait((drain,), timeout=_KILL_WAIT)
        finally:
            drain.cancel()
            await asyncio.wait((drain,))
        self._log.debug(
            "worker ended",
            pid=self._process.pid,
            status=self._exit_text(),
            jobs=self.jobs,
            output=self._tail.decode(errors="replace"),
        )

    async def _drain(self, output: asyncio.StreamReader) -> None:
        while data := await output.read(1 << 16):
            self._tail = (self._tail + data)[-_STDERR_TAIL:]

    def _exit_text(self) -> str:
        code = self._process.returncode
        if code is None:
            return "no status"
        if code >= 0:
            return f"status {code}"
        try:
            return f"signal {signal.Signals(-code).name}"
        except ValueError:
            return f"signal {-code}"


async def _spawn(settings: WorkerSettings, fd: int) -> asyncio.subprocess.Process:
    argument = orjson.dumps(
        {
            "fd": fd,
            "parent": os.getpid(),
            "memory_bytes": settings.memory_bytes,
            "file_bytes": settings.file_bytes,
            "mapping_bytes": settings.mapping_bytes,
        }
    ).decode()
    options = ("-P", "-s", "-m", "fluvial.workers.child")
    try:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            *options,
            settings.target,
            argument,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            pass_fds=(fd,),
            env=settings.environment(),
            cwd="/",
            start_new_session=True,
        )
    except OSError as error:
        raise WorkerStartFailed(f"cannot start a worker: {error.strerror}") from error
