"""The outermost layer of a controller process: command line in, exit code out."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from fluvial.errors import FluvialError
from fluvial.log import get_logger
from fluvial.runtime.flags import FlagError, HelpRequested

__all__ = ["run_program"]

T = TypeVar("T")

# Objects made since the last collection, young collections before a middle one, middle ones before
# a full one. With Python's 700, 10, 10 a burst spends 6 % of its time in collections, and full ones
# hold the event loop for tens of milliseconds.
_COLLECT_AFTER = (10_000, 20, 50)


def run_program(read: Callable[[], T], main: Callable[[T], Coroutine[Any, Any, int]]) -> int:
    """Read options, then run; errors that a person can mend are told in one line.

    Args:
        read: parses flags and sets up logging; raises ``FlagError`` or ``HelpRequested``.
        main: the composition root.

    Returns:
        The exit code: what ``main`` returned, 1 for options that cannot be used, a start that was
        refused and a failed one, 0 after ``--help``.

    """
    try:
        options = read()
    except HelpRequested as request:
        sys.stdout.write(f"{request}\n")
        return 0
    except FlagError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    try:
        with _rare_collections():
            return asyncio.run(main(options))
    except FluvialError as error:
        get_logger("setup").error("controller failed", error=str(error))
        return 1
    except KeyboardInterrupt:
        return 1


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Look for garbage less often, and never in what was there at the start.

    Reference counts free nearly everything here; what collections find are exceptions that are in
    a circle with their frames, a few MiB at most between two collections.
    """
    usual = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECT_AFTER)
    try:
        yield
    finally:
        gc.set_threshold(*usual)
        gc.unfreeze()
