"""``fluvial demo``: the main job, shown on real processes with real object states.

Every step states what it expects, waits for the cluster to say so and fails the command if it
does not; nothing is printed that was not read back from the API server.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from fluvial.build import yaml
from fluvial.clock import RealClock, format_time
from fluvial.errors import FluvialError
from fluvial.kube import kinds
from fluvial.kube.discovery import RestMapper
from fluvial.kube.errors import NotFound
from fluvial.kube.resource import Resource
from fluvial.objects import JsonObject, ObjectKey, gvk_of, key_of
from fluvial_cli import dev
from fluvial_cli.gitserver import GitServer
from fluvial_cli.repository import DemoRepository
from fluvial_cli.waiting import ready_condition, wait_for

__all__ = ["DemoFailed", "run"]

_NAMESPACE = "team-a"
_NAME = ObjectKey(_NAMESPACE, "shop")
_TENANT = "system:serviceaccount:team-a:deployer"
_DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment", namespaced=True)
_BINDINGS = Resource(
    "rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding", namespaced=False
)
_FIELD_MANAGER = "fluvial-demo"


class DemoFailed(FluvialError):
    """Something that the demo promises did not happen."""


@dataclass(slots=True)
class _Stage:
    """What the steps share."""

    environment: dev.Environment
    repository: DemoRepository
    git_url: str
    console: Console


async def run(options: dev.DevOptions) -> int:
    """Play the demo. Returns 0, or 1 with the reason printed."""
    console = Console(highlight=False)
    try:
        await _play(options, console)
    except FluvialError as error:
        console.print(f"[red]✗[/red] {error}", markup=True, soft_wrap=True)
        return 1
    return 0


async def _play(options: dev.DevOptions, console: Console) -> None:
    started = time.perf_counter()
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(dev.work_folder()))
        repository = await DemoRepository.create(_examples() / "repository", folder / "git")
        server = await stack.enter_async_context(GitServer(repository.served))
        with console.status("starting the control plane and the controllers"):
            environment = await stack.enter_async_context(
                dev.dev_environment(replace(options, folder=folder))
            )
        took = time.perf_counter() - started
        console.print(
            f"[green]✓[/green] control plane ({options.control_plane}), "
            f"{' and '.join(options.controllers)} run as processes  [dim]{took:.1f}s[/dim]",
            soft_wrap=True,
        )
        stage = _Stage(environment, repository, f"{server.url}/shop.git", console)
        for title, step in _STEPS:
            await _show(stage, title, step)
        await _table(stage)
    console.print(f"[dim]all of it in {time.perf_counter() - started:.0f}s[/dim]")


async def _show(stage: _Stage, title: str, step: Callable[[_Stage], Awaitable[list[str]]]) -> None:
    started = time.perf_counter()
    with stage.console.status(title):
        facts = await step(stage)
    took = time.perf_counter() - started
    stage.console.print(f"[green]✓[/green] {title}  [dim]{took:.1f}s[/dim]", soft_wrap=True)
    for fact in facts:
        stage.console.print(f"    {fact}", markup=False, soft_wrap=True)


# --- the steps -----------------------------------------------------------------------------------


async def _make_tenant(stage: _Stage) -> list[str]:
    client = stage.environment.client
    mapper = RestMapper(client)
    applied = []
    for name in ("tenant.yaml", "sync.yaml"):
        for obj in yaml.load_all((_examples() / "cluster" / name).read_bytes(), source=name):
            if obj["kind"] == "GitRepository":
                obj["spec"]["url"] = stage.git_url
            resource = await mapper.resource_for(gvk_of(obj))
            await client.apply(resource, key_of(obj), obj, field_manager=_FIELD_MANAGER)
            applied.append(f"{obj['kind']}/{obj['metadata']['name']}")
    return [
        f"applied {', '.join(applied)}",
        f"the tenant acts as {_TENANT}, with rights in {_NAMESPACE} only",
    ]


async def _first_apply(stage: _Stage) -> list[str]:
    kustomization = await _applied(stage, await stage.repository.revision())
    deployment = await stage.environment.client.get(_DEPLOYMENTS, _key("frontend"))
    objects = ", ".join(_readable(e["id"]) for e in kustomization["status"]["inventory"]["entries"])
    ready = deployment["status"]["readyReplicas"]
    return [
        f"{_said(kustomization)}",
        f"inventory: {objects}",
        f"Deployment/frontend: {ready}/{deployment['spec']['replicas']} ready, {_image(deployment)}",
    ]


async def _change_one(stage: _Stage) -> list[str]:
    before = await _generations(stage)
    revision = await stage.repository.commit(
        "Release 1.1.0", {"deploy/frontend.yaml": lambda text: text.replace("1.0.0", "1.1.0")}
    )
    started = time.perf_counter()
    await _poke(stage)
    await _wait_image(stage, "ghcr.io/example/shop:1.1.0")
    seconds = time.perf_counter() - started
    await _applied(stage, revision)
    after = await _generations(stage)
    changed = [name for name, generation in after.items() if before.get(name) != generation]
    if changed != ["frontend"]:
        raise DemoFailed(f"expected a change of Deployment/frontend alone, got {changed}")
    return [
        f"only Deployment/frontend changed, {seconds * 1000:.0f} ms after the commit was announced"
    ]


async def _prune_one(stage: _Stage) -> list[str]:
    revision = await stage.repository.commit(
        "Drop the cache",
        {
            "deploy/cache.yaml": None,
            "deploy/kustomization.yaml": lambda text: text.replace("  - cache.yaml\n", ""),
        },
    )
    await _poke(stage)
    await _applied(stage, revision)
    try:
        await stage.environment.client.get(_DEPLOYMENTS, _key("cache"))
    except NotFound:
        return ["Deployment/cache is gone, Deployment/frontend stayed"]
    raise DemoFailed("Deployment/cache is still there")


async def _reach_out(stage: _Stage) -> list[str]:
    await stage.repository.commit(
        "Make me admin",
        {
            "deploy/admin.yaml": lambda _: _ADMIN,
            "deploy/kustomization.yaml": lambda text: text.replace(
                "resources:\n", "resources:\n  - admin.yaml\n"
            ),
        },
    )
    await _poke(stage)
    refused = await _refused(stage, "ReconciliationFailed")
    try:
        await stage.environment.client.get(_BINDINGS, ObjectKey("", "team-a-admin"))
    except NotFound:
        return [f"Ready=False: {_said(refused)}", "ClusterRoleBinding/team-a-admin does not exist"]
    raise DemoFailed("the tenant made itself cluster-admin")


async def _break(stage: _Stage) -> list[str]:
    before = await _generations(stage)
    await stage.repository.commit(
        "Typo",
        {
            "deploy/admin.yaml": None,
            "deploy/kustomization.yaml": lambda text: text.replace("  - admin.yaml\n", ""),
            "deploy/frontend.yaml": lambda text: text.replace("replicas: 2", "replicas: [2"),
        },
    )
    await _poke(stage)
    refused = await _refused(stage, "BuildFailed")
    if await _generations(stage) != before:
        raise DemoFailed("a broken commit changed the cluster")
    return [f"Ready=False: {_said(refused)}", "the last good objects are untouched"]


async def _mend(stage: _Stage) -> list[str]:
    revision = await stage.repository.commit(
        "Mend it",
        {"deploy/frontend.yaml": lambda text: text.replace("replicas: [2", "replicas: 3")},
    )
    await _poke(stage)
    kustomization = await _applied(stage, revision)
    return [_said(kustomization)]


_STEPS: tuple[tuple[str, Callable[[_Stage], Awaitable[list[str]]]], ...] = (
    ("a platform team makes a tenant", _make_tenant),
    ("the tenant's first commit is applied as the tenant's service account", _first_apply),
    ("a commit changes one object", _change_one),
    ("an object removed from Git is pruned", _prune_one),
    ("a tenant that reaches for cluster-admin is refused, with the reason", _reach_out),
    ("a broken commit leaves the last good state in place and says what is wrong", _break),
    ("the next good commit goes on from there", _mend),
)

_ADMIN = """\
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: team-a-admin
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: cluster-admin
subjects:
  - kind: ServiceAccount
    name: deployer
    namespace: team-a
"""


# --- reading the cluster -------------------------------------------------------------------------


async def _poke(stage: _Stage) -> None:
    """Ask for a reconcile of the source, as a Git host's webhook would."""
    now = format_time(RealClock().now())
    token = f"{now}-{await stage.repository.revision()}"
    await stage.environment.client.patch(
        kinds.GIT_REPOSITORY,
        _NAME,
        {"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": token}}},
        patch_type="merge",
        field_manager=_FIELD_MANAGER,
    )


async def _applied(stage: _Stage, revision: str) -> JsonObject:
    def done(obj: JsonObject) -> bool:
        status = obj.get("status") or {}
        return (
            str(status.get("lastAppliedRevision", "")).endswith(revision)
            and ready_condition(obj).get("status") == "True"
        )

    return await wait_for(stage.environment.client, kinds.KUSTOMIZATION, _NAME, until=done)


async def _refused(stage: _Stage, reason: str) -> JsonObject:
    revision = await stage.repository.revision()

    def done(obj: JsonObject) -> bool:
        status, ready = obj.get("status") or {}, ready_condition(obj)
        return (
            str(status.get("lastAttemptedRevision", "")).endswith(revision)
            and ready.get("status") == "False"
            and ready.get("reason") == reason
        )

    return await wait_for(stage.environment.client, kinds.KUSTOMIZATION, _NAME, until=done)


async def _wait_image(stage: _Stage, image: str) -> None:
    await wait_for(
        stage.environment.client,
        _DEPLOYMENTS,
        _key("frontend"),
        until=lambda obj: _image(obj) == image,
    )


async def _generations(stage: _Stage) -> dict[str, int]:
    page = await stage.environment.client.list_all(_DEPLOYMENTS, namespace=_NAMESPACE)
    return {o["metadata"]["name"]: o["metadata"]["generation"] for o in page.items}


async def _table(stage: _Stage) -> None:
    """What kubectl prints, unchanged."""
    kubectl = dev.kubectl_program()
    for what in ("gitrepositories,kustomizations", "deployments,services,configmaps"):
        process = await asyncio.create_subprocess_exec(
            kubectl,
            *("get", what, "-n", _NAMESPACE),
            env=dev.kubectl_environment(stage.environment.kubeconfig),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        stage.console.print()
        stage.console.print(output.decode().rstrip(), markup=False, soft_wrap=True)
        if process.returncode:
            raise DemoFailed(f"kubectl get {what} ended with status {process.returncode}")


def _examples() -> Path:
    folder = Path(__file__).resolve().parents[3] / "examples" / "demo"
    if not folder.is_dir():
        raise DemoFailed("the demo plays the files in examples/demo and needs a checkout")
    return folder


def _key(name: str) -> ObjectKey:
    return ObjectKey(_NAMESPACE, name)


def _image(deployment: JsonObject) -> str:
    return str(deployment["spec"]["template"]["spec"]["containers"][0]["image"])


def _readable(entry_id: str) -> str:
    parts = entry_id.split("_")
    return f"{parts[-1]}/{parts[1]}"


def _said(obj: JsonObject) -> str:
    return str(ready_condition(obj).get("message", ""))
