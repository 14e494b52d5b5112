"""From an upload to objects in the cluster, by the processes as users run them."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from typing import Any

import pytest

from fluvial.kube import kinds
from fluvial.kube.client import KubeClient
from fluvial.kube.resource import Resource
from fluvial.objects import JsonObject, ObjectKey
from fluvial_cli import dev
from fluvial_cli.waiting import ready_condition, wait_for
from objectstores.moto import Moto, moto_server

_KEY = ObjectKey("default", "app")


@pytest.fixture(scope="module")
def moto() -> Iterator[Moto]:
    with moto_server() as server:
        yield server


def _config_map(name: str, value: str) -> str:
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{a: '{value}'}}\n"


async def _apply(client: KubeClient, resource: Resource, name: str, body: dict[str, Any]) -> None:
    obj = {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"name": name, "namespace": "default"},
        **body,
    }
    await client.apply(resource, ObjectKey("default", name), obj, field_manager="test")


async def _applied(client: KubeClient, revision: str) -> None:
    def done(obj: JsonObject) -> bool:
        is_ready: bool = ready_condition(obj).get("status") == "True"
        applied: str = (obj.get("status") or {}).get("lastAppliedRevision", "")
        return is_ready and applied == revision

    await wait_for(client, kinds.KUSTOMIZATION, _KEY, until=done)


async def _fetched(client: KubeClient, other_than: str = "") -> str:
    def done(obj: JsonObject) -> bool:
        found = ((obj.get("status") or {}).get("artifact") or {}).get("revision", "")
        return ready_condition(obj).get("status") == "True" and found not in {"", other_than}

    await wait_for(client, kinds.BUCKET, _KEY, until=done)
    revision: str = (await client.get(kinds.BUCKET, _KEY))["status"]["artifact"]["revision"]
    return revision


@pytest.mark.slow
async def test_an_upload_becomes_objects(moto: Moto) -> None:
    """What is uploaded is applied at the next interval, and what is removed is pruned."""
    bucket = "e2e"
    await asyncio.to_thread(moto.make_bucket, bucket)
    await asyncio.to_thread(moto.put, bucket, "deploy/one.yaml", _config_map("one", "1"))
    async with dev.dev_environment(dev.DevOptions()) as environment:
        client = environment.client
        data = {key: base64.b64encode(text.encode()).decode() for key, text in moto.secret.items()}
        await _apply(client, kinds.SECRET, "keys", {"data": data})
        source = {
            "bucketName": bucket,
            "endpoint": moto.endpoint,
            "insecure": True,
            "interval": "1s",
            "secretRef": {"name": "keys"},
        }
        await _apply(client, kinds.BUCKET, "app", {"spec": source})
        spec = {
            "interval": "1h",
            "prune": True,
            "path": "./deploy",
            "targetNamespace": "default",
            "sourceRef": {"kind": "Bucket", "name": "app"},
        }
        await _apply(client, kinds.KUSTOMIZATION, "app", {"spec": spec})
        first = await _fetched(client)
        await _applied(client, first)
        one = await client.get(kinds.CONFIG_MAP, ObjectKey("default", "one"))
        assert one["data"] == {"a": "1"}

        await asyncio.to_thread(moto.put, bucket, "deploy/two.yaml", _config_map("two", "2"))
        await asyncio.to_thread(moto.delete, bucket, "deploy/one.yaml")
        await wait_for(
            client,
            kinds.KUSTOMIZATION,
            _KEY,
            until=lambda obj: _names(obj) == ["default_two__ConfigMap"],
        )
        found = await client.list_all(kinds.CONFIG_MAP, namespace="default")
        names = {item["metadata"]["name"] for item in found.items}
        assert "two" in names
        assert "one" not in names


def _names(obj: JsonObject) -> list[str]:
    inventory = (obj.get("status") or {}).get("inventory") or {}
    return [entry["id"] for entry in inventory.get("entries") or []]
