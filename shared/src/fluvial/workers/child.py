"""The process side of a worker: ``python -m fluvial.workers.child TARGET SETTINGS``.

It limits itself first, imports the target, says that it is ready, and then answers one call after
the other until its connection closes. Nothing of the parent's environment is in it, and it never
outlives its parent. A job gets ``(method, payload)`` and returns a JSON object or raises
``WorkerError``; any other exception reaches the parent by type and place only, because its text
may hold secrets.
"""

from __future__ import annotations

import faulthandler
import importlib
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable

import orjson

from fluvial.objects import JsonObject
from fluvial.workers import frames, limits
from fluvial.workers.asking import asking
from fluvial.workers.errors import WorkerError

__all__ = ["Job", "main"]

Job = Callable[[str, JsonObject], JsonObject]


def main(argv: list[str]) -> int:
    """Serve calls until the parent closes the connection.

    Args:
        argv: the target as ``package.module:function`` and the settings as JSON: ``fd`` of the
            connection, ``parent`` process id, ``memory_bytes``, ``mapping_bytes``, ``file_bytes``.

    """
    target, settings = argv[0], orjson.loads(argv[1])
    limits.die_with_parent(settings["parent"])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.set_inheritable(settings["fd"], False)
    faulthandler.enable()
    with socket.socket(fileno=settings["fd"]) as connection:
        try:
            job = _load(target)
            limits.limit_resources(
                memory_bytes=settings["memory_bytes"],
                file_bytes=settings["file_bytes"],
                mapping_bytes=settings["mapping_bytes"],
            )
        except Exception as error:  # noqa: BLE001  # whatever it is, the parent must hear of it
            frames.write_blocking(connection, {"error": _describe(error)})
            return 1
        frames.write_blocking(connection, {"ready": os.getpid()})
        while (message := frames.read_blocking(connection)) is not None:
            if not _serve(connection, job, message):
                return 1
    return 0


def _load(target: str) -> Job:
    module, _, name = target.partition(":")
    job: Job = getattr(importlib.import_module(module), name)
    return job


def _serve(connection: socket.socket, job: Job, message: JsonObject) -> bool:
    """Answer one call; ``False`` if this process is not fit for another."""
    fit = True
    try:
        with asking(connection):
            result = job(message["method"], message["payload"])
        answer = frames.encode({"result": result})
    except WorkerError as error:
        answer = frames.encode({"error": _describe(error)})
    except Exception as error:  # noqa: BLE001  # every failure of a job becomes an answer
        # Out of memory, or what nobody foresaw: such as a fence around a folder that is gone.
        fit = False
        answer = frames.encode({"error": _describe(error)})
    connection.sendall(answer)
    return fit


def _describe(error: Exception) -> JsonObject:
    if isinstance(error, WorkerError):
        return {"code": error.code, "message": error.message, "details": error.details}
    if isinstance(error, MemoryError):
        return {"code": "WorkerOutOfMemory", "message": "the job reached its memory limit"}
    if isinstance(error, frames.FrameTooLarge):
        return {"code": "AnswerTooLarge", "message": str(error)}
    frame = traceback.extract_tb(error.__traceback__)[-1:]
    told = f": {error.strerror}" if isinstance(error, OSError) and error.strerror else ""
    place = "".join(f" at {os.path.basename(f.filename)}:{f.lineno}" for f in frame)  # noqa: PTH119  # no path is read
    return {"code": "Internal", "message": f"unexpected {type(error).__name__}{place}{told}"}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
