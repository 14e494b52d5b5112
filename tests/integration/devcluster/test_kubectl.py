"""Plain kubectl against devcluster, in a thread of its own."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import orjson
import pytest

from devcluster import DevCluster
from devcluster_fixtures import devcluster

__all__ = ["devcluster"]

_KUBECTL = Path(sys.executable).parent / "kubectl"
pytestmark = pytest.mark.slow
_WEB = """
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {a: "1"}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: "example.com/web:1"}]}
"""


class Kubectl:
    """Runs kubectl with its own kubeconfig and cache."""

    def __init__(self, cluster: DevCluster, folder: Path) -> None:
        self._config = folder / "kubeconfig"
        self._config.write_bytes(orjson.dumps(cluster.kubeconfig()))
        self._home = folder

    async def __call__(self, *arguments: str, stdin: str = "", code: int = 0) -> str:
        """The output of one command, which must end with ``code``."""
        process = await asyncio.create_subprocess_exec(
            str(_KUBECTL),
            "--kubeconfig",
            str(self._config),
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={"HOME": str(self._home), "PATH": os.environ["PATH"]},
        )
        output, _ = await asyncio.wait_for(process.communicate(stdin.encode()), 60)
        assert process.returncode == code, output.decode()
        return output.decode()


@pytest.fixture
def kubectl(devcluster: DevCluster, tmp_path: Path) -> Kubectl:
    return Kubectl(devcluster, tmp_path)


async def test_apply_get_wait_delete(kubectl: Kubectl) -> None:
    created = await kubectl("apply", "--server-side", "-f", "-", stdin=_WEB)
    rollout = await kubectl("rollout", "status", "deployment/web", "--timeout=20s")
    shown = await kubectl("get", "deployment", "web", "-o", "wide")
    listed = await kubectl("get", "all,configmap", "-o", "name")
    waited = await kubectl("wait", "--for=condition=Available", "deployment/web", "--timeout=20s")
    described = await kubectl("describe", "deployment", "web")
    deleted = await kubectl("delete", "-f", "-", stdin=_WEB)

    assert "deployment.apps/web serverside-applied" in created
    assert "successfully rolled out" in rollout
    assert shown.split()[:8] == [
        "NAME",
        "READY",
        "UP-TO-DATE",
        "AVAILABLE",
        "AGE",
        "CONTAINERS",
        "IMAGES",
        "SELECTOR",
    ]
    assert "1/1" in shown
    assert {"deployment.apps/web", "configmap/settings"} <= set(listed.split())
    assert "condition met" in waited
    assert "NewReplicaSetAvailable" in described
    assert deleted.count("deleted") == 2


async def test_client_side_apply_diff_and_scale(kubectl: Kubectl) -> None:
    await kubectl("apply", "-f", "-", stdin=_WEB)
    unchanged = await kubectl("apply", "-f", "-", stdin=_WEB)
    changed = _WEB.replace("web:1", "web:2")
    diff = await kubectl("diff", "-f", "-", stdin=changed, code=1)
    configured = await kubectl("apply", "-f", "-", stdin=changed)
    await kubectl("scale", "deployment/web", "--replicas=3")
    replicas = await kubectl("get", "deploy", "web", "-o", "jsonpath={.spec.replicas}")

    assert unchanged.count("unchanged") == 2
    assert "+      - image: example.com/web:2" in diff
    assert "deployment.apps/web configured" in configured
    assert replicas == "3"


async def test_typed_clients_speak_protobuf(kubectl: Kubectl) -> None:
    await kubectl("create", "namespace", "team")
    await kubectl("create", "serviceaccount", "robot", "-n", "team")
    await kubectl("create", "secret", "generic", "s", "--from-literal=k=v", "-n", "team")
    await kubectl(
        "create", "rolebinding", "robot", "--clusterrole=view", "--serviceaccount=team:robot",
        "-n", "team",
    )  # fmt: skip
    token = await kubectl("create", "token", "robot", "-n", "team")
    robot = "--as=system:serviceaccount:team:robot"
    may = await kubectl("auth", "can-i", "list", "pods", "-n", "team", robot)
    may_not = await kubectl("auth", "can-i", "list", "secrets", "-n", "team", robot, code=1)
    data = await kubectl("get", "secret", "s", "-n", "team", "-o", "jsonpath={.data.k}")
    who = await kubectl("auth", "whoami", robot)

    assert token.count(".") == 2
    assert may.strip() == "yes"
    assert may_not.strip() == "no"
    assert data == "dg=="
    assert "system:serviceaccounts:team" in who


async def test_explain_and_resources(kubectl: Kubectl) -> None:
    explained = await kubectl("explain", "deployment.spec.strategy")
    resources = await kubectl("api-resources")
    refused = await kubectl(
        "create", "-f", "-", stdin="{apiVersion: v1, kind: ConfigMap, metadata: {name: x}, dat: {}}",
        code=1,
    )  # fmt: skip

    assert "rollingUpdate\t<RollingUpdateDeployment>" in explained
    assert "deployments" in resources
    assert 'strict decoding error: unknown field "dat"' in refused
