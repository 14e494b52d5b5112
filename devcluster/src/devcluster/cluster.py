"""The composition root: one cluster, from options to a listening server."""

from __future__ import annotations

import asyncio
import base64
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiohttp import StreamReader, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage
from aiohttp.web_protocol import RequestHandler

from devcluster import bootstrap, certs
from devcluster.addresses import listening_address
from devcluster.api import Api
from devcluster.auth.authenticate import Authenticator
from devcluster.auth.issuing import Issuer
from devcluster.auth.reviews import Reviews
from devcluster.auth.tokens import Tokens
from devcluster.control.control import Control
from devcluster.control.endpoint import ControlEndpoint
from devcluster.control.journal import Journal
from devcluster.controllers.manager import Controllers
from devcluster.discovery import Discovery
from devcluster.engine import Engine
from devcluster.identity import ADMIN, User
from devcluster.keeper import Keeper
from devcluster.openapi import OpenApi
from devcluster.server import MAX_BODY, ApiServer
from devcluster.show.maker import TableMaker
from devcluster.state import Saved, StateFile
from fluvial.log import Logger, get_logger

__all__ = ["DevCluster", "Options"]

_DEFINITIONS = ("apiextensions.k8s.io", "customresourcedefinitions")
_GAP = 1_000_000  # revisions: a restored store starts at the next multiple


@dataclass(frozen=True, slots=True)
class Options:
    """How to run.

    Args:
        address: an IP address to listen on; other than loopback only without ``anonymous``.
        port: 0 takes a free one.
        admin_token: the bearer token of ``system:masters``; made up when empty.
        users: extra bearer tokens and the users they stand for.
        anonymous: answer requests without credentials, as far as RBAC lets anybody ask.
        history_changes: how many changes watches can go back.
        workloads: run the stand-in that makes workloads healthy (see ``workloads``).
        control_port: serve the control endpoint there (0: a free port); None serves none.
        request_log: append every request as a JSON line.
        audit_log: append every request as an audit event of the API server's form.
        state: keep the cluster in this file; the next start goes on from it.
        state_interval: seconds between looks whether there is something new to keep.

    """

    address: str = "127.0.0.1"
    port: int = 0
    admin_token: str = field(default="", repr=False)
    users: Mapping[str, User] = field(default_factory=dict, repr=False)
    anonymous: bool = True
    history_changes: int = 20_000
    workloads: bool = True
    control_port: int | None = None
    request_log: Path | None = None
    audit_log: Path | None = None
    state: Path | None = None
    state_interval: float = 5.0


class DevCluster:
    """An API server in this process: ``async with DevCluster(Options()) as cluster``.

    After ``stop``, ``start`` serves what is stored again, at the same address.
    """

    def __init__(self, options: Options | None = None) -> None:
        self.options = options or Options()
        self._file = StateFile(self.options.state) if self.options.state else None
        self._restored = saved = self._file.read() if self._file else None
        kept_token = saved.admin_token if saved else ""
        self.admin_token = self.options.admin_token or kept_token or secrets.token_urlsafe(24)
        self._address = listening_address(
            self.options.address,
            anonymous=self.options.anonymous,
            tokens=[self.admin_token, *self.options.users],
        )
        self._authority = _authority(saved)
        self.ca_pem: bytes = self._authority.pem
        self.url = ""
        self._log = log = get_logger("devcluster")
        self.engine = Engine(history_changes=self.options.history_changes)
        self.tokens = Tokens(certs.load_key(saved.token_key) if saved else None)
        static = {self.admin_token: ADMIN, **self.options.users}
        self.authenticator = Authenticator(
            store=self.engine.store,
            tokens=self.tokens,
            rbac=self.engine.rbac,
            static=static,
            anonymous=self.options.anonymous,
        )
        reviews = Reviews(
            store=self.engine.store,
            rbac=self.engine.rbac,
            authenticator=self.authenticator,
            tokens=self.tokens,
        )
        issuer = Issuer(self.engine.store, self.tokens)
        self._discovery = Discovery(self.engine.kinds)
        self._journal = Journal(
            request_log=self.options.request_log, audit_log=self.options.audit_log
        )
        self.control = Control(self.engine.store, self._journal)
        self._endpoint = ControlEndpoint(self.control, save=self.save)
        self._server = ApiServer(
            api=Api(self.engine, tables=TableMaker(), reviews=reviews, issuer=issuer),
            discovery=self._discovery,
            openapi=OpenApi(self.engine.kinds, self._definitions),
            authenticator=self.authenticator,
            rbac=self.engine.rbac,
            control=self.control,
            journal=self._journal,
            log=log,
        )
        self._runner: web.ServerRunner | None = None
        self._port = self.options.port or (saved.port if saved else 0)
        self._keeper = self._made_keeper(log)
        self._controllers = Controllers(
            self.engine, ca_pem=self.ca_pem, workloads=self.options.workloads, log=log
        )

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Fill the cluster and listen.

        Raises:
            StateError: the state file is in use.
            OSError: the port is in use, or the state cannot be written.

        """
        try:
            if self._keeper is not None:
                self._keeper.lock()
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def _start(self) -> None:
        self._journal.open()
        self._controllers.start()
        await self._restore()
        bootstrap.fill(self.engine)
        await self._controllers.settle()
        # Nobody can have a version from before the start: a watch from one is too old.
        self.engine.store.compact()
        await self._listen()
        if self.options.control_port is not None:
            await self._endpoint.start(self.options.control_port)
        if self._keeper is not None:
            await self._keeper.start()

    async def _restore(self) -> None:
        """Go on from what was saved: definitions first, so that all kinds are known."""
        saved, self._restored = self._restored, None
        if saved is None:
            return
        store = self.engine.store
        # Versions that were given out after the last save are left behind, too.
        store.load(saved.rows, revision=(saved.revision // _GAP + 1) * _GAP)
        definitions = store.table(_DEFINITIONS)
        store.announce(definitions)
        await self._controllers.settle()
        for table in store.tables():
            if table is not definitions:
                store.announce(table)

    async def _listen(self) -> None:
        server = web.Server(
            self._server.handle,
            request_factory=_request,
            handler_cancellation=True,
            access_log=None,
        )
        self._runner = web.ServerRunner(server, shutdown_timeout=1.0)
        await self._runner.setup()
        context = certs.server_context(self._authority, host=str(self._address))
        listener = self._listener()
        await web.SockSite(self._runner, listener, ssl_context=context).start()
        self._port = listener.getsockname()[1]
        host = f"[{self._address}]" if self._address.version == 6 else f"{self._address}"
        self.url = f"https://{host}:{self._port}"
        self._discovery.address = f"{host}:{self._port}"

    def _listener(self) -> socket.socket:
        host = str(self._address)
        family = socket.AF_INET6 if self._address.version == 6 else socket.AF_INET
        try:
            return socket.create_server((host, self._port), family=family, backlog=512)
        except OSError:
            if self.options.port or self.url or not self._port:
                raise
            self._log.warning("the port of last time is in use", port=self._port)
            return socket.create_server((host, 0), family=family, backlog=512)

    async def save(self) -> None:
        """Write the state file now; nothing without one. OSError when that fails."""
        if self._keeper is not None:
            await self._keeper.save()

    def _made_keeper(self, log: Logger) -> Keeper | None:
        if self._file is None:
            return None
        interval = self.options.state_interval
        return Keeper(self._file, gather=self._gathered, interval=interval, log=log)

    def _gathered(self) -> Saved:
        store = self.engine.store
        return Saved(
            revision=store.revision,
            port=self._port,
            admin_token=self.admin_token,
            authority=(self.ca_pem, certs.key_pem(self._authority.key)),
            token_key=certs.key_pem(self.tokens.key),
            rows=[(table.name, row) for table in store.tables() for row in table.rows()],
        )

    async def stop(self) -> None:
        """End watches, close the server, save for the last time; OSError when that fails."""
        await self._endpoint.stop()
        self._server.stop_streams()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        await self._controllers.stop()
        self._journal.close()
        if self._keeper is not None:
            await self._keeper.stop()

    def launch_controllers(self) -> None:
        """Let the controllers inside work again, on all that has happened meanwhile."""
        self._controllers.start()

    async def halt_controllers(self) -> None:
        """Stop the controllers inside, as if kube-controller-manager were down.

        Definitions are still served: in a real cluster that is the API server's work.
        """
        await self._controllers.halt()

    def _definitions(self) -> dict[str, dict[str, Any]]:
        table = self.engine.store.table(_DEFINITIONS)
        return {row.name: row.decode() for row in table.rows()}

    @property
    def control_url(self) -> str:
        """Where the control endpoint listens; empty when it is off."""
        return self._endpoint.url

    def kubeconfig(self, user: str = "admin", *, token: str = "") -> dict[str, Any]:
        """A kubeconfig for ``user``; ``token`` overrides the admin's."""
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {
                    "name": "devcluster",
                    "cluster": {
                        "server": self.url,
                        "certificate-authority-data": base64.b64encode(self.ca_pem).decode(),
                    },
                }
            ],
            "users": [{"name": user, "user": {"token": token or self.admin_token}}],
            "contexts": [
                {"name": "devcluster", "context": {"cluster": "devcluster", "user": user}}
            ],
            "current-context": "devcluster",
        }


def _authority(saved: Saved | None) -> certs.Authority:
    return certs.load_authority(*saved.authority) if saved else certs.make_authority()


def _request(
    message: RawRequestMessage,
    payload: StreamReader,
    protocol: RequestHandler,
    writer: AbstractStreamWriter,
    task: asyncio.Task[None],
) -> web.BaseRequest:
    """A request whose body may be as large as the API server's own limit."""
    loop = asyncio.get_running_loop()
    return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=MAX_BODY)
