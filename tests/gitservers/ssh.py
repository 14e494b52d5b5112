"""Git over SSH: OpenSSH's server on loopback, with keys of its own, as this user."""

from __future__ import annotations

import asyncio
import getpass
import os
import shutil
import socket
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = ["GitSshServer", "make_key", "sshd_path"]

_START_SECONDS = 20.0


def sshd_path() -> str:
    """Path of ``sshd``, or ``""`` where it is not installed."""
    return shutil.which("sshd", path=f"{os.defpath}:/usr/sbin:/usr/local/sbin") or ""


def make_key(path: Path, *, kind: str = "ed25519", password: str = "") -> tuple[str, str]:
    """Make a key pair; answers the private and the public key."""
    bits = ["-b", "2048"] if kind == "rsa" else []  # fast to make, and enough here
    subprocess.run(
        ["ssh-keygen", "-q", "-t", kind, *bits, "-N", password, "-C", "test", "-f", str(path)],
        check=True,
        stdin=subprocess.DEVNULL,
        capture_output=True,
    )
    return path.read_text(), path.with_name(path.name + ".pub").read_text().strip()


class GitSshServer:
    """Serves the file system's repositories at ``<url><absolute path>``.

    Args:
        folder: for keys and configuration; must be new.
        host_key_kinds: which kinds of host key it has.

    """

    def __init__(self, folder: Path, *, host_key_kinds: tuple[str, ...] = ("ed25519",)) -> None:
        self.folder = folder
        self.user = getpass.getuser()
        self.port = 0
        self.host_keys: dict[str, str] = {}
        self._kinds = host_key_kinds
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        """``ssh://user@127.0.0.1:port``; append a repository's absolute path."""
        return f"ssh://{self.user}@127.0.0.1:{self.port}"

    def known_hosts(self, *kinds: str) -> str:
        """Lines for the host keys of these kinds, all by default."""
        chosen = kinds or tuple(self.host_keys)
        return "".join(f"[127.0.0.1]:{self.port} {self.host_keys[kind]}\n" for kind in chosen)

    def authorize(self, public_key: str) -> None:
        """Let a key in."""
        with (self.folder / "authorized_keys").open("a") as keys:
            keys.write(public_key + "\n")

    async def __aenter__(self) -> Self:
        self.folder.mkdir(parents=True)
        for kind in self._kinds:
            _, public = make_key(self.folder / f"host_{kind}", kind=kind)
            self.host_keys[kind] = " ".join(public.split()[:2])
        (self.folder / "authorized_keys").touch(mode=0o600)
        if os.geteuid() == 0:
            os.makedirs("/run/sshd", mode=0o755, exist_ok=True)  # noqa: PTH103  # sshd insists
        await self._start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            await self._process.wait()

    async def _start(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        config = self.folder / "sshd_config"
        config.write_text(self._config())
        with (self.folder / "log").open("w") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sshd_path(), "-D", "-e", "-f", str(config)),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
        async with asyncio.timeout(_START_SECONDS):
            while not await self._answers():
                if self._process.returncode is not None:
                    raise RuntimeError((self.folder / "log").read_text())
                await asyncio.sleep(0.02)

    async def _answers(self) -> bool:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        banner = await reader.readline()
        writer.close()
        await writer.wait_closed()
        return banner.startswith(b"SSH-")

    def _config(self) -> str:
        keys = "".join(f"HostKey {self.folder}/host_{kind}\n" for kind in self._kinds)
        return (
            f"ListenAddress 127.0.0.1:{self.port}\n{keys}"
            f"AuthorizedKeysFile {self.folder}/authorized_keys\n"
            f"PidFile {self.folder}/pid\n"
            "PasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM no\n"
            "StrictModes no\nPermitRootLogin prohibit-password\nPrintMotd no\nMaxStartups 100\n"
        )
