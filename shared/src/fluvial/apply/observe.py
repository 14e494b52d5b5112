"""The interval's check that no event was lost: one metadata LIST per kind, as the tenant."""

from __future__ import annotations

from collections.abc import Iterable

from fluvial.apply.bounded import map_bounded
from fluvial.apply.inventory import Entry
from fluvial.apply.live import uid_of, version_of
from fluvial.apply.model import Target, Verified
from fluvial.errors import FluvialError
from fluvial.objects import ObjectRef, key_of

__all__ = ["suspect_changed"]

Place = tuple[str, str, str]
Versions = dict[ObjectRef, tuple[str, str]]


async def suspect_changed(
    target: Target, entries: Iterable[Entry], *, known: Verified
) -> list[ObjectRef]:
    """List the owned objects' versions; those that differ from what is known become suspect.

    One LIST (metadata only, by the owner's labels) for each kind and namespace that the inventory
    has. Where the tenant may not list, or the list fails, its objects of that kind become suspect
    and are read one by one by the next plan.

    Returns:
        The objects that are now suspect. Empty: nothing has changed, nothing need be planned.

    """
    places: dict[Place, str] = {}
    for entry in entries:
        ref = entry.ref
        places.setdefault((ref.group, ref.kind, ref.namespace), entry.v)
    found = await map_bounded(
        lambda item: _list(target, *item),
        list(places.items()),
        limit=target.concurrency,
        name="observe",
    )
    versions: Versions = {}
    for part in found:
        versions.update(part)
    return known.observe(versions)


async def _list(target: Target, place: Place, version: str) -> Versions:
    group, kind, namespace = place
    try:
        resource = await target.mapper.resource_for_kind(group, kind, version_hint=version)
        page = await target.client.list_all(
            resource,
            namespace=namespace,
            label_selector=target.owner.selector,
            metadata_only=True,
        )
    except FluvialError:
        return {}
    versions: Versions = {}
    for item in page.items:
        key = key_of(item)
        ref = ObjectRef(group, kind, key.namespace, key.name)
        versions[ref] = (uid_of(item), version_of(item))
    return versions
