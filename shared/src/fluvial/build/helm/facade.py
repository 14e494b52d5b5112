"""A loopback port that looks like an API server to the engine, for templates' ``lookup``.

It serves GET of one group version's resources, of one object and of a list, and nothing else; the
parent answers, over the worker's own connection. The port is opened before the process is fenced,
and the engine is the only one that may connect to it from within. Others on this machine do not
know the random first part of its paths.
"""

from __future__ import annotations

import secrets
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

import orjson

from fluvial.objects import JsonObject
from fluvial.workers.asking import ask
from fluvial.workers.errors import WorkerError

__all__ = ["Facade"]

_LOOPBACK: Final = "127.0.0.1"
_NOT_HERE: Final[JsonObject] = {"kind": "Status", "status": "Failure", "code": 404}
_GONE: Final[JsonObject] = {"kind": "Status", "status": "Failure", "code": 503}


class Facade:
    """Listens from the start: a fenced process can open no port any more.

    Attributes:
        port: on loopback.
        url: what the engine is told to be the API server.

    """

    def __init__(self) -> None:
        self._prefix = f"/{secrets.token_urlsafe(24)}"
        self._resources: dict[str, tuple[int, bytes]] = {}
        facade = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # it would hold back every body for 40 ms

            def do_GET(self) -> None:
                status, body = facade.answer(self.path)
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Nothing that a template says is logged."""

        self._server = ThreadingHTTPServer((_LOOPBACK, 0), Handler)
        self._server.daemon_threads = True
        self.port: int = self._server.server_port
        self.url = f"http://{_LOOPBACK}:{self.port}{self._prefix}"

    def start(self, *, look_for_stop: float = 3600.0) -> None:
        """Serve, in threads.

        Args:
            look_for_stop: seconds between looks for ``stop``; an idle worker is not to wake up.

        """
        threading.Thread(
            target=self._server.serve_forever, args=(look_for_stop,), name="facade", daemon=True
        ).start()

    def stop(self) -> None:
        """Serve no more; a worker never does this, it is killed."""
        self._server.shutdown()
        self._server.server_close()

    def forget(self) -> None:
        """Forget what kinds the last job's cluster serves."""
        self._resources = {}

    def answer(self, target: str) -> tuple[int, bytes]:
        """HTTP status and body for a path that somebody asks for."""
        path = target.partition("?")[0]
        if not path.startswith(f"{self._prefix}/"):
            return 404, orjson.dumps(_NOT_HERE)
        path = path.removeprefix(self._prefix)
        known = self._resources.get(path)
        if known is not None:
            return known
        try:
            said = ask({"get": path})
        except WorkerError:
            return 503, orjson.dumps(_GONE)
        answer = int(said["status"]), orjson.dumps(said["body"])
        if said["resources"]:
            self._resources[path] = answer
        return answer
