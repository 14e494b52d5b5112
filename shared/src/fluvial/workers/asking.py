"""Questions that a job asks of its parent while it runs.

The connection carries nothing else in that time: the parent has sent the job and waits for its
answer, so a question and its answer can go between. One question at a time, whichever thread of
the job asks it; outside a job, and where the caller of the job answers none, asking is an error.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

from fluvial.objects import JsonObject
from fluvial.workers import frames
from fluvial.workers.errors import WorkerError

__all__ = ["QUESTION", "ask", "asking"]

QUESTION = "ask"
"""The field by which a frame is a question."""

_lock = threading.Lock()
_connections: list[socket.socket] = []


@contextlib.contextmanager
def asking(connection: socket.socket) -> Iterator[None]:
    """Let the job that runs inside ask over ``connection``; afterwards none can any more."""
    with _lock:
        _connections.append(connection)
    try:
        yield
    finally:
        with _lock:
            _connections.clear()


def ask(question: JsonObject) -> JsonObject:
    """Ask the parent and wait; call it in the child, from any thread of the job.

    Args:
        question: JSON, for the caller of ``WorkerPool.call``.

    Raises:
        WorkerError: no job runs (``NotAsked``), or the caller answers nothing (``NoAnswer``).

    """
    with _lock:
        if not _connections:
            raise WorkerError("NotAsked", "no job runs that could ask")
        connection = _connections[0]
        frames.write_blocking(connection, {QUESTION: question})
        message = frames.read_blocking(connection)
    answer = None if message is None else message.get("answer")
    if answer is None:
        raise WorkerError("NoAnswer", "the caller of the job answers no questions")
    result: JsonObject = answer
    return result
