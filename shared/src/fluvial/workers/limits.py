"""What a worker asks of the kernel for itself, before it runs anything."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys

__all__ = ["FILE_MAPPINGS", "deny_tracing", "die_with_parent", "limit_resources"]

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4

FILE_MAPPINGS = 1 << 30
"""Bytes of address space for libraries and mapped files, beside a process' own memory."""


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent ends (Linux; elsewhere EOF must do).

    Args:
        parent: process id that is expected as the parent; if it has gone already, exit now.

    """
    if sys.platform != "linux":
        return
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def deny_tracing() -> None:
    """Close this process' memory and environment to others of the same user, its workers too."""
    if sys.platform == "linux":
        _prctl(_PR_SET_DUMPABLE, 0)


def limit_resources(
    *, memory_bytes: int, file_bytes: int = 0, mapping_bytes: int = FILE_MAPPINGS
) -> None:
    """Cap memory and file size for good; no core dumps, which would hold secrets.

    Args:
        memory_bytes: private writable memory (``RLIMIT_DATA``). 0 sets no cap.
        mapping_bytes: address space beside it, for libraries, mapped files, and what a Go library
            reserves without using it.
        file_bytes: largest file that can be written. 0 sets no cap.

    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if memory_bytes:
        space = memory_bytes + mapping_bytes
        resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
        resource.setrlimit(resource.RLIMIT_AS, (space, space))
    if file_bytes:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
