"""ArtifactGenerators in a world of sources, and artifacts that somebody else makes and serves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fluvial.api.codec import encode
from fluvial.artifact.server import FileServer
from fluvial.artifact.storage import Storage
from fluvial.clock import RealClock
from fluvial.kube import kinds
from fluvial.kube.client import KubeClient
from fluvial.kube.errors import NotFound
from fluvial.log import get_logger
from fluvial.objects import JsonObject, ObjectKey
from harness.source import NAMESPACE, SourceWorld, condition

__all__ = ["GeneratorWorld", "Shelf"]

_MANAGER = "test"
_API_VERSION = "source.extensions.fluxcd.io/v1beta1"


class GeneratorWorld(SourceWorld):
    """A ``SourceWorld`` whose names are about ArtifactGenerators."""

    resource = kinds.ARTIFACT_GENERATOR

    async def generator(
        self,
        name: str = "gen",
        *,
        annotations: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
        **spec: Any,
    ) -> JsonObject:
        """An ArtifactGenerator."""
        obj = {
            "apiVersion": _API_VERSION,
            "kind": "ArtifactGenerator",
            "metadata": {
                "name": name,
                "namespace": NAMESPACE,
                "annotations": dict(annotations or {}),
                "labels": dict(labels or {}),
            },
            "spec": spec,
        }
        return await self.client.apply(
            self.resource, ObjectKey(NAMESPACE, name), obj, field_manager=_MANAGER
        )

    async def until_ready(self, name: str = "gen", *, revision: str = "") -> JsonObject:
        """The generator once it is Ready at its generation, and its sources' digest is another."""

        def done(obj: JsonObject) -> bool:
            ready = condition(obj, "Ready")
            digest = (obj.get("status") or {}).get("observedSourcesDigest")
            return (
                (ready.get("status"), ready.get("observedGeneration"))
                == ("True", obj["metadata"]["generation"])
                and not condition(obj, "Reconciling")
                and digest != revision
            )

        return await self.until(done, name)

    async def external(self, name: str, *, namespace: str = NAMESPACE) -> JsonObject | None:
        """An ExternalArtifact, if there is one."""
        try:
            return await self.client.get(kinds.EXTERNAL_ARTIFACT, ObjectKey(namespace, name))
        except NotFound:
            return None

    async def made(self, name: str) -> JsonObject:
        """An ExternalArtifact that is there."""
        found = await self.external(name)
        assert found is not None, f"there is no ExternalArtifact {name}"
        return found

    async def made_files(self, name: str) -> dict[str, str]:
        """The content of an ExternalArtifact's artifact, fetched from its URL."""
        return await self.files(await self.made(name))

    async def messages(self, name: str = "gen") -> list[tuple[str, str, str]]:
        """Type, reason and message of a generator's events, oldest first."""
        page = await self.client.list_all(kinds.EVENT, namespace=NAMESPACE)
        mine = [e for e in page.items if e["involvedObject"]["name"] == name]
        mine.sort(key=lambda event: int(event["metadata"]["resourceVersion"]))
        return [(event["type"], event["reason"], event["message"]) for event in mine]

    async def until_told(self, text: str, name: str = "gen") -> tuple[str, str, str]:
        """The first event with a text in its message."""
        async with asyncio.timeout(20):
            while True:
                for event in await self.messages(name):
                    if text in event[2]:
                        return event
                await asyncio.sleep(0.02)

    async def idle(self) -> None:
        """Wait until no generator has anything to do."""
        await self.controller.queue_of(self.resource).wait_idle()


class Shelf:
    """Makes ExternalArtifacts, and serves their files, as a controller of somebody else's does.

    Attributes:
        client: as the admin.

    """

    def __init__(self, folder: Path, client: KubeClient, address: str) -> None:
        self.client = client
        self._folder = folder
        self._storage = Storage(
            folder / "stored", adv_addr=address, clock=RealClock(), log=get_logger("test")
        )
        self._count = 0

    @classmethod
    @asynccontextmanager
    async def open(cls, folder: Path, client: KubeClient) -> AsyncIterator[Shelf]:
        """A shelf with a server."""
        server = FileServer(folder / "stored", log=get_logger("test"), algorithm="sha256")
        host, port = await server.start("127.0.0.1:0")
        shelf = cls(folder, client, f"{host}:{port}")
        await shelf._storage.start()
        try:
            yield shelf
        finally:
            shelf._storage.stop()
            await server.stop()

    async def put(
        self,
        name: str,
        files: Mapping[str, str | bytes],
        *,
        namespace: str = NAMESPACE,
        revision: str = "",
        metadata: Mapping[str, str] | None = None,
    ) -> JsonObject:
        """An ExternalArtifact with these files; its artifact as in its status.

        Args:
            name: of the object.
            files: path to content; one that ends in a slash is a folder, one in ``*`` executable.
            namespace: of the object.
            revision: of the artifact; ``v<n>`` by default.
            metadata: of the artifact.

        """
        path = f"shelf/{namespace}/{name}"
        artifact = await self.store(path, files, revision=revision, metadata=metadata)
        return await self.write(name, artifact, namespace=namespace)

    async def store(
        self,
        folder: str,
        files: Mapping[str, str | bytes],
        *,
        revision: str = "",
        metadata: Mapping[str, str] | None = None,
    ) -> JsonObject:
        """An artifact with these files, in a folder of the server."""
        self._count += 1
        tree = self._folder / f"tree-{self._count}"
        for path, content in files.items():
            place = tree / path.removesuffix("*")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content.encode() if isinstance(content, str) else content)
            place.chmod(0o755 if path.endswith("*") else 0o644)
        tree.mkdir(parents=True, exist_ok=True)
        artifact = await self._storage.archive(
            tree,
            path=f"{folder}/{self._count}.tar.gz",
            revision=revision or f"v{self._count}",
            keep_for=lambda _: lambda _path, _is_folder: True,
            metadata=metadata,
        )
        return encode(artifact)

    async def write(
        self, name: str, artifact: JsonObject | None, *, namespace: str = NAMESPACE
    ) -> JsonObject:
        """An ExternalArtifact with this artifact in its status."""
        key = ObjectKey(namespace, name)
        obj = {
            "apiVersion": "source.toolkit.fluxcd.io/v1",
            "kind": "ExternalArtifact",
            "metadata": {"name": name, "namespace": namespace},
        }
        spec = {"sourceRef": {"apiVersion": "example.dev/v1", "kind": "Maker", "name": "shelf"}}
        resource = kinds.EXTERNAL_ARTIFACT
        await self.client.apply(resource, key, {**obj, "spec": spec}, field_manager=_MANAGER)
        status = {"artifact": artifact} if artifact else {}
        await self.client.apply(
            resource,
            key,
            {**obj, "status": status},
            field_manager=_MANAGER,
            subresource="status",
        )
        return artifact or {}
