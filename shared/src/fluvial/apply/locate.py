"""Where the objects of a stage are served, and what the set itself will bring."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from fluvial.apply.errors import Failure, FailureReason, StageRejected
from fluvial.apply.failures import failure_of
from fluvial.apply.hashing import desired_hash
from fluvial.apply.live import Wanted, scoped
from fluvial.apply.model import Target
from fluvial.kube.discovery import NoMatch
from fluvial.kube.errors import ApiError
from fluvial.kube.resource import Resource
from fluvial.kube.urls import UnsafeName, object_path
from fluvial.objects import JsonObject, ObjectRef, gvk_of, ref_of

__all__ = ["Assumed", "Awaited", "defined_kind", "locate"]

_YIELD_EVERY = 64
_KIND_SECONDS = 15.0
_KIND_DELAY = 0.2


@dataclass(frozen=True, slots=True)
class Assumed:
    """What the set itself brings.

    Attributes:
        kinds: ``(group, kind)`` of its definitions.
        namespaces: names of its namespaces.
        applied: the definitions are there, so their kinds must appear soon; ``False`` in a plan
            of the whole set, where their objects count as "to be created, unchecked".

    """

    kinds: frozenset[tuple[str, str]] = frozenset()
    namespaces: frozenset[str] = frozenset()
    applied: bool = True

    @classmethod
    def of(cls, objects: Sequence[JsonObject], *, applied: bool) -> Assumed:
        """What these desired objects bring."""
        kinds, namespaces = set(), set()
        for obj in objects:
            gvk = gvk_of(obj)
            if (gvk.group, gvk.kind) == ("", "Namespace"):
                namespaces.add(ref_of(obj).name)
            elif gvk.kind == "CustomResourceDefinition":
                kinds.add(defined_kind(obj))
        return cls(frozenset(kinds), frozenset(namespaces), applied)


def defined_kind(definition: JsonObject) -> tuple[str, str]:
    """Group and kind that a CustomResourceDefinition defines; ``""`` for what it does not say."""
    spec = definition.get("spec")
    spec = spec if isinstance(spec, dict) else {}
    names = spec.get("names")
    names = names if isinstance(names, dict) else {}
    return str(spec.get("group") or ""), str(names.get("kind") or "")


@dataclass(frozen=True, slots=True)
class Awaited:
    """An object whose kind is defined by the same set and not served yet."""

    obj: JsonObject
    ref: ObjectRef


Row = Wanted | Awaited | Failure


async def locate(target: Target, objects: Sequence[JsonObject], *, assumed: Assumed) -> list[Row]:
    """Address and hash of each object, in their order.

    Raises:
        StageRejected: the API server could not be asked what it serves.

    """
    rows: dict[ObjectRef, Row] = {}
    for number, obj in enumerate(objects):
        if number % _YIELD_EVERY == 0:
            await asyncio.sleep(0)
        try:
            row = await _locate_one(target, obj, assumed=assumed)
        except ApiError as error:
            text = target.masker.text(str(error))
            raise StageRejected(f"the API server does not tell what it serves: {text}") from error
        if row.ref in rows:
            text = f"{row.ref} is there twice, since its kind has no namespaces; remove one"
            row = Failure(row.ref, FailureReason.DUPLICATE, text)
        rows[row.ref] = row
    return list(rows.values())


async def _locate_one(target: Target, obj: JsonObject, *, assumed: Assumed) -> Row:
    ref = ref_of(obj)
    try:
        resource = await _resource_for(target, obj, assumed=assumed)
    except NoMatch as error:
        if (ref.group, ref.kind) in assumed.kinds and not assumed.applied:
            return Awaited(obj, ref)
        return failure_of(ref, error, masker=target.masker, during="dry-run")
    obj, ref, key = scoped(obj, resource)
    if resource.namespaced and not key.namespace:
        text = f"{ref} namespace not specified: set metadata.namespace or spec.targetNamespace"
        return Failure(ref, FailureReason.NAMESPACE_NOT_SPECIFIED, text)
    try:
        object_path(resource, key)
    except UnsafeName as error:
        return failure_of(ref, error, masker=target.masker, during="dry-run")
    return Wanted(obj, ref, resource, key, desired_hash(obj))


async def _resource_for(target: Target, obj: JsonObject, *, assumed: Assumed) -> Resource:
    """Ask the mapper; a kind that the set has just defined may take a moment to appear."""
    gvk = gvk_of(obj)
    deadline = target.clock.monotonic() + _KIND_SECONDS
    while True:
        try:
            return await target.mapper.resource_for(gvk)
        except NoMatch:
            expected = assumed.applied and (gvk.group, gvk.kind) in assumed.kinds
            if not expected or target.clock.monotonic() >= deadline:
                raise
        await target.clock.sleep(_KIND_DELAY)
