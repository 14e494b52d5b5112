"""Run one control plane on loopback for as long as a context lasts.

``ControlPlane`` starts etcd, kube-apiserver and kube-controller-manager in this order, each when
the one before it answers, and stops them in the reverse order. All data is in a temporary folder.
Tests of faults can halt and launch each program, or restart all of them with or without data.
A program that dies while starting is reported with the tail of its log; a port that another
process took in the meantime costs a second attempt.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import shutil
import socket
import ssl
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from controlplane.build import Binaries, find_binaries
from controlplane.certs import KeyPair
from controlplane.process import Child, ChildDied
from controlplane.programs import (
    Files,
    Ports,
    apiserver_command,
    etcd_command,
    manager_command,
    write_files,
)

__all__ = ["ControlPlane", "StartFailed", "remove_leftovers"]

_START_SECONDS = 60.0
_POLL_SECONDS = 0.05
_GRACE_SECONDS = 5.0
_ATTEMPTS = 3
_PREFIX = "fluvial-control-plane-"
_PORT_TAKEN = "address already in use"
_COMPACTED = "compact_rev_key"


class StartFailed(Exception):
    """The control plane did not become ready; the message has the logs' tails."""


class ControlPlane:
    """A real API server with its store and controllers; ``async with`` starts and stops it.

    Args:
        binaries: the programs; found as ``controlplane.build`` says when omitted.
        audit_log: where each request is logged (JSON lines, Metadata level, with
            ``impersonatedUser``); a file in the temporary folder when omitted.
        members: of etcd.

    """

    def __init__(
        self,
        *,
        binaries: Binaries | None = None,
        audit_log: Path | None = None,
        members: int = 1,
    ) -> None:
        self._binaries = find_binaries() if binaries is None else binaries
        self._wanted_audit_log = audit_log
        self._members = members
        self._children: dict[str, Child] = {}
        self._files: Files | None = None
        self._ports = Ports((), (), 0)

    @property
    def version(self) -> str:
        """As in ``v1.37.2``."""
        return self._binaries.version

    @property
    def url(self) -> str:
        """``https://127.0.0.1:PORT``."""
        return f"https://127.0.0.1:{self._ports.apiserver}"

    @property
    def ca_pem(self) -> bytes:
        """The authority that signed the serving certificate."""
        return self._started().ca_pem

    @property
    def admin_token(self) -> str:
        """A bearer token of user ``kubernetes-admin`` in group ``system:masters``."""
        return self._started().admin_token

    @property
    def admin_certificate(self) -> KeyPair:
        """The same user's client certificate."""
        return self._started().admin

    @property
    def audit_log(self) -> Path:
        """The audit log's file."""
        return self._started().audit_log

    def kubeconfig(self, *, user: str = "admin", token: str = "") -> dict[str, Any]:
        """A kubeconfig as data; for ``admin`` complete, for other users with their ``token``."""
        if user != "admin" and not token:
            raise ValueError(f"user {user} needs a token")
        cluster = {
            "server": self.url,
            "certificate-authority-data": base64.b64encode(self.ca_pem).decode(),
        }
        context = {"cluster": "control-plane", "user": user, "namespace": "default"}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "control-plane", "cluster": cluster}],
            "users": [{"name": user, "user": {"token": token or self.admin_token}}],
            "contexts": [{"name": "control-plane", "context": context}],
            "current-context": "control-plane",
        }

    def ssl_context(self) -> ssl.SSLContext:
        """A client's TLS settings that trust this control plane alone."""
        return ssl.create_default_context(cadata=self.ca_pem.decode())

    async def __aenter__(self) -> Self:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                await self._start()
            except BaseException as error:
                tails = self._tails()
                await self._stop()
                if isinstance(error, ChildDied | TimeoutError):
                    if _PORT_TAKEN in tails and attempt < _ATTEMPTS:
                        continue
                    raise StartFailed(
                        f"the control plane did not start: {error}\n{tails}"
                    ) from error
                raise
            break
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stop()

    def check(self) -> None:
        """Do nothing while all three programs run.

        Raises:
            ChildDied: one ended; the message has the tail of its log.

        """
        for child in self._children.values():
            child.check()

    async def compact(self) -> None:
        """Let etcd forget all history, and the API server know, as it does itself in 5 minutes.

        Lists of the past and pages begun before get 410.

        Raises:
            RuntimeError: the control plane does not run, or etcd refused.

        """
        self._started()
        async with aiohttp.ClientSession() as session:
            head = await self._ask_etcd(session, "range", {"key": _b64(_COMPACTED)})
            revision = head["header"]["revision"]
            # The key by which API servers tell each other how far history reaches.
            note = {"key": _b64(_COMPACTED), "value": _b64(revision)}
            await self._ask_etcd(session, "put", note)
            whole = {"revision": revision, "physical": True}
            await self._ask_etcd(session, "compaction", whole)

    async def _ask_etcd(
        self, session: aiohttp.ClientSession, verb: str, body: dict[str, Any]
    ) -> dict[str, Any]:
        async with session.post(f"{self._ports.etcd_urls[0]}/v3/kv/{verb}", json=body) as answer:
            if answer.status != 200:
                raise RuntimeError(f"etcd refused {verb}: {await answer.text()}")
            said: dict[str, Any] = await answer.json()
            return said

    async def wait_broken(self) -> None:
        """Wait until a program ends by itself.

        Raises:
            ChildDied: always, in the end.

        """
        waits = [asyncio.ensure_future(child.wait()) for child in self._children.values()]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
        self.check()

    # --- for tests of faults ----------------------------------------------------------------------

    @property
    def programs(self) -> list[str]:
        """Names of all, in the order in which they start."""
        etcd = [f"etcd-{member}" for member in range(self._members)]
        return [*etcd, "kube-apiserver", "kube-controller-manager"]

    async def halt(self, name: str) -> None:
        """Kill a program; its data stays."""
        await self._children.pop(name).kill()

    async def launch(self, *names: str) -> None:
        """Start halted programs, and wait until each serves."""
        async with asyncio.timeout(_START_SECONDS):
            for name in names:
                await self._launch(name)
            for name in names:
                await self._serves(name)

    async def restart(self, *, keep: bool, backup: Path | None = None) -> None:
        """Kill what runs and start all programs again.

        Args:
            keep: with the data there was; otherwise with that of the backup, or none.
            backup: a folder that ``backup`` has filled.

        """
        for name in list(reversed(self._children)):
            await self.halt(name)
        for folder in () if keep else self._etcd_folders():
            await asyncio.to_thread(shutil.rmtree, folder)
            if backup is not None:
                await asyncio.to_thread(shutil.copytree, backup / folder.name, folder)
        await self._launch_all()

    async def backup(self, to: Path) -> None:
        """Copy what etcd has into a folder; it is away for that moment."""
        etcd = [name for name in self.programs if name.startswith("etcd")]
        for name in etcd:
            await self.halt(name)
        for folder in self._etcd_folders():
            await asyncio.to_thread(shutil.copytree, folder, to / folder.name)
        await self.launch(*etcd)

    def _etcd_folders(self) -> list[Path]:
        return [self._started().etcd_folder(member) for member in range(self._members)]

    async def etcd_leader(self) -> str:
        """Name of the member that leads, once one does."""
        async with asyncio.timeout(_START_SECONDS), aiohttp.ClientSession() as session:
            while True:
                for member, url in enumerate(self._ports.etcd_urls):
                    with contextlib.suppress(aiohttp.ClientError):
                        async with session.post(f"{url}/v3/maintenance/status", json={}) as answer:
                            status = await answer.json()
                        # Without a leader there is no such field, nor a header where it failed.
                        member_id = (status.get("header") or {}).get("member_id")
                        if member_id and status.get("leader") == member_id:
                            return f"etcd-{member}"
                await asyncio.sleep(_POLL_SECONDS)

    # --- starting and stopping --------------------------------------------------------------------

    async def _start(self) -> None:
        remove_leftovers(Path(tempfile.gettempdir()))
        folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
        self._ports = _free_ports(self._members)
        audit_log = self._wanted_audit_log or folder / "audit.log"
        self._files = write_files(folder, port=self._ports.apiserver, audit_log=audit_log)
        await self._launch_all()

    async def _launch_all(self) -> None:
        etcd = [name for name in self.programs if name.startswith("etcd")]
        await self.launch(*etcd)  # together: none serves before most of them run
        await self.launch("kube-apiserver")
        await self.launch("kube-controller-manager")

    async def _launch(self, name: str) -> None:
        binaries, files, ports = self._binaries, self._started(), self._ports
        if name == "kube-apiserver":
            command = apiserver_command(binaries, files, ports)
        elif name == "kube-controller-manager":
            command = manager_command(binaries, files)
        else:
            member = int(name.removeprefix("etcd-"))
            command = etcd_command(binaries, files, ports, member=member)
        log = files.folder / f"{name}.log"
        self._children[name] = await Child.start(name=name, command=command, log=log)

    async def _serves(self, name: str) -> None:
        if name == "kube-apiserver":
            await self._until(f"{self.url}/readyz")
        elif name == "kube-controller-manager":
            # Written by its controllers, so they run.
            default = f"{self.url}/api/v1/namespaces/default"
            await self._until(f"{default}/serviceaccounts/default")
            await self._until(f"{default}/configmaps/kube-root-ca.crt")
        else:
            member = int(name.removeprefix("etcd-"))
            await self._until(f"{self._ports.etcd_urls[member]}/health")

    async def _until(self, url: str) -> None:
        """Poll ``url`` until it answers 200, while all children live."""
        headers = {"Authorization": f"Bearer {self.admin_token}"}
        connector = aiohttp.TCPConnector(ssl=self.ssl_context())
        async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
            while True:
                self.check()
                with contextlib.suppress(aiohttp.ClientError):
                    async with session.get(url) as answer:
                        if answer.status == 200:
                            return
                await asyncio.sleep(_POLL_SECONDS)

    async def _stop(self) -> None:
        children, self._children = self._children, {}
        for child in reversed(children.values()):
            await child.stop(grace=_GRACE_SECONDS)
        files, self._files = self._files, None
        if files is not None:
            await asyncio.to_thread(shutil.rmtree, files.folder, ignore_errors=True)

    def _tails(self) -> str:
        return "\n".join(f"--- {child.name}\n{child.tail()}" for child in self._children.values())

    def _started(self) -> Files:
        if self._files is None:
            raise RuntimeError("the control plane is not running")
        return self._files


def remove_leftovers(folder: Path) -> None:
    """Remove the data of control planes whose process was killed before it could."""
    for path in folder.glob(f"{_PREFIX}*"):
        owner = path.name.removeprefix(_PREFIX).partition("-")[0]
        try:
            os.kill(int(owner), 0)
        except ValueError:
            continue
        except ProcessLookupError:
            shutil.rmtree(path, ignore_errors=True)
        except PermissionError:
            continue  # somebody else's, alive


def _b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _free_ports(members: int) -> Ports:
    with contextlib.ExitStack() as stack:
        numbers: list[int] = []
        for _ in range(2 * members + 1):
            taken = stack.enter_context(socket.socket())
            taken.bind(("127.0.0.1", 0))
            numbers.append(taken.getsockname()[1])
        etcd, peers = numbers[:members], numbers[members:-1]
        return Ports(etcd=tuple(etcd), etcd_peers=tuple(peers), apiserver=numbers[-1])
