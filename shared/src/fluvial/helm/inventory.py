"""The objects of a release for its status: for information, nothing is pruned by it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from fluvial.api.helm_status import ReleaseInventory, ReleaseResourceRef
from fluvial.apply.inventory import encode_id
from fluvial.apply.model import Target
from fluvial.build.helm.model import CustomResource
from fluvial.helm.cluster import ReleaseObjects
from fluvial.helm.errors import InventoryTooLarge
from fluvial.helm.manifest import objects_of
from fluvial.helm.release import Release
from fluvial.kube.discovery import NoMatch
from fluvial.objects import JsonObject, annotations_of, gvk_of, ref_of

__all__ = ["release_inventory"]

_HOOK = "helm.sh/hook"
_DEFINITION = "CustomResourceDefinition"
_LARGEST: Final = 768 * 1024
"""Characters of an inventory: etcd takes 1.5 MiB for the object, of which there is more to say."""

_SYNTAX: Final = len('{"id":"","v":""},')


async def release_inventory(
    target: Target, release: Release, crds: Iterable[CustomResource] = ()
) -> tuple[ReleaseInventory, tuple[str, ...]]:
    """List the objects of a revision, and the definitions that came with its chart.

    Args:
        target: whose discovery tells which kinds have a namespace.
        release: as it was stored.
        crds: of its chart.

    Returns:
        The inventory, and a warning for each object whose kind is not known; such an object is
        listed as it was rendered.

    Raises:
        ManifestError: the manifest is not a stream of objects.
        InventoryTooLarge: a status with it could not be stored.

    """
    objects = ReleaseObjects(target, name=release.name, namespace=release.namespace)
    entries: list[ReleaseResourceRef] = []
    warnings: list[str] = []
    for obj in await objects_of(release.manifest):
        if _HOOK in annotations_of(obj):
            continue
        try:
            located = await objects.locate([obj])
            entries.append(_entry(located[0].obj))
        except NoMatch as error:
            warnings.append(f"{ref_of(obj)}: {error}")
            entries.append(_entry(obj))
    for file in crds:
        found = await objects_of(file.text, source=file.path)
        entries += [_entry(obj) for obj in found if obj.get("kind") == _DEFINITION]
    unique = dict.fromkeys(entries)
    if sum(len(one.id) + len(one.v) + _SYNTAX for one in unique) > _LARGEST:
        raise InventoryTooLarge(
            f"the names of the {len(unique):,} objects of release {release} have more than"
            f" {_LARGEST:,} characters: they are not listed in the status"
        )
    return ReleaseInventory(entries=tuple(unique)), tuple(warnings)


def _entry(obj: JsonObject) -> ReleaseResourceRef:
    return ReleaseResourceRef(id=encode_id(ref_of(obj)), v=gvk_of(obj).version)
