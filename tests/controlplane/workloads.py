"""A stand-in for scheduler and kubelet: Pods become Running and Ready, Job pods succeed.

It makes workloads healthy as far as their status goes; nothing runs. It speaks plain HTTP to any
API server, so the real control plane and ``devcluster`` can both have it. A Pod with the label
``fluvial.dev/stay-pending`` is left alone, one with ``fluvial.dev/fail`` fails (a Job's pod) or
never becomes ready.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl as tls
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Protocol

import aiohttp

from fluvial.clock import RealClock, format_time

__all__ = ["FAIL_LABEL", "PENDING_LABEL", "Workloads", "pod_status", "workloads"]

PENDING_LABEL = "fluvial.dev/stay-pending"
FAIL_LABEL = "fluvial.dev/fail"
_RETRY_SECONDS = 0.2
_WATCH_SECONDS = 300
Json = dict[str, Any]


class Server(Protocol):
    """What the stand-in needs to know of an API server."""

    @property
    def url(self) -> str: ...

    @property
    def admin_token(self) -> str: ...

    def ssl_context(self) -> tls.SSLContext: ...


@asynccontextmanager
async def workloads(server: Server) -> AsyncIterator[None]:
    """Run the stand-in beside ``server`` for as long as the context lasts."""
    stand_in = Workloads(url=server.url, token=server.admin_token, ssl=server.ssl_context())
    async with asyncio.TaskGroup() as group:
        task = group.create_task(stand_in.run(), name="workloads")
        try:
            yield
        finally:
            task.cancel()


class Workloads:
    """Watches Pods and writes their status; ``run`` lasts until cancelled.

    Args:
        url: the API server, as in ``https://127.0.0.1:6443``.
        token: a bearer token that may list, watch and delete Pods, and patch their status.
        ssl: a TLS context that trusts the server.

    """

    def __init__(self, *, url: str, token: str, ssl: tls.SSLContext) -> None:
        self._url = url
        self._token = token
        self._ssl = ssl

    async def run(self) -> None:
        """Serve until cancelled; a broken connection is opened again."""
        headers = {"Authorization": f"Bearer {self._token}", "User-Agent": "stand-in-kubelet"}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5)
        connector = aiohttp.TCPConnector(ssl=self._ssl)
        async with aiohttp.ClientSession(
            connector=connector, headers=headers, timeout=timeout, read_bufsize=2**21
        ) as session:
            while True:
                with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                    await self._follow(session)
                await asyncio.sleep(_RETRY_SECONDS)

    async def _follow(self, session: aiohttp.ClientSession) -> None:
        async with session.get(f"{self._url}/api/v1/pods") as answer:
            answer.raise_for_status()
            pods = await answer.json()
        for pod in pods["items"]:
            await self._settle(session, pod)
        query = {
            "watch": "1",
            "resourceVersion": pods["metadata"]["resourceVersion"],
            "timeoutSeconds": str(_WATCH_SECONDS),
        }
        async with session.get(f"{self._url}/api/v1/pods", params=query) as answer:
            answer.raise_for_status()
            async for line in answer.content:
                event = json.loads(line)
                if event["type"] == "ERROR":
                    return
                if event["type"] != "DELETED":
                    await self._settle(session, event["object"])

    async def _settle(self, session: aiohttp.ClientSession, pod: Json) -> None:
        meta = pod["metadata"]
        path = f"{self._url}/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}"
        if meta.get("deletionTimestamp"):
            # A kubelet confirms a graceful deletion by deleting again with no grace.
            options = {"gracePeriodSeconds": 0, "preconditions": {"uid": meta["uid"]}}
            async with session.delete(path, json=options):
                return
        status = pod_status(pod, now=format_time(RealClock().now()))
        if status is None:
            return
        body = json.dumps({"metadata": {"uid": meta["uid"]}, "status": status})
        kind = {"Content-Type": "application/merge-patch+json"}
        # 404 and 409: the Pod went or was replaced, and its next event says so.
        async with session.patch(f"{path}/status", data=body, headers=kind):
            return


def pod_status(pod: Json, *, now: str) -> Json | None:
    """The status that ``pod`` should get at ``now`` (RFC 3339), or None when it has it."""
    labels = pod["metadata"].get("labels") or {}
    if pod.get("status", {}).get("phase", "Pending") != "Pending" or PENDING_LABEL in labels:
        return None
    fails = FAIL_LABEL in labels
    ends = pod["spec"].get("restartPolicy", "Always") != "Always"
    ready = not ends and not fails
    phase = "Running" if not ends else ("Failed" if fails else "Succeeded")
    conditions = {
        "PodScheduled": True,
        "Initialized": True,
        "PodReadyToStartContainers": not ends,
        "ContainersReady": ready,
        "Ready": ready,
    }
    return {
        "phase": phase,
        "hostIP": "127.0.0.1",
        "startTime": now,
        "conditions": [
            {"type": kind, "status": "True" if holds else "False", "lastTransitionTime": now}
            for kind, holds in conditions.items()
        ],
        "containerStatuses": [
            _container(item, ends=ends, fails=fails, now=now) for item in pod["spec"]["containers"]
        ],
    }


def _container(container: Json, *, ends: bool, fails: bool, now: str) -> Json:
    state: Json = {"running": {"startedAt": now}}
    if ends:
        reason = "Error" if fails else "Completed"
        end = {"exitCode": int(fails), "reason": reason, "startedAt": now, "finishedAt": now}
        state = {"terminated": end}
    return {
        "name": container["name"],
        "image": container.get("image", ""),
        "imageID": "",
        "ready": not ends and not fails,
        "started": not ends,
        "restartCount": 0,
        "state": state,
    }
