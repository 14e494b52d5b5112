"""SSH and plain HTTP by the gateway: a port in the worker that leads to one host at a time.

libgit2 uses a proxy for https alone. For the rest the worker listens on loopback itself, lets
libgit2 connect there, and passes on to the gateway: SSH by CONNECT, a request of plain HTTP in
absolute form, with the name of the real host. An SSH host key is still judged by that name.
"""

from __future__ import annotations

import base64
import contextlib
import socket
import threading
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

__all__ = ["Relay"]

_LOOPBACK = "127.0.0.1"
_CHUNK = 64 << 10
_MAX_HEAD = 64 << 10


@dataclass(frozen=True, slots=True)
class _Target:
    gateway: str = field(repr=False)
    address: str
    http: bool


class Relay:
    """Listens from the start: a fenced process can open no port any more."""

    def __init__(self) -> None:
        self._listener = socket.create_server((_LOOPBACK, 0))
        self._target: _Target | None = None
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, name="relay", daemon=True).start()

    def aim(self, gateway: str, address: str, *, http: bool) -> None:
        """Let the connections from now on lead to a host.

        Args:
            gateway: URL of a route, password included.
            address: ``host:port``.
            http: what is spoken are requests of plain HTTP.

        """
        self._target = _Target(gateway, address, http)

    def _accept(self) -> None:
        while True:
            near, _ = self._listener.accept()
            target = self._target
            if target is None:
                near.close()
                continue
            threading.Thread(
                target=_serve, args=(near, target), name="relay-connection", daemon=True
            ).start()


def _serve(near: socket.socket, target: _Target) -> None:
    with near, contextlib.suppress(OSError):
        head = _head(near) if target.http else b""
        parts = urlsplit(target.gateway)
        with socket.create_connection((parts.hostname or "", parts.port or 0)) as far:
            user, password = unquote(parts.username or ""), unquote(parts.password or "")
            pair = base64.b64encode(f"{user}:{password}".encode()).decode()
            shown = f"Proxy-Authorization: Basic {pair}\r\n\r\n".encode()
            if target.http:
                far.sendall(_absolute(head, target.address.encode()) + shown)
            else:
                far.sendall(f"CONNECT {target.address} HTTP/1.1\r\n".encode() + shown)
                if not _head(far).startswith(b"HTTP/1.1 200"):
                    return
            upward = threading.Thread(target=_carry, args=(near, far), name="relay-up", daemon=True)
            upward.start()
            _carry(far, near)
            upward.join()


def _head(stream: socket.socket) -> bytes:
    """Read to the end of a head, and not a byte more."""
    head = b""
    while not head.endswith(b"\r\n\r\n") and len(head) < _MAX_HEAD:
        byte = stream.recv(1)
        if not byte:
            raise ConnectionResetError
        head += byte
    return head


def _absolute(head: bytes, address: bytes) -> bytes:
    """A request's head in absolute form, without its last, empty line."""
    first, *headers = head[:-4].split(b"\r\n")
    method, path, version = first.split(b" ")
    kept = [line for line in headers if not line.lower().startswith(b"host:")]
    lines = [b"%s http://%s%s %s" % (method, address, path, version), b"Host: " + address, *kept]
    return b"\r\n".join(lines) + b"\r\n"


def _carry(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(_CHUNK):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
