"""Definitions of kinds that a chart brings in its ``crds`` folder; they are never deleted.

``Create`` makes what is missing and leaves alone what is there, as Flux's documents say; its code
writes over it, which may lose fields of objects that others have. They are always applied by the
server, however the release is.
"""

from __future__ import annotations

from collections.abc import Iterable

from fluvial.api.helm_actions import CRDsPolicy
from fluvial.apply.model import Target
from fluvial.build.helm.model import CustomResource
from fluvial.helm.cluster import Located, ReleaseObjects
from fluvial.helm.manifest import objects_of
from fluvial.helm.waiting import Waits
from fluvial.objects import JsonObject, labels_of

__all__ = ["READY_SECONDS", "apply_crds"]

READY_SECONDS = 60.0
_DEFINITION = "CustomResourceDefinition"


async def apply_crds(
    target: Target,
    files: Iterable[CustomResource],
    *,
    policy: CRDsPolicy | None,
    waits: Waits,
) -> tuple[str, ...]:
    """Bring definitions to the cluster, and wait until their kinds are served.

    Args:
        target: where and as whom; its owner's labels are set on them.
        files: of the chart and its subcharts.
        policy: what is done; ``Create`` where it is ``None``.
        waits: how they are waited for.

    Returns:
        The files in which there is something else than definitions, which is left out.

    Raises:
        ManifestError, NoMatch, ObjectsFailed: they could not be written.
        WaitFailed: their kinds are not served in time.

    """
    if policy == "Skip":
        return ()
    found: list[JsonObject] = []
    odd: list[str] = []
    for file in files:
        objects = await objects_of(file.text, source=file.path)
        found += [_labelled(obj, target) for obj in objects if obj.get("kind") == _DEFINITION]
        if any(obj.get("kind") != _DEFINITION for obj in objects):
            odd.append(file.path)
    objects_in = ReleaseObjects(target, name="", namespace="")
    wanted = await objects_in.locate(found)
    if policy != "CreateReplace":
        wanted = await _missing(objects_in, wanted)
    if wanted:
        # Flux up to 2.7 replaced them as a client: what a definition lacks now would stay otherwise.
        replaced = {one.ref for one in wanted} if policy == "CreateReplace" else ()
        await objects_in.apply(wanted, strict=False, migrate=replaced)
        await waits.until_ready(target, wanted, timeout=READY_SECONDS)
        target.mapper.invalidate()
    return tuple(odd)


async def _missing(objects: ReleaseObjects, wanted: list[Located]) -> list[Located]:
    there = await objects.existing(wanted, take=True)
    return [one for one in wanted if one.ref not in there]


def _labelled(obj: JsonObject, target: Target) -> JsonObject:
    labels = {**labels_of(obj), **target.owner.labels}
    return {**obj, "metadata": {**(obj.get("metadata") or {}), "labels": labels}}
