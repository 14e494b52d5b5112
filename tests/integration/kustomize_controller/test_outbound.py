"""An ExternalArtifact's address is a tenant's word: where it must not lead."""

from __future__ import annotations

from pathlib import Path

import pytest

from fluvial.kube import kinds
from fluvial.objects import JsonObject, ObjectKey
from harness.kustomize import Harness, ready_of
from kustomize_controller.assemble import Settings


def _artifact(url: str) -> JsonObject:
    return {
        "digest": f"sha256:{'0' * 64}",
        "lastUpdateTime": "2026-01-01T00:00:00Z",
        "path": "x",
        "revision": "r",
        "url": url,
    }


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://169.254.169.254/latest/meta-data/", "the metadata service"),
        ("https://{api_server}/api/v1/secrets", "the cluster's API server"),
    ],
    ids=["metadata", "api-server"],
)
async def test_the_address_is_refused_and_status_says_so(
    tmp_path: Path, url: str, reason: str
) -> None:
    async with Harness.start(tmp_path, settings=Settings(external_artifacts=True)) as world:
        await world.tenant()
        assert world.cluster is not None
        before = len(world.cluster.control.requests())
        host = world.cluster.url.removeprefix("https://").rstrip("/")
        obj = {
            "apiVersion": "source.toolkit.fluxcd.io/v1",
            "kind": "ExternalArtifact",
            "metadata": {"name": "web", "namespace": "team"},
        }
        await world.apply(obj, kinds.EXTERNAL_ARTIFACT)
        await world.client.patch(
            kinds.EXTERNAL_ARTIFACT,
            ObjectKey("team", "web"),
            {"status": {"artifact": _artifact(url.format(api_server=host))}},
            patch_type="merge",
            field_manager="maker",
            subresource="status",
        )
        await world.kustomization("app", sourceRef={"kind": "ExternalArtifact", "name": "web"})
        failed = await world.failed("ArtifactFailed")
        asked = {entry.agent for entry in world.cluster.control.requests()[before:]}

    assert f"{reason}" in ready_of(failed)["message"]
    assert "are not allowed" in ready_of(failed)["message"]
    assert not [agent for agent in asked if agent.startswith("Python")]
