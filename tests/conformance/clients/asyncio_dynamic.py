"""kubernetes-asyncio's dynamic client: discovery, built-in and custom kinds, watches, errors."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

from kubernetes_asyncio.dynamic import DynamicClient
from kubernetes_asyncio.dynamic.exceptions import ResourceNotFoundError
from kubernetes_asyncio.watch import Watch

from conformance.clients.asyncio_typed import GROUP, api_client, defined
from conformance.clients.plane import Plane, namespace
from conformance.clients.text import Texts
from conformance.clients.transcript import Transcript

__all__ = ["play"]

Json = dict[str, Any]
SPACE = "asyncio-dynamic"
_SECONDS = 20
_KINDS = (("v1", "Namespace"), ("v1", "Pod"), ("apps/v1", "Deployment"), ("batch/v1", "Job"))


async def play(plane: Plane) -> list[Json]:
    """Every use of the dynamic client."""
    with tempfile.TemporaryDirectory(prefix="fluvial-asyncio-") as name:
        script = Transcript(Texts(server=plane.url, folder=name))
        cache = str(Path(name) / "discovery.json")
        async with (
            namespace(plane, SPACE),
            api_client(plane, SPACE) as api,
            DynamicClient(api, cache_file=cache) as dynamic,
        ):
            use = _Dynamic(dynamic, script)
            await use.discovery()
            await use.objects()
            await use.watches()
            async with defined(api, "dynamics", "Dynamic"):
                await use.custom()
        return script.answers


class _Dynamic:
    def __init__(self, dynamic: Any, script: Transcript) -> None:
        self._client = dynamic  # Any: half of the library has no types
        self._record = script.record

    async def _refused(self, step: str, call: Awaitable[Any]) -> None:
        """Record what came of a call that must fail: this client hands out the Status it got."""
        answer = await call
        assert answer.kind == "Status", answer
        self._record(step, answer.to_dict())

    async def discovery(self) -> None:
        found = []
        for version, kind in _KINDS:
            one = await self._client.resources.get(api_version=version, kind=kind)
            verbs = sorted(one.verbs)
            found.append([one.group_version, one.kind, one.name, one.namespaced, verbs])
        self._record("kinds", found)
        deployments = await self._client.resources.get(api_version="apps/v1", kind="Deployment")
        self._record("subresources", sorted(deployments.subresources))
        try:
            await self._client.resources.get(api_version="apps/v1", kind="Nothing")
        except ResourceNotFoundError as error:
            self._record("unknown kind", str(error))
        else:
            raise AssertionError("an unknown kind was found")

    async def objects(self) -> None:
        maps = await self._client.resources.get(api_version="v1", kind="ConfigMap")
        for name in ("a", "b", "c"):
            meta = {"name": name, "labels": {"set": "abc"}}
            made = await maps.create(body={"metadata": meta, "data": {"k": name}}, namespace=SPACE)
            self._record(f"create {name}", made.to_dict())
        read = await maps.get(name="a", namespace=SPACE)
        self._record("get", [read.kind, read.metadata.name, read.data.k])
        page = await maps.get(namespace=SPACE, label_selector="set=abc", limit=2)
        rest = await maps.get(
            namespace=SPACE, label_selector="set=abc", limit=2,
            _continue=page.metadata["continue"],
        )  # fmt: skip
        pages = [[item.metadata.name for item in p.items] for p in (page, rest)]
        self._record("pages", pages)
        patch = await maps.patch(body={"data": {"s": "1"}}, name="a", namespace=SPACE)
        self._record("strategic merge patch", patch.data.to_dict())
        merged = await maps.patch(
            body={"data": {"s": None, "m": "2"}}, name="a", namespace=SPACE,
            content_type="application/merge-patch+json",
        )  # fmt: skip
        self._record("merge patch", merged.data.to_dict())
        operations = [{"op": "test", "path": "/data/m", "value": "3"}]
        await self._refused(
            "json patch refused",
            maps.patch(
                body=operations, name="a", namespace=SPACE,
                content_type="application/json-patch+json",
            ),
        )  # fmt: skip
        await self._applies(maps)
        await self._refused("missing", maps.get(name="z", namespace=SPACE))
        again = {"metadata": {"name": "b"}}
        await self._refused("already there", maps.create(body=again, namespace=SPACE))
        bad = {"metadata": {"name": "BAD"}}
        await self._refused("invalid", maps.create(body=bad, namespace=SPACE))
        gone = await maps.delete(name="c", namespace=SPACE)
        self._record("delete", gone.to_dict())

    async def _applies(self, maps: Any) -> None:
        body: Json = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "a"},
            "data": {"own": "x"},
        }
        applied = await maps.server_side_apply(body=body, namespace=SPACE, field_manager="one")
        self._record("apply", applied.to_dict())
        other = {**body, "data": {"own": "y"}}
        await self._refused(
            "apply in conflict",
            maps.server_side_apply(body=other, namespace=SPACE, field_manager="two"),
        )
        forced = await maps.server_side_apply(
            body=other, namespace=SPACE, field_manager="two", force_conflicts=True
        )
        self._record("apply by force", forced.data.to_dict())

    async def watches(self) -> None:
        maps = await self._client.resources.get(api_version="v1", kind="ConfigMap")
        meta = {"name": "w", "labels": {"set": "watched"}}
        await maps.create(body={"metadata": meta}, namespace=SPACE)
        seen: list[Any] = []
        async with Watch() as watcher:
            stream = self._client.watch(
                maps,
                namespace=SPACE,
                label_selector="set=watched",
                timeout=_SECONDS,
                watcher=watcher,
            )
            async for event in stream:
                seen.append([event["type"], event["object"].metadata.name])
                if len(seen) == 1:
                    await maps.patch(body={"data": {"n": "1"}}, name="w", namespace=SPACE)
                    await maps.delete(name="w", namespace=SPACE)
                if len(seen) == 3:
                    break
            await stream.aclose()
        self._record("watch", seen)

    async def custom(self) -> None:
        kind = await self._found(f"{GROUP}/v1", "Dynamic")
        head = {"apiVersion": f"{GROUP}/v1", "kind": "Dynamic", "metadata": {"name": "d"}}
        made = await kind.create(body={**head, "spec": {"size": 1}}, namespace=SPACE)
        self._record("custom", made.to_dict())
        applied = await kind.server_side_apply(
            body={**head, "spec": {"name": "applied"}}, namespace=SPACE, field_manager="one",
            force_conflicts=True,
        )  # fmt: skip
        self._record("custom apply", applied.to_dict())
        status = await kind.status.patch(
            body={"status": {"size": 1}}, name="d", namespace=SPACE,
            content_type="application/merge-patch+json",
        )  # fmt: skip
        self._record("custom status", status.status.to_dict())
        listed = await kind.get(namespace=SPACE)
        self._record("custom list", [listed.kind, [item.metadata.name for item in listed.items]])
        await self._refused("custom invalid", kind.patch(
            body={"spec": {"size": 99}}, name="d", namespace=SPACE,
            content_type="application/merge-patch+json",
        ))  # fmt: skip
        await kind.delete(name="d", namespace=SPACE)
        await self._refused("custom gone", kind.get(name="d", namespace=SPACE))

    async def _found(self, version: str, kind: str) -> Any:
        """A kind that was defined just now: discovery follows a little later."""
        async with asyncio.timeout(_SECONDS):
            while True:
                try:
                    return await self._client.resources.get(api_version=version, kind=kind)
                except ResourceNotFoundError:
                    await self._client.resources.invalidate_cache()
                    await asyncio.sleep(0.05)
