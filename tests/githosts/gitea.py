"""A real Gitea as a process of a test: the sender of webhooks, and what shows statuses."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from githosts.build import need_gitea

__all__ = ["USER", "Gitea"]

USER = "robot"
_START_SECONDS = 60.0
_TRIES = 3  # its port is chosen beforehand, and somebody else may take it
_CONFIG = """\
APP_NAME = test
RUN_MODE = prod
RUN_USER = {user}
WORK_PATH = {folder}
I_AM_BEING_UNSAFE_RUNNING_AS_ROOT = true
[server]
HTTP_ADDR = 127.0.0.1
HTTP_PORT = {port}
ROOT_URL = http://127.0.0.1:{port}/
DISABLE_SSH = true
OFFLINE_MODE = true
LFS_START_SERVER = false
STATIC_ROOT_PATH = {program}
[database]
DB_TYPE = sqlite3
PATH = {folder}/gitea.db
SQLITE_JOURNAL_MODE = MEMORY
[repository]
DEFAULT_BRANCH = main
[security]
INSTALL_LOCK = true
SECRET_KEY = {key}
INTERNAL_TOKEN = {token}
PASSWORD_HASH_ALGO = pbkdf2_v1
[webhook]
ALLOWED_HOST_LIST = loopback
[queue]
TYPE = channel
[log]
MODE = console
LEVEL = warn
[session]
PROVIDER = memory
[cron]
ENABLED = false
[actions]
ENABLED = false
[packages]
ENABLED = false
[oauth2]
ENABLED = false
"""


class Gitea:
    """One that runs.

    Attributes:
        url: of the server.
        token: of ``USER``, who may do everything.

    """

    def __init__(self, url: str, token: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self.token = token
        self._session = session

    @classmethod
    @asynccontextmanager
    async def start(cls, folder: Path) -> AsyncIterator[Gitea]:
        """Start one with its data in a new folder.

        Args:
            folder: is made.

        """
        program = need_gitea()
        folder.mkdir()
        config = folder / "app.ini"
        key, internal = secrets.token_hex(32), secrets.token_hex(32)

        def write(port: int) -> None:
            text = {"user": pwd.getpwuid(os.getuid()).pw_name, "folder": folder, "program": program}
            config.write_text(_CONFIG.format(**text, port=port, key=key, token=internal))

        write(1)
        await _run(program, config, "migrate")
        made = await _run(
            program,
            config,
            *("admin", "user", "create", "--username", USER, "--email", "robot@example.com"),
            *("--random-password", "--must-change-password=false", "--admin"),
            *("--access-token", "--access-token-scopes", "all"),
        )
        token = made.split()[-1]
        for attempt in range(_TRIES):
            port = _free_port()
            write(port)
            url = f"http://127.0.0.1:{port}"
            async with (
                _serving(program, config, folder / f"log-{attempt}") as process,
                aiohttp.ClientSession(headers={"Authorization": f"token {token}"}) as session,
            ):
                found = cls(url, token, session)
                if await found._answers(process):
                    yield found
                    return
        raise AssertionError(f"Gitea does not start: see {folder}")

    async def api(self, method: str, path: str, document: Any = None, *, status: int = 200) -> Any:
        """Ask the API below ``/api/v1`` as ``USER``; the answer must have the status."""
        async with self._session.request(
            method, f"{self.url}/api/v1{path}", json=document
        ) as answer:
            said = await answer.text()
            assert answer.status == status, f"{method} {path}: {answer.status} {said}"
            return await answer.json() if said else None

    def remote(self, repository: str) -> str:
        """From where ``USER`` clones a repository, with the token in it."""
        host = self.url.removeprefix("http://")
        return f"http://{USER}:{self.token}@{host}/{repository}.git"

    async def _answers(self, process: asyncio.subprocess.Process) -> bool:
        async with asyncio.timeout(_START_SECONDS):
            while process.returncode is None:
                with contextlib.suppress(aiohttp.ClientError):
                    async with self._session.get(f"{self.url}/api/v1/user") as answer:
                        # Whoever else may listen there does not know the token.
                        return answer.status == 200 and (await answer.json())["login"] == USER
                await asyncio.sleep(0.05)
        return False


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def _environment(config: Path) -> dict[str, str]:
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(config.parent),
        "LANG": "C.UTF-8",
        "GIT_CONFIG_NOSYSTEM": "1",
    }


async def _run(program: Path, config: Path, *arguments: str) -> str:
    """One of its commands to its end."""
    process = await asyncio.create_subprocess_exec(
        *(str(program / "gitea"), "--config", str(config), *arguments),
        cwd=config.parent,
        env=_environment(config),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode(errors="replace")[-2000:]
    return said.decode()


@asynccontextmanager
async def _serving(
    program: Path, config: Path, log: Path
) -> AsyncIterator[asyncio.subprocess.Process]:
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *(str(program / "gitea"), "--config", str(config), "web"),
            cwd=config.parent,
            env=_environment(config),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()  # it has nothing to lose
            await process.wait()
