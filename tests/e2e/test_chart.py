"""The chart, installed by Helm's own engine; then the controllers as it would run them.

There are no pods here: the test starts each container's program with its arguments, as its service
account, on the control plane that the chart was installed in. What the chart's roles do not allow,
the controllers cannot do.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from chaos.planes import DevPlane, Plane, RealPlane
from conformance.clients.helm import stored_release
from controlplane.build import Binaries
from fluvial.kube import config, kinds
from fluvial.kube.client import KubeClient
from fluvial.kube.resource import Resource
from fluvial.objects import JsonObject, ObjectKey
from fluvial.runtime.sharding import lease_name
from fluvial_cli import dev
from fluvial_cli.gitserver import GitServer
from fluvial_cli.processes import Processes, Program
from fluvial_cli.waiting import ready_condition, wait_for
from gitservers.repos import Repo
from harness.helm import HelmSdk, helm_sdk, need_helm

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

CHART = Path(__file__).parents[2] / "charts" / "fluvial"
NAMESPACE = "flux-system"
CONTROLLERS = (
    "source-controller",
    "kustomize-controller",
    "helm-controller",
    "notification-controller",
)
DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment", namespaced=True)
_APP = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: "example.com/web:1"}]}
"""
_CHART = {
    "chart/Chart.yaml": "apiVersion: v2\nname: blog\nversion: 1.0.0\n",
    "chart/templates/blog.yaml": (
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: blog}\n"
        "data: {title: {{ .Values.title | quote }}}\n"
    ),
}
FIRST = [
    "--events-addr",
    "--watch-all-namespaces",
    "--log-level",
    "--log-encoding",
    "--enable-leader-election",
]
MAIN_SET, SHARD = "!sharding.fluxcd.io/key", "sharding.fluxcd.io/key=one"
RESTRICTED = {"pod-security.kubernetes.io/warn": "restricted"}
_IDENTITIES = "--feature-gates=ObjectLevelWorkloadIdentity=true"
LOCKED = {
    "multitenancy": {"enabled": True},
    "shards": ["one"],
    "sourceController": {"extraArgs": [_IDENTITIES]},
    "kustomizeController": {"extraArgs": [_IDENTITIES]},
    "notificationController": {"extraArgs": [_IDENTITIES]},
}


@pytest.fixture
async def on_devcluster(tmp_path: Path) -> AsyncIterator[Plane]:
    """devcluster."""
    async with DevPlane.run(tmp_path) as plane:
        yield plane


@pytest.fixture
async def on_real(tmp_path: Path, control_plane_binaries: Binaries) -> AsyncIterator[Plane]:
    """The real control plane, with a stand-in for kubelets."""
    async with RealPlane.run(tmp_path, control_plane_binaries) as plane:
        yield plane


async def test_life_on_devcluster(on_devcluster: Plane, tmp_path: Path) -> None:
    await _life(on_devcluster, tmp_path)


async def test_life_on_the_real_control_plane(on_real: Plane, tmp_path: Path) -> None:
    await _life(on_real, tmp_path)


async def _life(plane: Plane, folder: Path) -> None:
    """Installed, locked down by one value, uninstalled; the controllers work under its roles."""
    need_helm()
    git = folder / "git"
    commit = Repo(git, "app.git").commit({"deploy/app.yaml": _APP, **_CHART})
    async with (
        helm_sdk(plane.kubeconfig(), NAMESPACE, folder) as helm,
        _admin(plane, folder) as client,
        GitServer(git) as server,
    ):
        await _refused_values(helm)
        await helm.do("install", chart=str(CHART), name="fluvial", create_namespace=True)
        await _apply(client, kinds.NAMESPACE, "", NAMESPACE, labels=RESTRICTED)
        stored = await client.get(
            kinds.SECRET, ObjectKey(NAMESPACE, "sh.helm.release.v1.fluvial.v1")
        )
        await _strictly_valid(plane, folder, stored_release(stored)["manifest"])
        await _tenant(client, f"{server.url}/app.git")
        async with _controllers(plane, client, folder / "open"):
            await _kustomization(client)
            await _becomes(client, "True", commit)
            await _release(client, "first")
            await _becomes(client, "True", "install succeeded", kind=kinds.HELM_RELEASE)
            await _push(client, folder / "open")
            web = await client.get(DEPLOYMENTS, ObjectKey("team", "web"))
            assert web["status"]["readyReplicas"] == 1
        for account in ("kustomize-controller", "helm-controller"):
            assert await _may(client, account, "delete", "nodes")
        tokens, logs_in = ("create", "serviceaccounts/token"), (CONTROLLERS[0], CONTROLLERS[-1])
        for account in logs_in:
            assert not await _may(client, account, *tokens)
        await helm.do("upgrade", chart=str(CHART), name="fluvial", values=LOCKED)
        for account in CONTROLLERS:
            assert not await _may(client, account, "delete", "nodes")
            assert not await _may(client, account, "update", "secrets")
            await _only_its_leases(client, account)
        assert await _may(
            client, "helm-controller", "delete", "helmcharts.source.toolkit.fluxcd.io"
        )
        for account in logs_in:
            assert await _may(client, account, *tokens), "the feature gate needs them"
            assert await _may(client, account, "get", "serviceaccounts")
        assert await _may(client, "kustomize-controller", *tokens), "for remote clusters"
        assert not await _may(client, "helm-controller", *tokens)
        async with _controllers(plane, client, folder / "locked"):
            await _kustomization(client, suspend=True)
            await _kustomization(client)
            await _release(client, "second")
            for kind in (kinds.KUSTOMIZATION, kinds.HELM_RELEASE):
                refused = await _becomes(client, "False", "forbidden", kind=kind)
                assert "system:serviceaccount:team:default" in refused["message"]
            await _kustomization(client, serviceAccountName="deployer")
            await _release(client, "second", serviceAccountName="deployer")
            await _becomes(client, "True", commit)
            await _becomes(client, "True", "upgrade succeeded", kind=kinds.HELM_RELEASE)
            blog = await client.get(kinds.CONFIG_MAP, ObjectKey("team", "blog"))
            assert blog["data"] == {"title": "second"}
            for kind in (kinds.KUSTOMIZATION, kinds.HELM_RELEASE):
                await client.delete(kind, ObjectKey("team", "app"))
            await _gone(client, DEPLOYMENTS, ObjectKey("team", "web"))
            await _gone(client, kinds.CONFIG_MAP, ObjectKey("team", "blog"))
            await _gone(client, kinds.HELM_CHART, ObjectKey("team", "team-app"))
        await helm.do("uninstall", name="fluvial")
        await client.get(kinds.CRD, ObjectKey("", "kustomizations.kustomize.toolkit.fluxcd.io"))
        await client.get(kinds.GIT_REPOSITORY, ObjectKey("team", "app"))


async def _refused_values(helm: HelmSdk) -> None:
    """A value that nothing reads is refused, such as one of a controller that there is not."""
    values = {"imageController": {"enabled": True}}
    answer = await helm.call("install", chart=str(CHART), name="fluvial", values=values)
    assert "imageController" in answer["message"], answer


async def _may(
    client: KubeClient, account: str, verb: str, resource: str, *, name: str = ""
) -> bool:
    """Whether a service account of the chart may do something everywhere; to a lease, in its own."""
    user = f"system:serviceaccount:{NAMESPACE}:{account}"
    named, _, subresource = resource.partition("/")
    plural, _, group = named.partition(".")
    attributes = {"verb": verb, "group": group, "resource": plural, "subresource": subresource}
    if plural == "leases":
        attributes |= {"group": kinds.LEASE.group, "namespace": NAMESPACE, "name": name}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": user, "resourceAttributes": attributes},
    }
    path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    answer = await client.request("POST", path, body=review)
    allowed: bool = answer["status"]["allowed"]
    return allowed


async def _only_its_leases(client: KubeClient, account: str) -> None:
    """Every set of a controller keeps its own lease, and none another one's."""
    selectors = ("",) if account == "notification-controller" else (MAIN_SET, SHARD)
    own = [lease_name(account, selector) for selector in selectors]
    others = [lease_name(other) for other in CONTROLLERS if other != account]
    for verb in ("get", "patch"):
        for name in own:
            assert await _may(client, account, verb, "leases", name=name), name
    others += [lease_name(other, MAIN_SET) for other in CONTROLLERS if other != account]
    for name in (*others, lease_name(account, "another"), "somebody's"):
        assert not await _may(client, account, "patch", "leases", name=name), name
    for verb in ("delete", "patch", "update"):
        assert not await _may(client, account, verb, "leases")


async def _strictly_valid(plane: Plane, folder: Path, manifest: str) -> None:
    """The server takes every object, under strict validation and without a warning.

    It refuses unknown fields, and warns of pods that are not as the restricted standard wants them.
    """
    file, kubeconfig = folder / "manifest.yaml", folder / "admin"
    file.write_text(manifest)
    process = await asyncio.create_subprocess_exec(
        dev.kubectl_program(),
        *("apply", "--server-side", "--dry-run=server", "--validate=strict", "--force-conflicts"),
        *("-n", NAMESPACE, "-f", str(file)),
        env=dev.kubectl_environment(kubeconfig),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    count = sum(1 for obj in yaml.safe_load_all(manifest) if obj)
    assert len(output.splitlines()) == count, output.decode()


@asynccontextmanager
async def _admin(plane: Plane, folder: Path) -> AsyncIterator[KubeClient]:
    file = _write(folder / "admin", plane.kubeconfig())
    async with await config.load_client(kubeconfig=file, user_agent="test") as client:
        yield client


@asynccontextmanager
async def _controllers(plane: Plane, client: KubeClient, folder: Path) -> AsyncIterator[None]:
    """Each Deployment's program, with its arguments, as its service account."""
    async with Processes() as processes:
        for name in CONTROLLERS:
            (folder / name).mkdir(parents=True)
            deployment = await client.get(DEPLOYMENTS, ObjectKey(NAMESPACE, name))
            pod = deployment["spec"]["template"]["spec"]
            kubeconfig = await _as_account(plane, client, pod["serviceAccountName"], folder / name)
            program = Program(
                name,
                [
                    *(sys.executable, "-m", name.replace("-", "_"), f"--kubeconfig={kubeconfig}"),
                    *_here(pod["containers"][0]["args"], folder / name),
                ],
                folder / f"{name}.log",
                {"RUNTIME_NAMESPACE": NAMESPACE},
            )
            await processes.start(program, is_ready=dev.says_ready)
        yield


def _here(arguments: list[str], folder: Path) -> list[str]:
    """A container's arguments, with what is of the pod replaced: folders and addresses.

    The first ones are patched by their index in what people have.
    """
    first = FIRST[1:] if folder.name == "notification-controller" else FIRST
    assert [flag.partition("=")[0] for flag in arguments[: len(first)]] == first
    elsewhere = ("--storage-adv-addr=", "--events-addr=")
    flags = [flag for flag in arguments if not flag.startswith(elsewhere)]
    flags = [flag.replace("-path=/", f"-path={folder}/") for flag in flags]
    flags += ["--health-addr=127.0.0.1:0", "--metrics-addr=127.0.0.1:0"]
    if folder.name != "notification-controller":
        flags += ["--allow-outbound=127.0.0.0/8"]  # the Git server and the artifacts are here
    if folder.name == "source-controller":
        flags += ["--storage-addr=127.0.0.1:0"]
    if folder.name == "notification-controller":
        flags += ["--receiverAddr=127.0.0.1:0", "--events-addr=127.0.0.1:0"]
    return flags


async def _as_account(plane: Plane, client: KubeClient, account: str, folder: Path) -> Path:
    """A kubeconfig with a token of a service account, as a pod has one."""
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    answer = await client.request(
        "POST", f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{account}/token", body=request
    )
    file = dict(plane.kubeconfig())
    users = [
        {"name": user["name"], "user": {"token": answer["status"]["token"]}}
        for user in file["users"]
    ]
    return _write(folder / "kubeconfig", {**file, "users": users})


def _write(file: Path, content: JsonObject) -> Path:
    file.touch(mode=0o600)
    file.write_text(json.dumps(content))
    return file


async def _push(client: KubeClient, folder: Path) -> None:
    """A call of the webhook wakes the source."""
    await _apply(client, kinds.SECRET, "team", "hook", stringData={"token": "of the test"})
    resources = [{"kind": "GitRepository", "name": "app"}]
    spec = {"type": "generic", "secretRef": {"name": "hook"}, "resources": resources}
    await _apply(client, kinds.RECEIVER, "team", "hook", spec=spec)
    receiver = await wait_for(
        client,
        kinds.RECEIVER,
        ObjectKey("team", "hook"),
        until=lambda obj: ready_condition(obj).get("status") == "True",
    )
    log = (folder / "notification-controller.log").read_bytes().splitlines()
    address = json.loads(next(line for line in log if dev.says_ready(line)))["receiverAddr"]
    url = f"http://{address}{receiver['status']['webhookPath']}"
    async with aiohttp.ClientSession() as session, session.post(url) as answer:
        assert answer.status == 200
    await wait_for(
        client,
        kinds.GIT_REPOSITORY,
        ObjectKey("team", "app"),
        until=lambda obj: bool((obj.get("status") or {}).get("lastHandledReconcileAt")),
    )


async def _tenant(client: KubeClient, url: str) -> None:
    """A namespace with a service account that may do everything in it, and a source."""
    await _apply(client, kinds.NAMESPACE, "", "team")
    await _apply(client, kinds.SERVICE_ACCOUNT, "team", "deployer")
    await _apply(
        client,
        Resource("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding", namespaced=True),
        "team",
        "deployer",
        roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin"},
        subjects=[{"kind": "ServiceAccount", "name": "deployer", "namespace": "team"}],
    )
    spec = {"url": url, "interval": "1h", "ref": {"branch": "main"}}
    await _apply(client, kinds.GIT_REPOSITORY, "team", "app", spec=spec)


async def _kustomization(client: KubeClient, **fields: Any) -> None:
    spec = {
        "interval": "1h",
        "timeout": "30s",
        "path": "./deploy",
        "prune": True,
        "wait": True,
        "targetNamespace": "team",
        "sourceRef": {"kind": "GitRepository", "name": "app"},
    }
    await _apply(client, kinds.KUSTOMIZATION, "team", "app", spec={**spec, **fields})


async def _release(client: KubeClient, title: str, **fields: Any) -> None:
    """A HelmRelease of the chart in the same repository."""
    source = {"kind": "GitRepository", "name": "app"}
    spec = {
        "interval": "1h",
        "timeout": "30s",
        "releaseName": "blog",
        "chart": {"spec": {"chart": "./chart", "sourceRef": source}},
        "values": {"title": title},
    }
    await _apply(client, kinds.HELM_RELEASE, "team", "app", spec={**spec, **fields})


async def _apply(
    client: KubeClient,
    resource: Resource,
    namespace: str,
    name: str,
    *,
    labels: Mapping[str, str] | None = None,
    **fields: Any,
) -> None:
    metadata = {"name": name, "labels": labels or {}}
    if namespace:
        metadata["namespace"] = namespace
    head = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata}
    await client.apply(resource, ObjectKey(namespace, name), {**head, **fields}, field_manager="t")


async def _becomes(
    client: KubeClient, status: str, text: str, *, kind: Resource = kinds.KUSTOMIZATION
) -> JsonObject:
    """The condition Ready of an object, once it is so and says so of what is wanted."""

    def holds(obj: JsonObject) -> bool:
        ready = ready_condition(obj)
        current = ready.get("observedGeneration") == obj["metadata"]["generation"]
        return current and ready.get("status") == status and text in ready.get("message", "")

    found = await wait_for(client, kind, ObjectKey("team", "app"), until=holds, timeout=60.0)
    return ready_condition(found)


async def _gone(client: KubeClient, resource: Resource, key: ObjectKey) -> None:
    async with asyncio.timeout(60.0):
        while any(
            obj["metadata"]["name"] == key.name for obj in (await client.list_all(resource)).items
        ):
            await asyncio.sleep(0.05)
