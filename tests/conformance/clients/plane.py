"""What the clients need to know of a control plane, and the namespace that a script plays in."""

from __future__ import annotations

import asyncio
import ssl as tls
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from controlplane.start import ControlPlane
from devcluster import DevCluster

__all__ = ["NotReady", "Plane", "namespace", "of_devcluster", "of_real"]

Json = dict[str, Any]
_READY_SECONDS = 20.0
_POLL_SECONDS = 0.02
# What the controllers put into every namespace, some time after it was made.
_FILLED = ("serviceaccounts/default", "configmaps/kube-root-ca.crt")


class NotReady(Exception):
    """A new namespace was not filled in time."""


@dataclass(frozen=True, slots=True)
class Plane:
    """One API server: its address, the admin's token, its CA in ``ssl``, the admin's kubeconfig."""

    url: str
    token: str
    ssl: tls.SSLContext
    config: Mapping[str, Any]

    def kubeconfig(self, space: str) -> Json:
        """The admin's kubeconfig with ``space`` as the default namespace."""
        contexts = [
            {**entry, "context": {**entry["context"], "namespace": space}}
            for entry in self.config["contexts"]
        ]
        return {**self.config, "contexts": contexts}


def of_devcluster(cluster: DevCluster) -> Plane:
    """How clients reach a ``devcluster``."""
    context = tls.create_default_context(cadata=cluster.ca_pem.decode())
    return Plane(cluster.url, cluster.admin_token, context, cluster.kubeconfig())


def of_real(plane: ControlPlane) -> Plane:
    """How clients reach the real control plane."""
    return Plane(plane.url, plane.admin_token, plane.ssl_context(), plane.kubeconfig())


@asynccontextmanager
async def namespace(plane: Plane, name: str) -> AsyncIterator[None]:
    """Make a namespace, wait until the controllers have filled it; delete it, without waiting.

    Raises:
        NotReady: it was not filled.

    """
    headers = {"Authorization": f"Bearer {plane.token}"}
    connector = aiohttp.TCPConnector(ssl=plane.ssl)
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
        spaces = f"{plane.url}/api/v1/namespaces"
        async with session.post(spaces, json={"metadata": {"name": name}}) as answer:
            answer.raise_for_status()
        try:
            async with asyncio.timeout(_READY_SECONDS):
                for path in _FILLED:
                    await _until_there(session, f"{spaces}/{name}/{path}")
        except TimeoutError as error:
            raise NotReady(f"namespace {name} was not filled") from error
        try:
            yield
        finally:
            async with session.delete(f"{spaces}/{name}") as answer:
                await answer.read()


async def _until_there(session: aiohttp.ClientSession, url: str) -> None:
    while True:
        async with session.get(url) as answer:
            if answer.status == 200:
                return
        await asyncio.sleep(_POLL_SECONDS)
