"""The port that looks like an API server to the engine."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import orjson
import pytest

from fluvial.build.helm.facade import Facade
from fluvial.workers import frames
from fluvial.workers.asking import asking


class Parent:
    """Answers what the facade asks, in a thread, and keeps it."""

    def __init__(self, connection: socket.socket) -> None:
        self.asked: list[str] = []
        self._connection = connection
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while (message := frames.read_blocking(self._connection)) is not None:
            path = message["ask"]["get"]
            self.asked.append(path)
            answer: dict[str, Any] = {"status": 200, "body": {"path": path}, "resources": False}
            frames.write_blocking(
                self._connection, {"answer": {**answer, "resources": path == "/api/v1"}}
            )

    def join(self) -> None:
        self._thread.join()


@pytest.fixture
def parent() -> Iterator[Parent]:
    ours, theirs = socket.socketpair()
    with theirs:
        answers = Parent(theirs)
        with ours, asking(ours):
            yield answers
        answers.join()


@pytest.fixture(scope="module")
def served() -> Iterator[Facade]:
    facade = Facade()
    facade.start(look_for_stop=0.02)
    yield facade
    facade.stop()


@pytest.fixture
def facade(served: Facade) -> Facade:
    served.forget()
    return served


def prefix(facade: Facade) -> str:
    return urlsplit(facade.url).path


def test_the_parent_is_asked_and_resources_are_asked_once(facade: Facade, parent: Parent) -> None:
    for path in ("/api/v1", "/api/v1?timeout=32s", "/api/v1/pods", "/api/v1/pods"):
        status, body = facade.answer(prefix(facade) + path)

        assert (status, orjson.loads(body)) == (200, {"path": path.partition("?")[0]})

    assert parent.asked == ["/api/v1", "/api/v1/pods", "/api/v1/pods"]
    facade.forget()
    facade.answer(f"{prefix(facade)}/api/v1")
    assert parent.asked[3:] == ["/api/v1"]


@pytest.mark.parametrize("path", ["/api/v1", "/", "", "//api/v1", "/x/api/v1"])
def test_strangers_get_nothing(facade: Facade, parent: Parent, path: str) -> None:
    assert facade.answer(path)[0] == 404
    assert parent.asked == []


def test_outside_a_job_there_is_nobody_to_ask(facade: Facade) -> None:
    assert facade.answer(f"{prefix(facade)}/api/v1")[0] == 503


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "HEAD", "CONNECT"])
def test_reading_is_all(facade: Facade, parent: Parent, method: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", facade.port, timeout=10)
    connection.request(method, f"{prefix(facade)}/api/v1/pods")

    answer = connection.getresponse()
    answer.read()
    assert answer.status == 501
    connection.close()
    assert parent.asked == []
