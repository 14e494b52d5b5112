"""The life of a Helm release, by the Helm SDK, with what it leaves in the cluster at each point."""

from __future__ import annotations

import base64
import gzip
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import aiohttp

from conformance.clients.plane import Plane, namespace
from conformance.clients.text import Texts
from conformance.clients.transcript import Transcript
from harness.helm import HelmSdk, helm_sdk

__all__ = ["play", "stored_release"]

Json = dict[str, Any]
SPACE = "helm-life"
CHART = Path(__file__).parent / "chart"
_GADGETS = "/apis/helm.example.com/v1"
_DEFINITION = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/gadgets.helm.example.com"
_RELEASE_TYPE = "helm.sh/release.v1"
_KINDS = (
    "/api/v1/configmaps",
    "/api/v1/secrets",
    "/api/v1/services",
    "/apis/apps/v1/deployments",
    "/apis/batch/v1/jobs",
    _GADGETS + "/gadgets",
)
_OTHERS = frozenset({"kube-controller-manager", "stand-in-kubelet"})
# Helm names itself as a manager after the program that it is in.
_MANAGERS = {Path(sys.executable).name: "<helm>"}
_WAIT = {"wait": "watcher", "timeout": 30}


async def play(plane: Plane) -> list[Json]:
    """Install, test, upgrade, fail, roll back and uninstall a release."""
    connector = aiohttp.TCPConnector(ssl=plane.ssl)
    headers = {"Authorization": f"Bearer {plane.token}"}
    with tempfile.TemporaryDirectory(prefix="fluvial-helm-") as name:
        folder = Path(name)
        async with (
            namespace(plane, SPACE),
            aiohttp.ClientSession(plane.url, connector=connector, headers=headers) as session,
            helm_sdk(plane.kubeconfig(SPACE), SPACE, folder) as helm,
        ):
            script = Transcript(Texts(server=plane.url, folder=str(folder)))
            try:
                await _Life(helm, session, script).all_steps()
            finally:
                async with session.delete(_DEFINITION) as answer:
                    await answer.read()
            return script.answers


class _Life:
    def __init__(self, helm: HelmSdk, session: aiohttp.ClientSession, script: Transcript) -> None:
        self._helm = helm
        self._session = session
        self._record = script.record

    async def all_steps(self) -> None:
        chart = str(CHART)
        await self._do("dry run", "install", chart=chart, name="one", dry_run="server")
        await self._do("install", "install", chart=chart, name="one", **_WAIT)
        await self._objects("installed")
        await self._do("install again", "install", chart=chart, name="one")
        await self._do("install beside", "install", chart=chart, name="two", values={"n": 1})
        await self._in_the_way(chart)
        await self._do("status", "status", name="one")
        await self._do("metadata", "get_metadata", name="one")
        await self._do("test", "test", name="one", timeout=20)
        values: Json = {"greeting": "bye", "extra": False, "replicas": 2}
        await self._do("upgrade", "upgrade", chart=chart, name="one", values=values, **_WAIT)
        await self._objects("upgraded")
        await self._do("values", "get_values", name="one")
        await self._do("computed values", "get_values", name="one", all_values=True)
        invalid = {"image": "", "reuse_values": True}
        await self._do("upgrade fails", "upgrade", chart=chart, name="one", values=invalid)
        pending = {"pending": True, "prepare": False}
        await self._do(
            "upgrade never ready", "upgrade", chart=chart, name="one", values=pending,
            wait="watcher", timeout=2,
        )  # fmt: skip
        await self._do("history", "history", name="one")
        await self._do("rollback", "rollback", name="one", version=1, **_WAIT)
        await self._objects("rolled back")
        await self._do("rollback to none", "rollback", name="one", version=77)
        await self._do("list", "list")
        await self._do("uninstall keeping history", "uninstall", name="two", keep_history=True)
        await self._do("list in all states", "list", all_states=True)
        await self._do("uninstall", "uninstall", name="one", wait="watcher", timeout=20)
        await self._do("uninstall again", "uninstall", name="one")
        await self._do("purge", "uninstall", name="two")
        await self._objects("uninstalled")

    async def _in_the_way(self, chart: str) -> None:
        """An object that is somebody else's, and a hook that fails."""
        path = f"/api/v1/namespaces/{SPACE}/configmaps"
        body = {"metadata": {"name": "three-settings"}, "data": {"whose": "mine"}}
        async with self._session.post(path, json=body) as answer:
            assert answer.status == 201, await answer.text()
        await self._do("install over another's", "install", chart=chart, name="three")
        values = {"unprepared": True}
        await self._do("hook fails", "install", chart=chart, name="four", values=values, **_WAIT)
        await self._do(
            "taken back", "install", chart=chart, name="five", values=values,
            rollback_on_failure=True, **_WAIT,
        )  # fmt: skip
        await self._objects("with failures")
        for name in ("three", "four", "five"):
            await self._do(f"uninstall {name}", "uninstall", name=name)

    async def _do(self, step: str, method: str, **arguments: Any) -> None:
        answer = await self._helm.call(method, **arguments)
        if arguments.get("timeout") == 2:
            # What it says of the objects at the deadline depends on the moment.
            answer.pop("message", None)
        self._record(step, answer)

    async def _objects(self, step: str) -> None:
        found = [item for path in _KINDS for item in await self._items(path)]
        self._record(step, {"objects": found})

    async def _items(self, path: str) -> list[Json]:
        root, _, plural = path.rpartition("/")
        async with self._session.get(f"{root}/namespaces/{SPACE}/{plural}") as answer:
            assert answer.status == 200, await answer.text()
            items = (await answer.json())["items"]
        kept = [item for item in items if item["metadata"]["name"] != "kube-root-ca.crt"]
        return [{"in": plural, **_gist(item)} for item in kept]


def stored_release(secret: Json) -> Json:
    """The release in a storage Secret: base64 of the API in base64 of Helm, of gzip, of JSON."""
    raw = base64.b64decode(base64.b64decode(secret["data"]["release"]))
    release: Json = json.loads(gzip.decompress(raw))
    return release


def _gist(item: Json) -> Json:
    """What Helm made of an object, without what workload controllers write."""
    meta = item["metadata"]
    notes = {k: v for k, v in (meta.get("annotations") or {}).items() if "revision" not in k}
    writers = {
        f"{_MANAGERS.get(entry['manager'], entry['manager'])} {entry['operation']}"
        for entry in meta.get("managedFields", ())
        if entry["manager"] not in _OTHERS
    }
    gist: Json = {
        "name": meta["name"],
        "labels": {k: v for k, v in (meta.get("labels") or {}).items() if k != "modifiedAt"},
        "annotations": notes,
        "managers": sorted(writers),
    }
    if item.get("type") == _RELEASE_TYPE:
        return {**gist, "type": _RELEASE_TYPE, "release": _release(stored_release(item))}
    for key in ("data", "spec"):
        if key in item:
            gist[key] = item[key]
    return gist


def _release(release: Json) -> Json:
    info = release["info"]
    return {
        "name": release["name"],
        "namespace": release["namespace"],
        "version": release["version"],
        "status": info["status"],
        "description": info["description"].partition(":")[0],
        "chart": release["chart"]["metadata"]["version"],
        "config": release.get("config"),
        "hooks": sorted(hook["name"] for hook in release["hooks"]),
        "method": release.get("apply_method"),
        "lines": len(release["manifest"].splitlines()),
    }
