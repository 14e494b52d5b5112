"""The composition root: one cluster, from options to a listening server."""

from __future__ import annotations

import secrets
import socket
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import structlog
from aiohttp import web

from devcluster import bootstrap, certs, errors
from devcluster.api import Api
from devcluster.deletes import Deleter
from devcluster.discovery import Discovery
from devcluster.gate import Gate
from devcluster.hooks import standard_hooks
from devcluster.identity import ADMIN, User
from devcluster.kinds import Kinds
from devcluster.reading import Reader
from devcluster.request import RequestInfo
from devcluster.server import ApiServer
from devcluster.store import Store
from devcluster.tables import TableMaker
from devcluster.writes import Writer

__all__ = ["DevCluster", "Options"]


@dataclass(frozen=True, slots=True)
class Options:
    """How to run.

    Args:
        host: a loopback address.
        port: 0 takes a free one.
        admin_token: the bearer token of ``system:masters``; made up when empty.
        history_changes: how many changes watches can go back.

    """

    host: str = "127.0.0.1"
    port: int = 0
    admin_token: str = field(default="", repr=False)
    history_changes: int = 20_000


class DevCluster:
    """An API server in this process: ``async with DevCluster(Options()) as cluster``."""

    def __init__(self, options: Options | None = None) -> None:
        self.options = options or Options()
        self.admin_token = self.options.admin_token or secrets.token_urlsafe(24)
        self._authority = certs.make_authority()
        self.ca_pem: bytes = self._authority.pem
        self.url = ""
        self.kinds = Kinds()
        self.store = Store(max_changes=self.options.history_changes)
        self.gate = Gate()
        self.deleter = Deleter(self.store)
        self.writer = Writer(self.store, self.gate, hooks=standard_hooks(self.store))
        self.writer.on_finalized(self.deleter.may_go)
        self.reader = Reader(self.store)
        self._discovery = Discovery(self.kinds)
        self._server = ApiServer(
            api=Api(
                store=self.store,
                kinds=self.kinds,
                gate=self.gate,
                writer=self.writer,
                reader=self.reader,
                deleter=self.deleter,
                tables=TableMaker(),
            ),
            discovery=self._discovery,
            authenticate=self._authenticate,
            authorize=self._authorize,
            log=structlog.get_logger(),
        )
        self._runner: web.ServerRunner | None = None

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
        """Fill the cluster and listen."""
        bootstrap.create_namespaces(self.writer, self.kinds)
        server = web.Server(self._server.handle, access_log=None)
        self._runner = web.ServerRunner(server, shutdown_timeout=1.0)
        await self._runner.setup()
        context = certs.server_context(self._authority, host=self.options.host)
        listener = socket.create_server((self.options.host, self.options.port), backlog=512)
        await web.SockSite(self._runner, listener, ssl_context=context).start()
        host, port = listener.getsockname()[:2]
        self.url = f"https://{host}:{port}"
        self._discovery.address = f"{host}:{port}"

    async def stop(self) -> None:
        """End watches, close the server."""
        self._server.stop_streams()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def kubeconfig(self, user: str = "admin", *, token: str = "") -> dict[str, Any]:
        """A kubeconfig for ``user``; ``token`` overrides the admin's."""
        import base64  # noqa: PLC0415

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

    def _authenticate(self, request: web.BaseRequest) -> User:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme == "Bearer" and secrets.compare_digest(token, self.admin_token):
            return ADMIN
        raise errors.unauthorized()

    def _authorize(self, user: User, info: RequestInfo) -> None:
        del user, info
