"""A client that costs little: prepared requests over TLS sockets, one loop of ``select``.

It exists so that the server is what is measured. Each connection has one request under way; an
answer is read as far as its status and length, and its body is kept only where somebody asks.
"""

from __future__ import annotations

import selectors
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson

from bench.devcluster.process import Server

__all__ = ["Client", "Connection", "Sent", "WatchCounter", "drive", "watch_all"]

_CHUNK = 2**18
_DEADLINE = 300.0


class Connection:
    """One TLS connection; blocking until ``drive`` or ``watch_all`` takes it over."""

    def __init__(self, server: Server) -> None:
        context = ssl.create_default_context(cadata=server.ca_pem)
        plain = socket.create_connection((server.host, server.port), timeout=30)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = context.wrap_socket(plain, server_hostname=server.host)
        self._rest = bytearray()

    def close(self) -> None:
        self.socket.close()

    def receive(self) -> tuple[int, bytes] | None:
        """Take in what has arrived; an answer once it is whole: (status, body)."""
        rest = self._rest
        while True:
            try:
                data = self.socket.recv(_CHUNK)
            except ssl.SSLWantReadError:
                return None
            if not data:
                raise ConnectionError("the server closed the connection")
            rest += data
            at = rest.find(b"\r\n\r\n")
            if at < 0:
                continue
            head = bytes(rest[:at])
            end = at + 4 + _length(head)
            if len(rest) >= end:
                body = bytes(rest[at + 4 : end])
                del rest[:end]
                return int(head[9:12]), body


def _length(head: bytes) -> int:
    _, _, after = head.lower().partition(b"\r\ncontent-length:")
    if not after:
        raise ConnectionError(f"an answer without a length: {head!r}")
    return int(after.partition(b"\r\n")[0])


class Client:
    """Makes requests as bytes, and sends single ones."""

    def __init__(self, server: Server, token: str = "") -> None:
        self._server = server
        self._token = token or server.token
        self._own: Connection | None = None

    def request(
        self, method: str, path: str, body: Any = None, *, content_type: str = "application/json"
    ) -> bytes:
        """The bytes of a request; ``body`` is JSON data."""
        data = b"" if body is None else orjson.dumps(body)
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: {self._server.host}:{self._server.port}\r\n"
            f"Authorization: Bearer {self._token}\r\nAccept: application/json\r\n"
            f"User-Agent: bench/1\r\nContent-Type: {content_type}\r\n"
            f"Content-Length: {len(data)}\r\n\r\n"
        )
        return head.encode() + data

    def apply(self, path: str, obj: Any) -> bytes:
        """The bytes of a server-side apply."""
        where = f"{path}?fieldManager=bench&force=true"
        return self.request("PATCH", where, obj, content_type="application/apply-patch+yaml")

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """One request that must succeed; its decoded answer.

        Raises:
            OSError: it was refused.

        """
        return orjson.loads(self.send(self.request(method, path, body)))

    def send(self, request: bytes) -> bytes:
        """Send a prepared request; the body of its answer. Raises OSError when refused."""
        if self._own is None:
            self._own = Connection(self._server)
        self._own.socket.sendall(request)
        answer = None
        while answer is None:
            answer = self._own.receive()
        status, body = answer
        if status >= 300:
            raise OSError(f"{request.partition(bytes([13]))[0]!r}: {status} {body[:500]!r}")
        return body

    def close(self) -> None:
        if self._own is not None:
            self._own.close()


@dataclass(slots=True)
class Sent:
    """What came of many requests.

    Attributes:
        seconds: wall time from the first request to the last answer.
        latencies: seconds of each.
        cpu: CPU seconds of this process meanwhile.
        received: bytes of all answers.

    """

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    cpu: float = 0.0
    received: int = 0


def drive(server: Server, requests: Iterable[bytes], *, connections: int) -> Sent:
    """Send all requests, ``connections`` at a time, each connection one after the other.

    Raises:
        OSError: a request was refused, or all took longer than five minutes.

    """
    sent, pending = Sent(), iter(requests)
    open_ones = [Connection(server) for _ in range(connections)]
    try:
        cpu, began = time.process_time(), time.perf_counter()
        with selectors.DefaultSelector() as selector:
            _drive(selector, open_ones, pending, sent)
        sent.seconds = time.perf_counter() - began
        sent.cpu = time.process_time() - cpu
    finally:
        for connection in open_ones:
            connection.close()
    return sent


def _drive(
    selector: selectors.BaseSelector,
    connections: list[Connection],
    pending: Iterator[bytes],
    sent: Sent,
) -> None:
    since: dict[Connection, float] = {}
    for connection in connections:
        request = next(pending, None)
        if request is None:
            break
        connection.socket.sendall(request)
        since[connection] = time.perf_counter()
        connection.socket.setblocking(False)
        selector.register(connection.socket, selectors.EVENT_READ, connection)
    end = time.perf_counter() + _DEADLINE
    while since:
        if time.perf_counter() > end:
            raise OSError("the requests took longer than five minutes")
        for key, _ in selector.select(5):
            connection = key.data
            answer = connection.receive()
            if answer is None:
                continue
            status, body = answer
            if status >= 300:
                raise OSError(f"{status} {body[:500]!r}")
            now = time.perf_counter()
            sent.latencies.append(now - since.pop(connection))
            sent.received += len(body)
            request = next(pending, None)
            if request is None:
                selector.unregister(connection.socket)
                continue
            _send(connection.socket, request)
            since[connection] = now


def _send(to: ssl.SSLSocket, request: bytes) -> None:
    """All of it; a request is smaller than the socket's buffer, so this hardly ever waits."""
    while True:
        try:
            to.sendall(request)
        except ssl.SSLWantWriteError:
            time.sleep(0.0001)
        else:
            return


class WatchCounter:
    """Counts the events of one watch stream, and notes when each batch came."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.events = 0
        self.received = 0
        self._open_end = False
        self._headers = True

    def receive(self) -> None:
        """Take in what has arrived. An event is a line of JSON: it ends in ``}`` and a newline."""
        while True:
            try:
                data = self.connection.socket.recv(_CHUNK)
            except ssl.SSLWantReadError:
                return
            if not data:
                raise ConnectionError("the server ended the watch")
            if self._headers:
                if not data.startswith(b"HTTP/1.1 200"):
                    raise OSError(f"the watch was refused: {data[:500]!r}")
                self._headers = False
            self.received += len(data)
            self.events += data.count(b"}\n")
            if self._open_end and data.startswith(b"\n"):
                self.events += 1
            self._open_end = data.endswith(b"}")


def watch_all(
    watches: list[WatchCounter], *, events: int, trigger: Callable[[], None] | None = None
) -> Sent:
    """Read all watches until each has ``events``; call ``trigger`` first.

    Raises:
        OSError: it took longer than five minutes, or a watch ended.

    """
    sent = Sent()
    cpu, began = time.process_time(), time.perf_counter()
    with selectors.DefaultSelector() as selector:
        for watch in watches:
            watch.connection.socket.setblocking(False)
            selector.register(watch.connection.socket, selectors.EVENT_READ, watch)
        if trigger is not None:
            trigger()
        left = len(watches)
        while left:
            if time.perf_counter() - began > _DEADLINE:
                raise OSError(f"{left} watches did not get {events} events in five minutes")
            for key, _ in selector.select(5):
                watch = key.data
                watch.receive()
                if watch.events >= events:
                    selector.unregister(watch.connection.socket)
                    left -= 1
    sent.seconds = time.perf_counter() - began
    sent.cpu = time.process_time() - cpu
    sent.received = sum(watch.received for watch in watches)
    return sent
