"""Waiting for an object to say something, by watch."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from fluvial.errors import FluvialError
from fluvial.kube.client import KubeClient
from fluvial.kube.errors import ApiError
from fluvial.kube.resource import Resource
from fluvial.objects import JsonObject, ObjectKey

__all__ = ["WaitFailed", "ready_condition", "wait_for"]


class WaitFailed(FluvialError):
    """The object did not come to the expected state in time; the message shows its last one."""


async def wait_for(
    client: KubeClient,
    resource: Resource,
    key: ObjectKey,
    *,
    until: Callable[[JsonObject], bool],
    timeout: float = 30.0,
) -> JsonObject:
    """The object once ``until`` holds.

    Raises:
        WaitFailed: it did not within ``timeout`` seconds.

    """
    last: JsonObject = {}
    try:
        async with asyncio.timeout(timeout):
            while True:
                async with client.watch(
                    resource, namespace=key.namespace, field_selector=f"metadata.name={key.name}"
                ) as events:
                    async for event in events:
                        if event.type not in {"ADDED", "MODIFIED"}:
                            continue
                        last = event.object
                        if until(last):
                            return last
    except TimeoutError:
        state = ready_condition(last).get("message") or "it does not exist or has no condition yet"
        raise WaitFailed(
            f"{resource.kind}/{key} is not as expected after {timeout:.0f}s: {state}"
        ) from None
    except ApiError as error:
        raise WaitFailed(f"watching {resource.kind}/{key}: {error}") from error


def ready_condition(obj: JsonObject) -> dict[str, str]:
    """The Ready condition, or an empty dict."""
    conditions = (obj.get("status") or {}).get("conditions") or []
    return next((c for c in conditions if c["type"] == "Ready"), {})
