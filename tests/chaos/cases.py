"""Cases: what the chaos tests do to a cluster, whichever it is.

One cluster serves many cases. A case has a namespace, a branch and names of its own, and removes
what it made, so that a controller that starts anew finds one Kustomization and not a hundred.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from chaos.content import VERSIONS
from fluvial.api.meta import RECONCILE_REQUEST
from fluvial.kube import kinds
from fluvial.kube.client import KubeClient
from fluvial.kube.errors import NotFound
from fluvial.kube.resource import Resource
from fluvial.objects import JsonObject, ObjectKey
from fluvial_cli.waiting import ready_condition, wait_for
from gitservers.repos import Repo

__all__ = ["MANAGER", "SETTLED", "Cases", "GitSide", "owned_by", "poll"]

MANAGER = "test"
SETTLED = 90.0
"""Seconds until what must come has come."""
_BINDINGS = Resource(
    "rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding", namespaced=False
)
_OWNER = "kustomize.toolkit.fluxcd.io"


@dataclass(frozen=True, slots=True)
class GitSide:
    """The repository of all cases, and where it is served."""

    repo: Repo
    url: str
    commits: dict[str, str]

    @classmethod
    def create(cls, folder: Path, address: str) -> GitSide:
        """Make the repository; ``address`` is of the server of ``folder``."""
        repo = Repo(folder, "app.git")
        commits = {name: repo.commit(files) for name, files in VERSIONS.items()}
        return cls(repo, f"{address}/app.git", commits)


@dataclass(kw_only=True)
class Cases:
    """The cases' hands on a cluster.

    Attributes:
        client: the admin's.
        git: where the sources are.
        storage: of source-controller.

    """

    client: KubeClient
    git: GitSide
    storage: Path
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    async def new_case(self) -> str:
        """A namespace, a service account, objects of other owners and a branch at v1."""
        case = f"case{next(self._numbers):04}x"
        await self.make_case(case)
        return case

    async def make_case(self, case: str) -> None:
        """What ``new_case`` makes, under a name that is known."""
        await self.apply(kinds.NAMESPACE, "", {"name": case})
        await self.apply(kinds.SERVICE_ACCOUNT, case, {"name": "deployer"})
        for name, owner in (("foreign", "other"), ("lookalike", "app")):
            labels = owned_by(owner, case)
            await self.apply(kinds.CONFIG_MAP, case, {"name": name, "labels": labels})
        self.push(case, "v1")

    def push(self, case: str, version: str) -> None:
        """Move the case's branch."""
        self.git.repo.set_ref(f"refs/heads/{case}", self.git.commits[version])

    async def git_repository(self, case: str) -> None:
        """Create the source of a case."""
        spec = {"interval": "10m", "url": self.git.url, "ref": {"branch": case}}
        await self.apply(kinds.GIT_REPOSITORY, case, {"name": "app"}, spec=spec)

    async def kustomization(
        self, case: str, *, health: str = "ready", timeout: str = "30s"
    ) -> None:
        """Create the Kustomization of a case; ``health`` is what becomes of its Deployment."""
        spec = {
            "interval": "10m",
            "retryInterval": "1s",
            "timeout": timeout,
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
        revision = f"{case}@sha1:{self.git.commits[version]}"
        return await wait_for(
            self.client,
            resource,
            ObjectKey(case, "app"),
            until=lambda obj: _is_settled(obj, revision),
            timeout=SETTLED,
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
            timeout=SETTLED,
        )

    def stored(self, case: str) -> dict[str, str]:
        """Digests of a case's files in the storage of source-controller."""
        folder = self.storage / "gitrepository" / case
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

    async def let_tenants_do_everything(self) -> None:
        """Make every service account cluster-admin."""
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
        async with asyncio.timeout(SETTLED):
            while not await holds():
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(otherwise) from None


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
