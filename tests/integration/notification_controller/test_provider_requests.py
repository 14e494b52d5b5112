"""Requests over a socket: paths arrive as they were composed, answers are read to their end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial

import pytest
from aiohttp import web
from yarl import URL

from harness.outbound import loopback_dialer
from harness.talks import COMMIT, about
from notification_controller.provider.outgoing import Exchange, Outgoing, Reply, SendFailed
from notification_controller.provider.sender import Sender, Way
from notification_controller.provider.settings import Settings
from notification_controller.provider.types import tell


class Server:
    """Answers every request by an empty list, or as it is told."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answers: list[web.Response] = []
        self.url = URL()
        self._runner: web.ServerRunner

    async def start(self) -> None:
        self._runner = web.ServerRunner(web.Server(self._serve))
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = URL.build(scheme="http", host="127.0.0.1", port=self._runner.addresses[0][1])

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def _serve(self, request: web.BaseRequest) -> web.Response:
        self.asked.append(f"{request.method} {request.raw_path}")
        return self.answers.pop(0) if self.answers else web.json_response([])


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    found = Server()
    await found.start()
    yield found
    await found.stop()


async def send(server: Server, request: Outgoing) -> Reply:
    found: list[Reply] = []

    async def talk(exchange: Exchange) -> None:
        found.append(await exchange(request))

    await Sender(loopback_dialer()).send(talk, Way(), timeout=10.0, secrets=("s3cr3t",))
    return found[0]


async def test_what_is_not_there_is_an_answer_only_where_it_is_asked_for(server: Server) -> None:
    request = Outgoing("GET", server.url / "x", b"")
    for absent in (False, True):
        server.answers = [web.Response(status=404, text="no s3cr3t")]
        if absent:
            assert (await send(server, replace(request, absent=True))).status == 404
        else:
            with pytest.raises(SendFailed, match=r"404: no \*\*\*"):
                await send(server, request)


async def test_a_long_answer_is_read_as_far_as_there_is_room(server: Server) -> None:
    server.answers = [web.Response(body=b"x" * 3_000_000) for _ in range(2)]
    request = Outgoing("GET", server.url, b"")

    assert len((await send(server, request)).body) == 64 << 10
    assert len((await send(server, replace(request, room=2 << 20))).body) == 2 << 20


@pytest.mark.parametrize(
    ("type_", "path", "asked"),
    [
        (
            "gitlab",
            "group/sub/app",
            [
                (
                    f"GET /api/v4/projects/group%2Fsub%2Fapp/repository/commits/{COMMIT}/statuses"
                    "?name=kustomization/shop/0c9c2e41&per_page=50&sort=desc"
                ),
                f"POST /api/v4/projects/group%2Fsub%2Fapp/statuses/{COMMIT}",
            ],
        ),
        (
            "azuredevops",
            "org/My%20Project/_git/app",
            [
                (
                    f"GET /org/My%20Project/_apis/git/repositories/app/commits/{COMMIT}/statuses"
                    "?api-version=6.0&top=50&latestOnly=true"
                ),
                (
                    f"POST /org/My%20Project/_apis/git/repositories/app/commits/{COMMIT}/statuses"
                    "?api-version=6.0"
                ),
            ],
        ),
    ],
)
async def test_paths_as_they_arrive(
    server: Server, type_: str, path: str, asked: list[str]
) -> None:
    to = Settings(type=type_, address=f"{server.url}/{path}", token="s3cr3t")
    talk = partial(tell, about(), to)
    await Sender(loopback_dialer()).send(talk, Way(), timeout=10.0)

    assert server.asked == asked
