"""Reading and addressing live objects, as the tenant."""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from fluvial.apply.hashing import live_hash, outline
from fluvial.apply.model import Known, Target
from fluvial.kube.errors import Forbidden, NotFound
from fluvial.kube.resource import Resource
from fluvial.objects import JsonObject, ObjectKey, ObjectRef, key_of, ref_of

__all__ = ["Wanted", "known_as", "read_live", "scoped", "stamp", "uid_of", "version_of"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """One desired object with its address.

    ``obj`` has no namespace where the kind has none; ``digest`` is its hash.
    """

    obj: JsonObject
    ref: ObjectRef
    resource: Resource
    key: ObjectKey
    digest: str


def scoped(obj: JsonObject, resource: Resource) -> tuple[JsonObject, ObjectRef, ObjectKey]:
    """The object, its reference and key, without a namespace where the kind is cluster-wide.

    The server drops such a namespace too, and inventory ids must name the object as it is there.
    """
    if not resource.namespaced and key_of(obj).namespace:
        metadata = {key: value for key, value in obj["metadata"].items() if key != "namespace"}
        obj = {**obj, "metadata": metadata}
    return obj, ref_of(obj), key_of(obj)


async def read_live(target: Target, resource: Resource, key: ObjectKey) -> JsonObject | None:
    """GET as the tenant; ``None`` if it is not there.

    A tenant who may write but not read is served as in Flux: the write is the check. For it a
    forbidden read answers ``None`` too.
    """
    try:
        return await target.client.get(resource, key)
    except (NotFound, Forbidden):
        return None


def known_as(desired_hash: str, live: JsonObject, *, skipped: bool = False) -> Known:
    """What is verified of an object whose live state was just seen."""
    return Known(
        desired_hash, live_hash(live), uid_of(live), version_of(live), skipped, outline(live)
    )


def uid_of(obj: JsonObject) -> str:
    """``metadata.uid``."""
    return str((obj.get("metadata") or {}).get("uid") or "")


def version_of(obj: JsonObject) -> str:
    """``metadata.resourceVersion``; empty in the answer to a dry run that would create."""
    return str((obj.get("metadata") or {}).get("resourceVersion") or "")


def stamp(obj: JsonObject | bytes, *, uid: str = "", version: str = "") -> bytes:
    """The bytes to apply, valid for exactly this uid and version; empty ones are left out."""
    body: JsonObject = orjson.loads(obj) if isinstance(obj, bytes) else obj
    metadata = {
        key: value
        for key, value in body["metadata"].items()
        if key not in {"uid", "resourceVersion"}
    }
    if uid:
        metadata["uid"] = uid
    if version:
        metadata["resourceVersion"] = version
    return orjson.dumps({**body, "metadata": metadata})
