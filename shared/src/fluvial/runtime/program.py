"""The outermost layer of a controller process: command line in, exit code out."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from fluvial.errors import FluvialError
from fluvial.log import get_logger
from fluvial.runtime.flags import FlagError, HelpRequested

__all__ = ["run_program"]

T = TypeVar("T")


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
        return asyncio.run(main(options))
    except FluvialError as error:
        get_logger("setup").error("controller failed", error=str(error))
        return 1
    except KeyboardInterrupt:
        return 1
