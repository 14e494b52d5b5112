"""Learning that objects are, or may not be, as they were verified.

``suspect_changed`` is the interval's check that no event was lost: in memory where the kind is
watched, else one metadata LIST per kind and namespace, as the tenant. ``confirm`` takes note of an object that was read anyway.
"""

from __future__ import annotations

from collections.abc import Iterable

from fluvial.apply.bounded import map_bounded
from fluvial.apply.hashing import live_hash
from fluvial.apply.inventory import Entry
from fluvial.apply.live import known_as, uid_of, version_of
from fluvial.apply.model import Target, Verified
from fluvial.apply.owned import OwnedWatches, Versions
from fluvial.errors import FluvialError
from fluvial.kube.resource import Resource
from fluvial.objects import JsonObject, ObjectRef, key_of

__all__ = ["confirm", "suspect_changed"]

Place = tuple[str, str, str]


async def suspect_changed(
    target: Target,
    entries: Iterable[Entry],
    *,
    known: Verified,
    watches: OwnedWatches | None = None,
    max_age: float = 0.0,
) -> list[ObjectRef]:
    """Find the owned objects' versions; those that differ from what is known become suspect.

    Where no watch tells, that is one LIST (metadata only, by the owner's labels) for each kind and
    namespace that the inventory has. Where the tenant may not list, or the list fails, its objects
    of that kind become suspect and are read one by one by the next plan.

    Args:
        target: whose objects.
        entries: its inventory.
        known: what is verified of them.
        watches: of the target's cluster.
        max_age: seconds since a watch was last compared with a LIST.

    Returns:
        The objects that are now suspect. Empty: nothing has changed, nothing need be planned.

    """
    places: dict[Place, list[Entry]] = {}
    for entry in entries:
        ref = entry.ref
        places.setdefault((ref.group, ref.kind, ref.namespace), []).append(entry)

    async def look(item: tuple[Place, list[Entry]]) -> Versions:
        place, there = item
        try:
            resource = await target.mapper.resource_for_kind(
                place[0], place[1], version_hint=there[0].v
            )
            if watches is not None:
                refs = [entry.ref for entry in there]
                seen = await watches.versions(resource, refs, known=known, max_age=max_age)
                if seen is not None:
                    return seen
            return await _list(target, resource, place)
        except FluvialError:
            return {}

    found = await map_bounded(look, list(places.items()), limit=target.concurrency, name="observe")
    versions: Versions = {}
    for part in found:
        versions.update(part)
    return known.observe(versions)


def confirm(known: Verified, ref: ObjectRef, live: JsonObject) -> None:
    """Move what is known of an object to the version just read, if it is as it was verified.

    A controller writes the status of what was just applied, which makes a new version. Without
    this the next write would be refused for its old version, and the next interval would read and
    compare an object that nobody changed.

    Args:
        known: what its owner knows; an object that is not known, or differs, is left alone.
        ref: the object.
        live: the object as the tenant has just read it.

    """
    before = known.get(ref)
    if before is None or before.uid != uid_of(live) or before.live_hash != live_hash(live):
        return
    known.record(ref, known_as(before.desired_hash, live, skipped=before.skipped))


async def _list(target: Target, resource: Resource, place: Place) -> Versions:
    group, kind, namespace = place
    page = await target.client.list_all(
        resource,
        namespace=namespace,
        label_selector=target.owner.selector,
        metadata_only=True,
    )
    versions: Versions = {}
    for item in page.items:
        key = key_of(item)
        ref = ObjectRef(group, kind, key.namespace, key.name)
        versions[ref] = (uid_of(item), version_of(item))
    return versions
