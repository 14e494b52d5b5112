"""Runs as a process of its own: fences itself in, then becomes another program.

    python -I -S launcher.py ROOT MEMORY LANDLOCK PROGRAM [ARGUMENT ...]

After the fence the process can read below ROOT and execute PROGRAM; nothing else of the file
system, no TCP, no new privileges, ever. It dies with its parent. Imports are few and nothing of
this project's, because every build pays for them. Exit code 97 says that the fence failed.
"""

from __future__ import annotations

import ctypes
import os
import resource
import sys

__all__ = ["FENCE_FAILED", "main"]

FENCE_FAILED = 97

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_RULE_PATH_BENEATH = 1
_EXECUTE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 2, 1 << 3
# How many file system rights each version of Landlock knows, from version 1 on.
_FILE_RIGHTS = (13, 14, 15, 15, 16)
_TCP_SINCE, _TCP_BIND_AND_CONNECT = 4, 0b11
_SCOPES_SINCE, _SOCKETS_AND_SIGNALS = 6, 0b11
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_SIGKILL = 9


class _Ruleset(ctypes.Structure):
    _fields_ = (
        ("handled_access_fs", ctypes.c_uint64),
        ("handled_access_net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def main(arguments: list[str]) -> None:
    """Fence in and execute; returns only by an exception."""
    root, memory, landlock, program = arguments[:4]
    libc = ctypes.CDLL(None, use_errno=True)
    _call(libc.prctl, _PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0)
    _call(libc.prctl, _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (int(memory), int(memory)))
    if int(landlock):
        _fence(libc, root, program, int(landlock))
    os.execve(program, [program, *arguments[4:]], dict(os.environ))  # noqa: S606 - on purpose


def _fence(libc: ctypes.CDLL, root: str, program: str, version: int) -> None:
    rules = _Ruleset(
        handled_access_fs=(1 << _FILE_RIGHTS[min(version, len(_FILE_RIGHTS)) - 1]) - 1,
        handled_access_net=_TCP_BIND_AND_CONNECT if version >= _TCP_SINCE else 0,
        scoped=_SOCKETS_AND_SIGNALS if version >= _SCOPES_SINCE else 0,
    )
    # An older kernel refuses a structure that is longer than what it knows.
    size = 24 if version >= _SCOPES_SINCE else 16 if version >= _TCP_SINCE else 8
    ruleset = _call(libc.syscall, _CREATE_RULESET, ctypes.byref(rules), ctypes.c_size_t(size), 0)
    _allow(libc, ruleset, root, _READ_FILE | _READ_DIR)
    _allow(libc, ruleset, program, _READ_FILE | _EXECUTE)
    _call(libc.syscall, _RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)


def _allow(libc: ctypes.CDLL, ruleset: int, path: str, access: int) -> None:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    rule = _PathBeneath(access, descriptor)
    _call(libc.syscall, _ADD_RULE, ruleset, _RULE_PATH_BENEATH, ctypes.byref(rule), 0)
    os.close(descriptor)


def _call(function: ctypes._NamedFuncPointer, *arguments: object) -> int:
    result = int(function(*arguments))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except Exception as error:  # noqa: BLE001 - whatever it is, nothing may run unfenced
        sys.stderr.write(f"the build could not be fenced in: {error}\n")
        sys.exit(FENCE_FAILED)
