"""The examples of the kinds' pages are objects that an API server takes as they stand."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from devcluster import DevCluster, Options
from fluvial.api import crd
from fluvial.kube import config, kinds
from fluvial.kube.client import KubeClient
from fluvial.kube.resource import Resource
from fluvial.objects import JsonObject, ObjectKey, key_of
from harness.pages import examples

_PAGES = Path(__file__).resolve().parents[3] / "docs/spec"
_RESOURCES: dict[str, Resource] = {
    resource.kind: resource
    for resource in (
        kinds.ARTIFACT_GENERATOR,
        kinds.ALERT,
        kinds.BUCKET,
        kinds.CONFIG_MAP,
        kinds.EXTERNAL_ARTIFACT,
        kinds.GIT_REPOSITORY,
        kinds.HELM_CHART,
        kinds.HELM_RELEASE,
        kinds.HELM_REPOSITORY,
        kinds.KUSTOMIZATION,
        kinds.NAMESPACE,
        kinds.OCI_REPOSITORY,
        kinds.PROVIDER,
        kinds.RECEIVER,
        kinds.SECRET,
        kinds.SERVICE_ACCOUNT,
    )
}


async def install(client: KubeClient) -> None:
    for kind in crd.KINDS:
        definition = crd.crd(kind)
        key = ObjectKey("", definition["metadata"]["name"])
        await client.apply(kinds.CRD, key, definition, field_manager="test")


@pytest.mark.slow
async def test_every_example_of_every_page_is_taken(tmp_path: Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    async with DevCluster(Options()) as cluster:
        kubeconfig.write_bytes(orjson.dumps(cluster.kubeconfig()))
        async with await config.load_client(kubeconfig=kubeconfig, user_agent="test") as client:
            await install(client)
            taken: dict[str, int] = {}
            for page in sorted(_PAGES.glob("*.md")):
                for obj in examples(page):
                    await _create(client, obj)
                    taken[page.stem] = taken.get(page.stem, 0) + 1

    assert taken.keys() == {page.stem for page in _PAGES.glob("*.md")}, "a page has an example"


async def _create(client: KubeClient, obj: JsonObject) -> None:
    """With strict validation, in a namespace that is there."""
    namespace = key_of(obj).namespace
    if namespace:
        space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
        await client.apply(kinds.NAMESPACE, ObjectKey("", namespace), space, field_manager="test")
    await client.apply(
        _RESOURCES[obj["kind"]],
        key_of(obj),
        obj,
        field_manager="test",
        field_validation="Strict",
        force=True,
    )
