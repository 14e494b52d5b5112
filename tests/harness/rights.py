"""Rights that were granted a moment ago: the real API server's authorizer hears of them by a watch."""

from __future__ import annotations

import asyncio

from fluvial.kube.client import KubeClient

__all__ = ["until_allowed"]

_PATH = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


async def until_allowed(client: KubeClient, namespace: str) -> None:
    """Wait until whoever the client is may read ConfigMaps of a namespace."""
    attributes = {"namespace": namespace, "verb": "get", "resource": "configmaps"}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    async with asyncio.timeout(20):
        while True:
            answer = await client.request("POST", _PATH, body=review)
            if answer["status"]["allowed"]:
                return
            await asyncio.sleep(0.01)
