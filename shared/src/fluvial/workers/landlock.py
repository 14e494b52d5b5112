"""Landlock: a process gives up, for good, all files but those it names (Linux 5.13 and newer).

From Linux 6.7 on it gives up TCP as well: it opens no port, and connects to no others than named.
A job calls ``fence`` once it knows its own folder. What was opened before stays open. Where the
kernel has no Landlock nothing happens, and whoever starts workers should say so in its log.
"""

from __future__ import annotations

import ctypes
import functools
import os
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

__all__ = ["fence", "landlock_version", "paths_of_libraries"]

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG = 1
_RULE_PATH_BENEATH, _RULE_NET_PORT = 1, 2
_PR_SET_NO_NEW_PRIVS = 38

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_FOLDER = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_READ = _READ_FILE | _READ_FOLDER
_FILE_RIGHTS = _EXECUTE | _WRITE_FILE | _READ_FILE | (1 << 14) | (1 << 15)
_ALL_BY_VERSION = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
_NET_BIND, _NET_CONNECT = 1 << 0, 1 << 1
_SCOPE_ALL = 0b11  # abstract sockets and signals of processes outside

_NAME_RESOLUTION = (
    *("/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/host.conf", "/etc/gai.conf"),
    *("/etc/services", "/etc/protocols", "/run/systemd/resolve"),
)
_SYSTEM = ("/usr", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/localtime")
_TRUST = ("/etc/ssl", "/etc/pki", "/etc/ca-certificates")
_DEVICES = ("/dev/null", "/dev/urandom", "/dev/random")


@functools.cache
def landlock_version() -> int:
    """The version of Landlock that the kernel has, 0 where it has none."""
    if sys.platform != "linux":
        return 0
    return max(0, _syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION_FLAG))


def paths_of_libraries() -> tuple[Path, ...]:
    """What a Python process needs to read for imports, name resolution and TLS."""
    interpreter = [sys.prefix, sys.base_prefix, *(entry for entry in sys.path if entry)]
    names = (*interpreter, *_SYSTEM, *_NAME_RESOLUTION, *_TRUST, *_DEVICES)
    return tuple(Path(name) for name in dict.fromkeys(names))


def fence(
    *, read: Iterable[Path], write: Iterable[Path], ports: Iterable[int] | None = None
) -> bool:
    """Give up every file but those below these paths; no way back for this process.

    Args:
        read: may be read; what does not exist is left out.
        write: may be read and changed in every way.
        ports: TCP ports that may be connected to; ``None`` for all of them.

    Returns:
        Whether the kernel did it; ``False`` where it has no Landlock.

    Raises:
        OSError: the kernel has Landlock and refused.

    """
    version = landlock_version()
    if not version:
        return False
    everything = _ALL_BY_VERSION[max(known for known in _ALL_BY_VERSION if known <= version)]
    attributes = struct.pack("=Q", everything)
    if version >= 4:
        net = _NET_BIND if ports is None else _NET_BIND | _NET_CONNECT
        attributes += struct.pack("=Q", net)
    if version >= 6:
        attributes += struct.pack("=Q", _SCOPE_ALL)
    ruleset = _checked(_syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0))
    try:
        for path in read:
            _allow(ruleset, path, _READ)
        for path in write:
            _allow(ruleset, path, everything & ~_EXECUTE)
        for port in ports or () if version >= 4 else ():
            rule = struct.pack("=QQ", _NET_CONNECT, port)
            _checked(_syscall(_ADD_RULE, ruleset, _RULE_NET_PORT, rule, 0))
        libc = ctypes.CDLL(None, use_errno=True)
        _checked(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        _checked(_syscall(_RESTRICT_SELF, ruleset, 0))
    finally:
        os.close(ruleset)
    return True


def _allow(ruleset: int, path: Path, rights: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # not on this system
    try:
        if not path.is_dir():
            rights &= _FILE_RIGHTS
        rule = struct.pack("=Qi", rights, descriptor)
        _checked(_syscall(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, rule, 0))
    finally:
        os.close(descriptor)


def _syscall(number: int, *arguments: object) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    return int(libc.syscall(ctypes.c_long(number), *arguments))


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
