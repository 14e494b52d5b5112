"""Whom the git process's own port serves, and that it goes on listening."""

from __future__ import annotations

import errno
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from source_controller.git.relay import Destination, Relay

STRANGER = """
import socket, sys
with socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=5) as other:
    other.sendall(b"GET / HTTP/1.1\\r\\n\\r\\n")
    print(other.recv(100))
"""


@contextmanager
def _gateway() -> Iterator[tuple[str, list[bytes]]]:
    """Answers like a gateway and like the host behind it, and notes what it is asked."""
    heads: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            with near:
                heads.append(near.recv(4096))
                near.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                near.recv(4096)
                near.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")

    thread = threading.Thread(target=serve, name="gateway")
    thread.start()
    try:
        yield f"http://user:pw@127.0.0.1:{listener.getsockname()[1]}", heads
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def _ask(relay: Relay) -> bytes:
    with socket.create_connection(("127.0.0.1", relay.port), timeout=5) as near:
        near.sendall(b"GET / HTTP/1.1\r\n\r\n")
        return near.recv(100)


def test_the_process_itself_is_served_and_another_one_is_not() -> None:
    """Both are on this machine; the way out and the client certificate are one tenant's."""
    relay = Relay()
    with _gateway() as (url, heads):
        relay.aim(Destination("http", "git.example", 80, url, timeout=5))
        other = subprocess.run(
            [sys.executable, "-c", STRANGER, str(relay.port)],
            capture_output=True,
            check=False,
            timeout=20,
        )

        assert b"200 OK" not in other.stdout
        assert heads == []
        assert b"200 OK" in _ask(relay)

    assert heads[0].startswith(b"CONNECT git.example:80 ")


def test_a_failure_to_accept_does_not_end_it(monkeypatch: pytest.MonkeyPatch) -> None:
    relay = Relay()
    accept, failed = socket.socket.accept, threading.Event()

    def broken(self: socket.socket) -> tuple[socket.socket, object]:
        if self is relay._listener and not failed.is_set():
            failed.set()
            raise OSError(errno.EMFILE, "too many open files")
        return accept(self)

    with _gateway() as (url, _):
        relay.aim(Destination("http", "git.example", 80, url, timeout=5))
        monkeypatch.setattr(socket.socket, "accept", broken)
        assert b"200 OK" in _ask(relay)  # the call that was waiting already
        assert b"200 OK" in _ask(relay)

    assert failed.is_set()
