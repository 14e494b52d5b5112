"""``make bench``: what a commit costs until it is in the cluster, and what idling costs.

Figures of one run on one machine; compare runs as ratios, not as absolute times.
``python -m bench load`` is the load harness (``bench.load``).
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

from bench.load import command as load
from bench.push import measure_pushes
from bench.stats import Table, cpu_seconds, resident_mib
from fluvial.kube import kinds
from fluvial.kube.resource import Resource
from fluvial.objects import JsonObject, ObjectKey
from fluvial_cli import dev
from fluvial_cli.gitserver import GitServer
from fluvial_cli.repository import DemoRepository
from fluvial_cli.waiting import ready_condition, wait_for

NAMESPACE = "bench"
KEY = ObjectKey(NAMESPACE, "shop")
DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment", namespaced=True)
BINDINGS = Resource(
    "rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding", namespaced=True
)
IDLE_INTERVAL = 0.2
IDLE_SECONDS = 20.0


async def main(commits: int, control_plane: str, *, pushes: int = 0) -> int:
    """Run all workloads and print the tables; with ``pushes`` only those."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(dev.work_folder()))
        examples = Path(__file__).resolve().parents[1] / "examples" / "demo"
        repository = await DemoRepository.create(examples / "repository", folder / "git")
        server = await stack.enter_async_context(GitServer(repository.served))
        options = replace(dev.DevOptions(control_plane=control_plane), folder=folder)
        environment = await stack.enter_async_context(dev.dev_environment(options))
        await set_up(environment, f"{server.url}/shop.git")
        await applied(environment, await repository.revision())
        if pushes:
            await measure_pushes(environment, repository, pushes=pushes)
            return 0
        await measure_commits(environment, repository, commits)
        await measure_idle(environment)
    return 0


async def set_up(environment: dev.Environment, url: str) -> None:
    """A tenant with one repository and one Kustomization."""
    client = environment.client

    async def apply(resource: Resource, name: str, obj: JsonObject) -> None:
        metadata = {"name": name} | ({"namespace": NAMESPACE} if resource.namespaced else {})
        body = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata}
        key = ObjectKey(NAMESPACE if resource.namespaced else "", name)
        await client.apply(resource, key, body | obj, field_manager="bench")

    await apply(kinds.NAMESPACE, NAMESPACE, {})
    await apply(kinds.SERVICE_ACCOUNT, "deployer", {})
    role = {"apiGroup": BINDINGS.group, "kind": "ClusterRole", "name": "edit"}
    subject = {"kind": "ServiceAccount", "name": "deployer", "namespace": NAMESPACE}
    await apply(BINDINGS, "deployer", {"roleRef": role, "subjects": [subject]})
    source = {"url": url, "interval": "1h", "ref": {"branch": "main"}}
    await apply(kinds.GIT_REPOSITORY, "shop", {"spec": source})
    await apply(kinds.KUSTOMIZATION, "shop", {"spec": kustomization("1h")})


def kustomization(interval: str) -> JsonObject:
    """The spec that is measured."""
    return {
        "interval": interval,
        "prune": True,
        "path": "./deploy",
        "targetNamespace": NAMESPACE,
        "serviceAccountName": "deployer",
        "sourceRef": {"kind": "GitRepository", "name": "shop"},
        "postBuild": {"substitute": {"region": "here"}},
    }


async def applied(environment: dev.Environment, revision: str) -> JsonObject:
    """The Kustomization once it is Ready at a revision."""

    def done(obj: JsonObject) -> bool:
        last = str((obj.get("status") or {}).get("lastAppliedRevision", ""))
        return last.endswith(revision) and ready_condition(obj).get("status") == "True"

    return await wait_for(environment.client, kinds.KUSTOMIZATION, KEY, until=done)


async def measure_commits(
    environment: dev.Environment, repository: DemoRepository, commits: int
) -> None:
    """From the reconcile request to the artifact, to the changed object, to Ready."""
    table = Table(f"a commit of one changed object, {commits} times", "ms")
    for number in range(commits):
        image = f"ghcr.io/example/shop:2.0.{number}"
        revision = await repository.commit(
            f"Release {number}", {"deploy/frontend.yaml": _set(image)}
        )
        artifact = asyncio.create_task(_artifact(environment, revision))
        live = asyncio.create_task(_live(environment, image))
        ready = asyncio.create_task(_ready(environment, revision))
        await asyncio.sleep(0.05)
        started = time.perf_counter()
        await _request(environment, revision)
        fetched, changed, done = await asyncio.gather(artifact, live, ready)
        table.add("request to artifact", (fetched - started) * 1e3)
        table.add("artifact to object", (changed - fetched) * 1e3)
        table.add("object to Ready", (done - changed) * 1e3)
        table.add("request to object", (changed - started) * 1e3)
    sys.stdout.write(table.text() + "\n")


async def measure_idle(environment: dev.Environment) -> None:
    """CPU of kustomize-controller for timer runs that find nothing new, and its memory."""
    client = environment.client
    pids = environment.processes.pids()
    pid = pids["kustomize-controller"]
    base = cpu_seconds(pid)
    await asyncio.sleep(IDLE_SECONDS / 2)
    quiet = (cpu_seconds(pid) - base) / (IDLE_SECONDS / 2)
    before = await client.get(kinds.KUSTOMIZATION, KEY)
    spec = {"spec": {"interval": f"{int(IDLE_INTERVAL * 1000)}ms"}}
    await client.patch(kinds.KUSTOMIZATION, KEY, spec, patch_type="merge", field_manager="bench")
    generation = before["metadata"]["generation"] + 1
    settled = await wait_for(
        client,
        kinds.KUSTOMIZATION,
        KEY,
        until=lambda o: o["status"]["observedGeneration"] == generation,
    )
    await asyncio.sleep(1)
    base, started = cpu_seconds(pid), time.perf_counter()
    await asyncio.sleep(IDLE_SECONDS)
    elapsed = time.perf_counter() - started
    used = cpu_seconds(pid) - base - quiet * elapsed
    after = await client.get(kinds.KUSTOMIZATION, KEY)
    table = Table("timer runs that find nothing new", "")
    table.add("CPU per run, ms", used / (elapsed / IDLE_INTERVAL) * 1e3)
    table.add("status writes", float(after != settled))
    for name, child in pids.items():
        table.add(f"{name}, MiB resident", resident_mib(child))
    sys.stdout.write(table.text() + "\n")


async def _artifact(environment: dev.Environment, revision: str) -> float:
    def done(obj: JsonObject) -> bool:
        artifact = (obj.get("status") or {}).get("artifact") or {}
        return str(artifact.get("revision", "")).endswith(revision)

    await wait_for(environment.client, kinds.GIT_REPOSITORY, KEY, until=done)
    return time.perf_counter()


async def _live(environment: dev.Environment, image: str) -> float:
    def done(obj: JsonObject) -> bool:
        return bool(obj["spec"]["template"]["spec"]["containers"][0]["image"] == image)

    key = ObjectKey(NAMESPACE, "frontend")
    await wait_for(environment.client, DEPLOYMENTS, key, until=done)
    return time.perf_counter()


async def _ready(environment: dev.Environment, revision: str) -> float:
    await applied(environment, revision)
    return time.perf_counter()


async def _request(environment: dev.Environment, token: str) -> None:
    body = {"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": token}}}
    await environment.client.patch(
        kinds.GIT_REPOSITORY, KEY, body, patch_type="merge", field_manager="bench"
    )


def _set(image: str) -> Callable[[str], str]:
    def edit(text: str) -> str:
        lines = text.splitlines(keepends=True)
        return "".join(
            f"          image: {image}\n" if "ghcr.io/example/shop" in line else line
            for line in lines
        )

    return edit


if __name__ == "__main__":
    if sys.argv[1:2] == ["load"]:
        sys.exit(load.main(sys.argv[2:]))
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--commits", type=int, default=50)
    parser.add_argument("--control-plane", default="devcluster")
    parser.add_argument("--pushes", type=int, default=0, help="measure pushes, nothing else")
    given = parser.parse_args()
    sys.exit(asyncio.run(main(given.commits, given.control_plane, pushes=given.pushes)))
