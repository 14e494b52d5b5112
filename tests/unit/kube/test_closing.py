"""Closing a client leaves nothing open, whatever the peer does."""

from __future__ import annotations

import asyncio
import base64
import gc
import socket
import threading
from pathlib import Path
from typing import Self

import orjson
import pytest

from fluvial.kube import config, kinds
from fluvial.kube.client import KubeClient
from fluvial.objects import ObjectKey
from gitservers.certs import TestCA


class SilentServer:
    """Speaks TLS, takes one request, and from then on neither reads nor writes."""

    def __init__(self, folder: Path, ca: TestCA, answer: bytes) -> None:
        self._context = ca.server_context(folder)
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._over = threading.Event()
        self.port: int = self._listener.getsockname()[1]
        self.asked = threading.Event()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        plain, _ = self._listener.accept()
        with self._context.wrap_socket(plain, server_side=True) as peer:
            peer.recv(65536)
            peer.sendall(self._answer)
            self.asked.set()
            self._over.wait(10)


@pytest.mark.parametrize(
    ("verb", "answer"),
    [
        ("get", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"),
        ("watch", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ],
    ids=["get", "watch"],
)
async def test_a_peer_that_says_nothing_keeps_no_connection_open(
    tmp_path: Path, verb: str, answer: bytes
) -> None:
    """A request is abandoned and the client closed: nothing waits for the peer's farewell."""
    ca = TestCA()
    with SilentServer(tmp_path, ca, answer) as server:
        client = await config.load_client(
            kubeconfig=_kubeconfig(tmp_path, ca, server.port), user_agent="test"
        )
        request = asyncio.create_task(_ask(client, verb))
        await asyncio.to_thread(server.asked.wait, 5)
        await asyncio.sleep(0.05)
        assert _connections_to(server.port) == 1
        request.cancel()
        await asyncio.wait([request])
        await client.aclose()

        assert _connections_to(server.port) == 0


async def _ask(client: KubeClient, verb: str) -> None:
    if verb == "get":
        await client.get(kinds.SECRET, ObjectKey("a", "b"))
    async with client.watch(kinds.SECRET) as events:
        async for _ in events:
            pass


def _kubeconfig(folder: Path, ca: TestCA, port: int) -> Path:
    authority = base64.b64encode(ca.pem.encode()).decode()
    cluster = {"server": f"https://127.0.0.1:{port}", "certificate-authority-data": authority}
    text = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
    file = folder / "kubeconfig"
    file.write_bytes(orjson.dumps(text))
    return file


def _connections_to(port: int) -> int:
    """How many sockets of this process are open towards a port."""
    found = [each for each in gc.get_objects() if isinstance(each, socket.socket)]
    return sum(_peer_of(each) == port for each in found if each.fileno() != -1)


def _peer_of(one: socket.socket) -> int:
    try:
        return int(one.getpeername()[1])
    except (OSError, IndexError):
        return 0
