"""kustomize's patches and images on what templates gave (``spec.postRenderers``).

Objects go into one file of an empty folder, which is all that the program can read, and come out
with the annotation that says which file of the chart they are from. What a renderer adds or takes
apart has none, and becomes a file of its own, as in Helm.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import orjson

from fluvial.api.helm import Kustomize
from fluvial.artifact.threads import StopFlag, in_thread
from fluvial.build.errors import BuildTimeout, KustomizeError
from fluvial.build.helm.documents import Document, is_hook
from fluvial.build.helm.errors import RenderTimeout, TemplateFailed
from fluvial.build.helm.model import Strategy
from fluvial.build.kustomize import KustomizeEngine
from fluvial.objects import JsonObject

__all__ = ["PostRenderer"]

_FILE: Final = "postrenderer.helm.sh/postrender-filename"
_RESOURCES: Final = "resources.yaml"


class PostRenderer:
    """Runs kustomize on rendered objects.

    Args:
        engine: the program.
        work_dir: an existing folder for what it reads; nothing stays in it.

    """

    def __init__(self, engine: KustomizeEngine, *, work_dir: Path) -> None:
        self._engine = engine
        self._work_dir = work_dir.resolve()

    async def run(
        self,
        documents: Sequence[Document],
        renderers: Sequence[Kustomize],
        *,
        strategy: Strategy,
        timeout: float,
    ) -> list[Document]:
        """Apply each renderer in order.

        Args:
            documents: what the templates gave.
            renderers: patches and images.
            strategy: whether hooks take part, together with the others or on their own.
            timeout: seconds for everything.

        Raises:
            TemplateFailed: a renderer fails, as kustomize says it.
            RenderTimeout: out of time.
            EngineFailed: the program failed; trying again may help.

        """
        if strategy == "combined":
            groups = [("", list(documents))]
        else:
            hooks = [document for document in documents if is_hook(document[1])]
            others = [document for document in documents if not is_hook(document[1])]
            groups = [("hooks-", hooks), ("manifests-", others)]
        result: list[Document] = []
        try:
            async with asyncio.timeout(timeout):
                for prefix, group in groups:
                    if group and not (prefix == "hooks-" and strategy == "nohooks"):
                        group = await self._group(group, renderers, prefix, timeout)  # noqa: PLW2901  # its next state
                    result += group
        except TimeoutError:
            raise RenderTimeout(f"post-rendering took longer than {timeout:g} seconds") from None
        return result

    async def _group(
        self,
        documents: Sequence[Document],
        renderers: Sequence[Kustomize],
        prefix: str,
        timeout: float,
    ) -> list[Document]:
        objects = [_named(obj, path) for path, obj in documents]
        for number, renderer in enumerate(renderers, 1):
            try:
                objects = await self._build(objects, renderer, timeout)
            except BuildTimeout as error:
                raise RenderTimeout(str(error)) from error
            except KustomizeError as error:
                raise TemplateFailed(f"post-renderer {number} fails: {error}") from error
        return [
            (_taken(obj) or f"generated-by-postrender-{prefix}{index}.yaml", obj)
            for index, obj in enumerate(objects)
        ]

    async def _build(
        self, objects: Sequence[JsonObject], renderer: Kustomize, timeout: float
    ) -> list[JsonObject]:
        with tempfile.TemporaryDirectory(prefix="build-post-", dir=self._work_dir) as name:
            root = Path(name)
            await in_thread(lambda stop: _write(root, objects, renderer, stop))
            return await self._engine.build(root, ".", timeout=timeout)


def _write(root: Path, objects: Sequence[JsonObject], renderer: Kustomize, stop: StopFlag) -> None:
    with (root / _RESOURCES).open("wb") as file:
        for obj in objects:
            stop.check()
            file.write(b"---\n" + orjson.dumps(obj) + b"\n")
    changes: dict[str, Any] = msgspec.to_builtins(renderer)
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "sortOptions": {"order": "fifo"},
        "resources": [_RESOURCES],
        **{name: changes[name] for name in ("patches", "images") if changes.get(name)},
    }
    (root / "kustomization.yaml").write_bytes(orjson.dumps(kustomization))


def _named(obj: JsonObject, path: str) -> JsonObject:
    """The object with the annotation that says where it is from."""
    metadata = obj.get("metadata") or {}
    if not isinstance(metadata, dict):
        raise TemplateFailed(f"YAML parse error on {path}: metadata is not a mapping")
    annotations = {**(metadata.get("annotations") or {}), _FILE: path}
    return {**obj, "metadata": {**metadata, "annotations": annotations}}


def _taken(obj: JsonObject) -> str:
    """Where an object is from; the annotation is gone afterwards."""
    metadata = obj.get("metadata") or {}
    annotations = metadata.get("annotations") or {}
    path = str(annotations.pop(_FILE, ""))
    if not annotations:
        metadata.pop("annotations", None)
    return path
