"""The two control planes, and what each can do to itself."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from controlplane.build import Binaries
from controlplane.start import ControlPlane
from controlplane.workloads import workloads
from devcluster import DevCluster, Options
from fluvial.objects import JsonObject

__all__ = ["DevPlane", "Plane", "RealPlane"]

_MANAGER = "kube-controller-manager"


class Plane(Protocol):
    """A control plane that can fall and rise again."""

    name: str

    def kubeconfig(self) -> JsonObject:
        """The admin's; another one after a restart."""
        ...

    async def compact(self) -> None:
        """Forget history: what asks for older versions gets 410."""
        ...

    async def stop(self) -> None:
        """Be away."""
        ...

    async def start(self, *, keep: bool) -> None:
        """Come back with the data there was, or with none."""
        ...

    async def backup(self) -> None:
        """Keep what there is now."""
        ...

    async def restore(self) -> None:
        """Fall, and come back as it was at the backup."""
        ...

    async def halt_controllers(self) -> None:
        """Let nobody collect garbage, empty namespaces or look after workloads."""
        ...

    async def launch_controllers(self) -> None:
        """Let them work again."""
        ...


class DevPlane:
    """devcluster in this process."""

    name = "devcluster"

    def __init__(self, folder: Path) -> None:
        self._state = folder / "devcluster.state"
        self._backup = folder / "devcluster.backup"
        self._options = Options(state=self._state, state_interval=3600.0)
        self.cluster = DevCluster(self._options)

    @classmethod
    @asynccontextmanager
    async def run(cls, folder: Path) -> AsyncIterator[DevPlane]:
        """One, for as long as the context lasts."""
        plane = cls(folder)
        await plane.cluster.start()
        try:
            yield plane
        finally:
            await plane.cluster.stop()

    def kubeconfig(self) -> JsonObject:
        """The admin's."""
        return self.cluster.kubeconfig()

    async def compact(self) -> None:
        """As ``Plane``."""
        self.cluster.control.compact()

    async def stop(self) -> None:
        """As ``Plane``."""
        await self.cluster.stop()

    async def start(self, *, keep: bool) -> None:
        """As ``Plane``."""
        if not keep:
            port = int(self.cluster.url.rpartition(":")[2])
            self._state.unlink()
            self.cluster = DevCluster(
                replace(self._options, port=port, admin_token=self.cluster.admin_token)
            )
        await self.cluster.start()

    async def backup(self) -> None:
        """As ``Plane``."""
        await self.cluster.save()
        shutil.copyfile(self._state, self._backup)

    async def restore(self) -> None:
        """As ``Plane``; versions go on further ahead, as after a restore that bumps them."""
        await self.cluster.stop()
        shutil.copyfile(self._backup, self._state)
        self.cluster = DevCluster(self._options)
        await self.cluster.start()

    async def halt_controllers(self) -> None:
        """As ``Plane``."""
        await self.cluster.halt_controllers()

    async def launch_controllers(self) -> None:
        """As ``Plane``."""
        self.cluster.launch_controllers()


class RealPlane:
    """The real one, with three members of etcd."""

    name = "real"

    def __init__(self, folder: Path, plane: ControlPlane) -> None:
        self._backup = folder / "etcd"
        self.plane = plane

    @classmethod
    @asynccontextmanager
    async def run(cls, folder: Path, binaries: Binaries) -> AsyncIterator[RealPlane]:
        """One with the stand-in for workloads, for as long as the context lasts."""
        async with ControlPlane(binaries=binaries, members=3) as plane, workloads(plane):
            yield cls(folder, plane)

    def kubeconfig(self) -> JsonObject:
        """The admin's."""
        return self.plane.kubeconfig()

    async def compact(self) -> None:
        """As ``Plane``."""
        await self.plane.compact()

    async def stop(self) -> None:
        """As ``Plane``."""
        await self.plane.halt("kube-apiserver")

    async def start(self, *, keep: bool) -> None:
        """As ``Plane``."""
        if keep:
            await self.plane.launch("kube-apiserver")
        else:
            await self.plane.restart(keep=False)

    async def backup(self) -> None:
        """As ``Plane``."""
        await self.plane.backup(self._backup)

    async def restore(self) -> None:
        """As ``Plane``; versions go back."""
        await self.plane.restart(keep=False, backup=self._backup)

    async def halt_controllers(self) -> None:
        """As ``Plane``."""
        await self.plane.halt(_MANAGER)

    async def launch_controllers(self) -> None:
        """As ``Plane``."""
        await self.plane.launch(_MANAGER)

    async def change_leader(self) -> tuple[str, str]:
        """Kill the leader of etcd and bring it back; the leaders before and after."""
        before = await self.plane.etcd_leader()
        await self.plane.halt(before)
        after = await self.plane.etcd_leader()
        await self.plane.launch(before)
        return before, after
