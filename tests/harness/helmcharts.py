"""Helm charts of a few bytes, and repositories of them as hosts serve them."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from fluvial.kube import kinds
from fluvial.kube.resource import Resource
from fluvial.objects import JsonObject, ObjectKey
from harness.source import NAMESPACE, SourceWorld
from registries.images import Image, image_of, tarball

__all__ = ["ChartWorld", "chart", "chart_image", "packed", "publish", "unpacked"]

_LAYER = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
_CONFIG = "application/vnd.cncf.helm.config.v1+json"
_TEMPLATE = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: {v: '{{ .Values.v }}'}\n"


class ChartWorld(SourceWorld):
    """A ``SourceWorld`` whose names are about HelmCharts."""

    resource = kinds.HELM_CHART

    async def chart(self, name: str = "app", **spec: Any) -> JsonObject:
        """A HelmChart of the HelmRepository ``charts``; ``None`` leaves a field out."""
        source = {"kind": "HelmRepository", "name": "charts"}
        return await self.make(
            name, **{"interval": "1h", "chart": "app", "sourceRef": source} | spec
        )

    async def stored_source(
        self, files: Mapping[str, str | bytes], *, kind: str, revision: str, name: str = "source"
    ) -> Path:
        """A suspended GitRepository or Bucket with an artifact of these files; its place.

        It is there as if it had been fetched; whoever fetches is not what is tested.
        """
        spec: dict[str, Any] = {"interval": "1h", "suspend": True}
        if kind == "Bucket":
            spec |= {"bucketName": "b", "endpoint": "s3.example"}
        else:
            spec["url"] = "https://git.example/app"
        resource = kinds.BUCKET if kind == "Bucket" else kinds.GIT_REPOSITORY
        sources = self.of(resource)
        await sources.make(name, **spec)
        await sources.request(revision[-10:], name)
        # Before that a controller that starts takes such a file for somebody's who is gone.
        await sources.until_handled(revision[-10:], name)
        return await self.store(resource, name, tarball(files), revision)

    async def store(self, resource: Resource, name: str, data: bytes, revision: str) -> Path:
        """Put bytes into storage as a source's artifact, and say so in its status."""
        digest = hashlib.sha256(data).hexdigest()
        path = f"{resource.kind.lower()}/{NAMESPACE}/{name}/{digest}.tar.gz"
        file = self.storage_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        artifact = {
            "digest": f"sha256:{digest}",
            "lastUpdateTime": "2026-01-01T00:00:00Z",
            "path": path,
            "revision": revision,
            "url": self.url + path,
        }
        await self.client.patch(
            resource,
            ObjectKey(NAMESPACE, name),
            {"status": {"artifact": artifact}},
            patch_type="merge",
            field_manager="test",
            subresource="status",
        )
        return file

    async def package(self, obj: JsonObject) -> bytes:
        """The package that an object's artifact is."""
        async with self.http.get(obj["status"]["artifact"]["url"]) as response:
            assert response.status == 200
            return await response.read()

    async def helm_repository(self, name: str = "charts", **spec: Any) -> JsonObject:
        """A HelmRepository."""
        return await self.of(kinds.HELM_REPOSITORY).make(name, **{"interval": "1h"} | spec)


def chart(
    name: str = "app", version: str = "1.0.0", files: Mapping[str, str] | None = None, **fields: Any
) -> dict[str, str]:
    """The files of a chart.

    Args:
        name: of the chart.
        version: of the chart.
        files: beside ``Chart.yaml``, or instead of what every chart has.
        fields: of ``Chart.yaml``.

    """
    described = {"apiVersion": "v2", "name": name, "version": version, **fields}
    return {
        "Chart.yaml": yaml.safe_dump(described),
        "values.yaml": "v: one\n",
        "templates/map.yaml": _TEMPLATE,
        **(files or {}),
    }


def packed(files: Mapping[str, str], *, folder: str = "app") -> bytes:
    """A package."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(f"{folder}/{name}" if folder else name)
            info.size = len(text.encode())
            archive.addfile(info, io.BytesIO(text.encode()))
    return gzip.compress(plain.getvalue(), mtime=0)


def unpacked(data: bytes) -> dict[str, str]:
    """The files in a package, without its folder."""
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        found = {}
        for member in archive.getmembers():
            content = archive.extractfile(member)
            if content is not None:
                found[member.name.partition("/")[2]] = content.read().decode()
        return found


def publish(folder: Path, *packages: bytes, **fields: Any) -> str:
    """Write packages and an index of them; the revision that it makes.

    Args:
        folder: that is served.
        packages: made by ``packed``; the file of one is ``<name>-<version>.tgz``.
        fields: of every entry.

    """
    entries: dict[str, list[JsonObject]] = {}
    for data in packages:
        described = yaml.safe_load(unpacked(data)["Chart.yaml"])
        file = f"{described['name']}-{described['version']}.tgz"
        (folder / file).write_bytes(data)
        entry = {**described, "urls": [file], "digest": hashlib.sha256(data).hexdigest(), **fields}
        entries.setdefault(described["name"], []).append(entry)
    raw = json.dumps({"apiVersion": "v1", "entries": entries}).encode()
    (folder / "index.yaml").write_bytes(raw)
    return f"sha256:{hashlib.sha256(raw).hexdigest()}"


def chart_image(data: bytes) -> Image:
    """A package as ``helm push`` stores it."""
    return image_of([(_LAYER, data)], config=(_CONFIG, b"{}"))
