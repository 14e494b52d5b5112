"""The demo is a test: it states what it expects, and the request log says who did it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import orjson
import pytest

from controlplane.build import Binaries
from devcluster import DevCluster, Options
from harness.audit import own_identity_is_enough, unjustified
from harness.programs import run

AGENTS = ("kustomize-controller", "notification-controller", "source-controller")
TENANT = "system:serviceaccount:team-a:deployer"


@pytest.mark.slow
async def test_the_demo_does_what_it_says_as_the_tenant(tmp_path: Path) -> None:
    log = tmp_path / "requests.jsonl"
    ended = await run("fluvial_cli", "demo", "--request-log", str(log), timeout=90)
    entries = [orjson.loads(line) for line in log.read_bytes().splitlines()]

    assert ended.code == 0, ended.output
    assert "team-a-admin does not exist" in ended.output
    assert unjustified(entries, agents=AGENTS) == []
    applied = {
        e["impersonated"] for e in entries if "fieldManager=kustomize-controller&" in e["query"]
    }
    assert applied == {TENANT}
    assert {e["impersonated"] for e in entries if e["verb"] == "delete"} == {TENANT}


@pytest.mark.slow
async def test_the_demo_on_the_real_control_plane(
    tmp_path: Path, control_plane_binaries: Binaries
) -> None:
    log = tmp_path / "audit.jsonl"
    argv = ("demo", "--control-plane", "real", "--request-log", str(log))
    ended = await run("fluvial_cli", *argv, timeout=100)
    events = [orjson.loads(line) for line in log.read_bytes().splitlines()]

    assert ended.code == 0, ended.output
    assert control_plane_binaries.version
    written = [event for event in events if _is_tenant_write(event)]
    assert written
    assert {event["impersonatedUser"]["username"] for event in written} == {TENANT}


@pytest.mark.slow
async def test_the_demo_on_a_cluster_that_is_there(tmp_path: Path) -> None:
    """Whose kubeconfig is given; nothing else is started, and nothing of it is stopped."""
    async with DevCluster(Options()) as cluster:
        kubeconfig = tmp_path / "kubeconfig"
        kubeconfig.touch(mode=0o600)
        kubeconfig.write_bytes(orjson.dumps(cluster.kubeconfig()))
        argv = ("demo", "--control-plane", str(kubeconfig))
        ended = await run("fluvial_cli", *argv, timeout=90)
        entries = [dataclasses.asdict(entry) for entry in cluster.control.requests()]

    assert ended.code == 0, ended.output
    assert unjustified(entries, agents=AGENTS) == []
    assert TENANT in {entry["impersonated"] for entry in entries}


def _is_tenant_write(event: dict[str, Any]) -> bool:
    about = event.get("objectRef") or {}
    return (
        event["userAgent"].startswith("kustomize-controller")
        and event["verb"] in {"create", "update", "patch", "delete"}
        and about.get("resource")
        in {"deployments", "services", "configmaps", "clusterrolebindings"}
    )


READS: dict[str, tuple[dict[str, Any], bool]] = {
    "metadata watch": (
        {"verb": "watch", "path": "/api/v1/configmaps", "metadata_only": True},
        True,
    ),
    "whole watch": ({"verb": "watch", "path": "/api/v1/configmaps"}, False),
    "named secret": ({"path": "/api/v1/namespaces/a/secrets/s"}, True),
    "secrets list": ({"verb": "list", "path": "/api/v1/namespaces/a/secrets"}, False),
    "deployment": ({"path": "/apis/apps/v1/namespaces/a/deployments/d"}, False),
    "write": (
        {"verb": "patch", "method": "PATCH", "path": "/api/v1/namespaces/a/secrets/s"},
        False,
    ),
    "discovery": ({"path": "/apis/apps/v1"}, True),
    "namespace": ({"path": "/api/v1/namespaces/a"}, False),
    "flux object": ({"path": "/apis/kustomize.toolkit.fluxcd.io/v1/namespaces/a/x/y"}, True),
}


@pytest.mark.parametrize("case", READS)
def test_the_audit_tells_what_needs_the_tenants_identity(case: str) -> None:
    given, expected = READS[case]
    entry = {"method": "GET", "verb": "get", "metadata_only": False} | given

    assert own_identity_is_enough(entry) is expected
