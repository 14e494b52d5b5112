"""From a push to a registry to objects in the cluster, by the processes as users run them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from controlplane.build import Binaries
from fluvial.kube import kinds
from fluvial.kube.client import KubeClient
from fluvial.kube.resource import Resource
from fluvial.objects import JsonObject, ObjectKey
from fluvial_cli import dev
from fluvial_cli.waiting import ready_condition, wait_for
from registries.images import image_of
from registries.real import RealRegistry, registry_path

_KEY = ObjectKey("default", "app")


def _manifest(value: str) -> dict[str, str]:
    text = f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: settings}}\ndata: {{a: {value}}}\n"
    return {"deploy/app.yaml": text}


async def _apply(client: KubeClient, resource: Resource, spec: dict[str, Any]) -> None:
    body = {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"name": "app", "namespace": "default"},
        "spec": spec,
    }
    await client.apply(resource, _KEY, body, field_manager="test")


async def _applied(client: KubeClient, revision: str) -> JsonObject:
    def done(obj: JsonObject) -> bool:
        status = obj.get("status") or {}
        is_ready: bool = ready_condition(obj).get("status") == "True"
        return is_ready and status.get("lastAppliedRevision") == revision

    await wait_for(client, kinds.KUSTOMIZATION, _KEY, until=done)
    return await client.get(kinds.CONFIG_MAP, ObjectKey("default", "settings"))


@pytest.mark.slow
async def test_a_push_becomes_objects(tmp_path: Path) -> None:
    await _a_push_becomes_objects(tmp_path, dev.DevOptions())


@pytest.mark.slow
async def test_a_push_becomes_objects_on_the_real_control_plane(
    tmp_path: Path, control_plane_binaries: Binaries
) -> None:
    assert control_plane_binaries.version
    await _a_push_becomes_objects(tmp_path, dev.DevOptions(control_plane="real"))


async def _a_push_becomes_objects(tmp_path: Path, options: dev.DevOptions) -> None:
    """A new tag wakes the source by request, and the source wakes the Kustomization."""
    if not registry_path():
        missing = "docker-registry is not installed: bash tests/setup.sh"
        if os.environ.get("FLUVIAL_REQUIRE_REGISTRY") == "1":
            pytest.fail(missing)
        pytest.skip(missing)
    async with (
        RealRegistry(tmp_path / "registry") as registry,
        dev.dev_environment(options) as environment,
    ):
        client = environment.client
        notes = {"org.opencontainers.image.revision": "main@sha1:abc"}
        first = await registry.put(
            "team/app", "1.0.0", image_of(_manifest("one"), annotations=notes)
        )
        source = {"url": f"{registry.oci}/team/app", "interval": "1h", "ref": {"semver": "1.x"}}
        await _apply(client, kinds.OCI_REPOSITORY, source)
        spec = {
            "interval": "1h",
            "prune": True,
            "path": "./deploy",
            "targetNamespace": "default",
            "sourceRef": {"kind": "OCIRepository", "name": "app"},
        }
        await _apply(client, kinds.KUSTOMIZATION, spec)
        settings = await _applied(client, f"1.0.0@{first.digest}")
        assert settings["data"] == {"a": "one"}
        kustomization = await client.get(kinds.KUSTOMIZATION, _KEY)
        assert kustomization["status"]["lastAppliedOriginRevision"] == "main@sha1:abc"

        second = await registry.put("team/app", "1.1.0", image_of(_manifest("two")))
        asked = {"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": "now"}}}
        await client.patch(kinds.OCI_REPOSITORY, _KEY, asked, patch_type="merge", field_manager="t")
        settings = await _applied(client, f"1.1.0@{second.digest}")
        assert settings["data"] == {"a": "two"}
