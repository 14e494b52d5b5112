"""The worker's target: one process, one fence, one render at a time.

When this module is imported a loopback port is opened for ``lookup``, the process gives up
everything else (files but those of Python and the library, connections but to that port), and the
library is loaded and checked. What it or Python would print goes nowhere, since it may quote
values. Memory and time are the pool's matter.
"""

from __future__ import annotations

import base64
import os
from typing import Any, Final

from fluvial.build.errors import EngineFailed
from fluvial.build.helm import chart, documents
from fluvial.build.helm.engine import MAX_OUTPUT, Engine
from fluvial.build.helm.errors import RenderError, RenderTooLarge
from fluvial.build.helm.facade import Facade
from fluvial.build.helm.memory import ProcessMemory
from fluvial.kube.capabilities import Capabilities
from fluvial.objects import JsonObject
from fluvial.workers import landlock
from fluvial.workers.errors import WorkerError

__all__ = ["run"]

_OUTPUTS: Final = (1, 2)


def run(method: str, payload: JsonObject) -> JsonObject:
    """The worker's target.

    Args:
        method: ``render``, ``finish``, ``definitions`` or ``describe``.
        payload: see ``fluvial.build.helm.renderer``, which makes it.

    Raises:
        WorkerError: its code is the name of an error in ``fluvial.build.helm.errors``.

    """
    try:
        if method == "finish":
            return {"files": _finish(payload["documents"], payload)}
        if method == "describe":
            return chart.describe(base64.b64decode(payload["archive"]))
        if method == "definitions":
            return _engine.definitions(base64.b64decode(payload["archive"]), payload["values"])
        return _render(payload)
    except RenderError as error:
        raise WorkerError(type(error).__name__, str(error)) from error


def _render(payload: JsonObject) -> JsonObject:
    _facade.forget()
    given = payload["capabilities"]
    result = _engine.render(
        base64.b64decode(payload["archive"]),
        payload["values"],
        options=payload["options"],
        capabilities=Capabilities(
            given["version"], given["major"], given["minor"], tuple(given["api_versions"])
        ),
        validate=payload["validate"],
        version=payload["version"],
        last=payload["last"],
        lookup=payload["lookup"],
    )
    if payload["documents"]:
        result["documents"] = documents.read_files(result.pop("files"))
    elif payload["labels"] or payload["annotations"]:
        result["files"] = _finish(documents.read_files(result["files"]), payload)
    return result


def _finish(found: list[Any], payload: JsonObject) -> dict[str, str]:
    documents.annotate(
        found,
        labels=payload["labels"],
        annotations=payload["annotations"],
        hooks=payload["hooks"],
    )
    files = documents.write_files(found)
    if sum(map(len, files.values())) > MAX_OUTPUT:
        raise RenderTooLarge(f"the templates give more than {MAX_OUTPUT >> 20} MiB of text")
    return files


def _start() -> tuple[Facade, Engine]:
    """Give up everything else, then load the library.

    A fence holds the thread that puts it up and those that it starts; Go starts its own as soon as
    it is loaded.
    """
    memory = ProcessMemory()
    facade = Facade()
    silence = os.open(os.devnull, os.O_WRONLY)
    landlock.fence(read=landlock.paths_of_libraries(), write=(), ports=(facade.port,))
    try:
        engine = Engine(facade.url, memory)
    except EngineFailed as error:
        raise WorkerError("EngineFailed", str(error)) from error
    memory.close()
    facade.start()
    for output in _OUTPUTS:
        os.dup2(silence, output)
    os.close(silence)
    return facade, engine


_facade, _engine = _start()
