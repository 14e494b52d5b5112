"""The product as processes, over and over: a devcluster, both controllers, a Git server.

One world serves many cases. A case has a namespace, a branch and names of its own, and removes
what it made, so that a controller that starts anew finds one Kustomization and not a hundred.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import os
import re
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from chaos.content import VERSIONS
from chaos.control import NO_BOOKKEEPING, ControlClient
from fluvial.api.meta import RECONCILE_REQUEST
from fluvial.kube import kinds
from fluvial.kube.client import KubeClient
from fluvial.kube.errors import NotFound
from fluvial.kube.resource import Resource
from fluvial.objects import JsonObject, ObjectKey
from fluvial_cli import dev
from fluvial_cli.gitserver import GitServer
from fluvial_cli.waiting import ready_condition, wait_for
from gitservers.repos import Repo

__all__ = ["MANAGER", "Kill", "World", "owned_by", "poll"]

MANAGER = "test"
_BINDINGS = Resource(
    "rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding", namespaced=False
)
_OWNER = "kustomize.toolkit.fluxcd.io"
_SETTLED = 45.0
_WRITES_OF_A_LIFE = 4
_MOST_DEATHS = 12


@dataclass(frozen=True, slots=True)
class Kill:
    """SIGKILL ``controller`` at its ``nth`` write, ``before`` or ``after`` it takes effect."""

    controller: str
    nth: int
    when: str


@dataclass(slots=True)
class World:
    """Everything that runs, and the cases' hands on it.

    Attributes:
        kills: where controllers were killed, in order.
        restarted: position in the request log of each controller's last restart.

    """

    environment: dev.Environment
    control: ControlClient
    repo: Repo
    git_url: str
    commits: dict[str, str]
    kills: list[str] = field(default_factory=list)
    restarted: dict[str, int] = field(default_factory=dict)
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def client(self) -> KubeClient:
        """The admin's."""
        return self.environment.client

    @classmethod
    @asynccontextmanager
    async def start(cls, folder: Path) -> AsyncIterator[World]:
        """Start all of it; leaving the block stops it."""
        async with AsyncExitStack() as stack:
            repo = Repo(folder / "git", "app.git")
            commits = {name: repo.commit(files) for name, files in VERSIONS.items()}
            git = await stack.enter_async_context(GitServer(folder / "git"))
            environment = await stack.enter_async_context(
                dev.dev_environment(dev.DevOptions(folder=folder / "dev", control=True))
            )
            session = await stack.enter_async_context(aiohttp.ClientSession())
            control = ControlClient(session, _control_url(environment))
            self = cls(environment, control, repo, f"{git.url}/app.git", commits)
            await self._let_tenants_do_everything()
            yield self

    # --- controllers --------------------------------------------------------------------------

    async def run_killed(
        self,
        kill: Kill,
        act: Callable[[], Awaitable[None]],
        *,
        until: Callable[[], Awaitable[object]],
        meanwhile: Callable[[], Awaitable[None]] | None,
    ) -> bool:
        """Do ``act`` and kill a controller at one of the writes that follow; start it again.

        Args:
            kill: where.
            act: what makes it write.
            until: returns when the work is done, should there be fewer writes this time.
            meanwhile: happens while it is dead, or afterwards if it was not killed.

        Returns:
            Whether it was killed.

        """
        hold = await self.control.hold(kill.controller, nth=kill.nth, when=kill.when)
        try:
            await act()
            if not await self._held_first(hold, until):
                if meanwhile is not None:
                    await meanwhile()
                return False
            request = await self.control.caught(hold)
            self.kills.append(f"{kill.when} {request['method']} {request['path']}")
            os.kill(self.environment.processes.pids()[kill.controller], signal.SIGKILL)
            await self.control.gone(hold)
        finally:
            await self.control.forget(hold)
        if meanwhile is not None:
            await meanwhile()
        await self._restart(kill.controller)
        return True

    async def run_dying(
        self,
        controller: str,
        act: Callable[[], Awaitable[None]],
        until: Callable[[], Awaitable[object]],
    ) -> int:
        """Do ``act`` and kill a controller after every fourth write until ``until`` returns.

        Fewer are no life: up to three say what it is about to do, the last that it is done.

        Returns:
            How often it was killed.

        """
        hold = await self.control.hold(controller, nth=_WRITES_OF_A_LIFE, when="after")
        await act()
        for killed in range(_MOST_DEATHS):
            if not await self._held_first(hold, until):
                await self.control.forget(hold)
                return killed
            os.kill(self.environment.processes.pids()[controller], signal.SIGKILL)
            await self.control.gone(hold)
            await self.control.forget(hold)
            hold = await self.control.hold(controller, nth=_WRITES_OF_A_LIFE, when="after")
            await self._restart(controller)
        raise AssertionError(f"{controller} makes no progress in short lives")

    async def _restart(self, controller: str) -> None:
        self.restarted[controller] = await self.control.position()
        await self.environment.processes.restart(controller, is_ready=dev.says_ready)

    async def _held_first(self, hold: int, until: Callable[[], Awaitable[object]]) -> bool:
        """Wait for a write or for the end; whether there is a write that is held."""
        waits = [
            asyncio.create_task(self.control.state(hold, wait=_SETTLED), name="write"),
            asyncio.ensure_future(until()),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
        return await self.control.state(hold) == "held"

    async def writes(self, controller: str, *, after: int) -> list[str]:
        """``METHOD path`` of a controller's writes but Events, Leases and dry runs."""
        return [
            f"{one['method']} {one['path']}"
            for one in await self.control.requests(after=after, agent=f"^{controller}/")
            if one["write"] and re.search(NO_BOOKKEEPING, one["path"])
        ]

    # --- cases --------------------------------------------------------------------------------

    async def new_case(self) -> str:
        """A namespace, a service account, objects of other owners and a branch at v1."""
        case = f"case{next(self._numbers):04}x"
        await self.apply(kinds.NAMESPACE, "", {"name": case})
        await self.apply(kinds.SERVICE_ACCOUNT, case, {"name": "deployer"})
        for name, owner in (("foreign", "other"), ("lookalike", "app")):
            labels = owned_by(owner, case)
            await self.apply(kinds.CONFIG_MAP, case, {"name": name, "labels": labels})
        self.push(case, "v1")
        return case

    def push(self, case: str, version: str) -> None:
        """Move the case's branch."""
        self.repo.set_ref(f"refs/heads/{case}", self.commits[version])

    async def git_repository(self, case: str) -> None:
        """Create the source of a case."""
        spec = {"interval": "10m", "url": self.git_url, "ref": {"branch": case}}
        await self.apply(kinds.GIT_REPOSITORY, case, {"name": "app"}, spec=spec)

    async def kustomization(self, case: str, *, health: str = "ready") -> None:
        """Create the Kustomization of a case; ``health`` is what becomes of its Deployment."""
        spec = {
            "interval": "10m",
            "retryInterval": "1s",
            "timeout": "30s",
            "path": "./deploy",
            "prune": True,
            "wait": True,
            "serviceAccountName": "deployer",
            "sourceRef": {"kind": "GitRepository", "name": "app"},
            "postBuild": {"substitute": {"case": case, "region": "eu-west", "health": health}},
        }
        await self.apply(kinds.KUSTOMIZATION, case, {"name": "app"}, spec=spec)

    async def hand_over(self, case: str) -> None:
        """Somebody gives an object of the set to another owner."""
        await self.client.patch(
            kinds.CONFIG_MAP,
            ObjectKey(case, "handed"),
            {"metadata": {"labels": owned_by("other", case)}},
            patch_type="merge",
            field_manager=MANAGER,
        )

    async def request(self, resource: Resource, case: str, token: str) -> None:
        """Ask for a reconcile."""
        await self.client.patch(
            resource,
            ObjectKey(case, "app"),
            {"metadata": {"annotations": {RECONCILE_REQUEST: token}}},
            patch_type="merge",
            field_manager=MANAGER,
        )

    async def settled(self, resource: Resource, case: str, version: str) -> JsonObject:
        """The object ``app`` once its controller says that ``version`` is in place."""
        revision = f"{case}@sha1:{self.commits[version]}"
        return await wait_for(
            self.client,
            resource,
            ObjectKey(case, "app"),
            until=lambda obj: _is_settled(obj, revision),
            timeout=_SETTLED,
        )

    async def answered(self, resource: Resource, case: str, token: str) -> JsonObject:
        """The object ``app`` once a request is answered, Ready."""
        return await wait_for(
            self.client,
            resource,
            ObjectKey(case, "app"),
            until=lambda obj: (
                (obj.get("status") or {}).get("lastHandledReconcileAt") == token
                and ready_condition(obj).get("status") == "True"
            ),
            timeout=_SETTLED,
        )

    def stored(self, case: str) -> dict[str, str]:
        """Digests of a case's files in the storage of source-controller."""
        folder = self.environment.folder / "source-controller" / "gitrepository" / case
        return {
            str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
            for file in sorted(folder.rglob("*"))
            if file.is_file()
        }

    async def delete(self, resource: Resource, case: str) -> None:
        """Ask for the deletion of the object ``app``."""
        await self.client.delete(resource, ObjectKey(case, "app"))

    async def wait_gone(self, resource: Resource, case: str) -> None:
        """Wait until the object ``app`` is gone."""
        await poll(lambda: self.is_gone(resource, case), f"{resource.kind} {case} is still there")

    async def is_gone(self, resource: Resource, case: str) -> bool:
        """Whether the object ``app`` is gone."""
        try:
            await self.client.get(resource, ObjectKey(case, "app"))
        except NotFound:
            return True
        return False

    async def apply(
        self, resource: Resource, namespace: str, metadata: JsonObject, **fields: object
    ) -> None:
        """Server-side apply of one object as the admin."""
        key = ObjectKey(namespace, metadata["name"])
        body = {
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": {**metadata, **({"namespace": namespace} if namespace else {})},
            **fields,
        }
        await self.client.apply(resource, key, body, field_manager=MANAGER)

    async def _let_tenants_do_everything(self) -> None:
        await self.apply(
            _BINDINGS,
            "",
            {"name": "tenants"},
            roleRef={
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": "cluster-admin",
            },
            subjects=[
                {
                    "apiGroup": "rbac.authorization.k8s.io",
                    "kind": "Group",
                    "name": "system:serviceaccounts",
                }
            ],
        )


def owned_by(name: str, case: str) -> dict[str, str]:
    """Labels that name a Kustomization of a case as the owner."""
    return {f"{_OWNER}/name": name, f"{_OWNER}/namespace": case}


async def poll(holds: Callable[[], Awaitable[bool]], otherwise: str) -> None:
    """Wait until a question is answered with yes."""
    try:
        async with asyncio.timeout(_SETTLED):
            while not await holds():
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(otherwise) from None


def _control_url(environment: dev.Environment) -> str:
    log = (environment.folder / "logs" / "devcluster.log").read_text()
    return next(line.split()[1] for line in log.splitlines() if line.startswith("control "))


def _is_settled(obj: JsonObject, revision: str) -> bool:
    """Ready at this generation and revision, and nothing going on."""
    status = obj.get("status") or {}
    conditions = {c["type"]: c["status"] for c in status.get("conditions") or []}
    found = status.get("lastAppliedRevision") or (status.get("artifact") or {}).get("revision")
    return (
        status.get("observedGeneration") == obj["metadata"]["generation"]
        and found == revision
        and conditions.get("Ready") == "True"
        and "Reconciling" not in conditions
    )
