"""Writing what a reconcile found: the status as one small patch, and the finalizer.

A reconciler takes a snapshot of the object, works on a copy and hands both in; what is sent is the
difference, as a merge patch of ``/status`` under the resourceVersion of the snapshot. On a
conflict the live object is read and the difference is put on top of it:

- a condition of an *owned* type becomes what the reconciler says, even if somebody wrote it;
- a condition of another type is changed only if nobody else changed it meanwhile;
- any other field becomes what the reconciler changed it to, and stays where it changed nothing.

Nothing is sent where nothing differs, so that a status write never wakes its own reconciler in a
circle. The resourceVersion also keeps a status from reaching another object of the same name.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from fluvial.api.codec import encode
from fluvial.api.meta import FINALIZER
from fluvial.clock import Clock
from fluvial.kube.client import KubeClient
from fluvial.kube.errors import Conflict, NotFound
from fluvial.kube.resource import Resource
from fluvial.objects import JsonObject, key_of
from fluvial.runtime.conditions import order_key

__all__ = ["Rebase", "StatusPatcher", "apply_merge", "merge_patch", "with_status"]

Rebase = Callable[[JsonObject, JsonObject], JsonObject]
"""``(latest, after) -> after``: adapts what is wanted to what somebody else wrote meanwhile."""

_TRIES = 5
_PAUSE = 0.1  # seconds before the third try and later ones, doubled at most by jitter


def merge_patch(before: JsonObject, after: JsonObject) -> JsonObject:
    """The smallest JSON merge patch (RFC 7386) that makes ``after`` of ``before``."""
    patch: JsonObject = {key: None for key in before if after.get(key) is None}
    for key, value in after.items():
        old: Any = before.get(key)
        if value is None or value == old:
            continue
        nested = isinstance(value, dict) and isinstance(old, dict)
        patch[key] = merge_patch(old, value) if nested else value
    return patch


def apply_merge(target: JsonObject, patch: JsonObject) -> JsonObject:
    """``target`` with a JSON merge patch applied; the arguments are left alone."""
    result = dict(target)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            old = result.get(key)
            result[key] = apply_merge(old if isinstance(old, dict) else {}, value)
        else:
            result[key] = value
    return result


def with_status(obj: JsonObject, status: msgspec.Struct) -> JsonObject:
    """``obj`` with a status instead of its own; fields that the status' model does not know stay."""
    known = status.__struct_encode_fields__
    before: JsonObject = obj.get("status") or {}
    unknown = {name: value for name, value in before.items() if name not in known}
    return {**obj, "status": {**unknown, **encode(status)}}


class StatusPatcher:
    """Writes statuses and finalizers of one kind.

    Args:
        client: under the controller's own identity.
        resource: the kind.
        field_manager: Flux' name, such as ``gotk-kustomize-controller``.
        owned: condition types that only this controller writes.
        clock: waits between tries.
        finalizer: the finalizer to add and remove.

    """

    def __init__(
        self,
        client: KubeClient,
        resource: Resource,
        *,
        field_manager: str,
        owned: frozenset[str],
        clock: Clock,
        finalizer: str = FINALIZER,
    ) -> None:
        self._client = client
        self._resource = resource
        self._field_manager = field_manager
        self._owned = owned
        self._clock = clock
        self._finalizer = finalizer

    async def patch(
        self, before: JsonObject, after: JsonObject, *, rebase: Rebase | None = None
    ) -> JsonObject:
        """Bring the live status to what ``after`` says.

        Args:
            before: the object as it was read; not changed.
            after: a copy with the wanted ``status``; everything else in it is ignored.
            rebase: called after a conflict, for fields that must be joined rather than replaced,
                such as an inventory.

        Returns:
            The object as it is now on the server; ``before`` itself if nothing differs.

        Raises:
            NotFound: the object, or the one that ``before`` was, is gone.
            Conflict: somebody wrote meanwhile at each of 5 tries.

        """
        if not merge_patch(_status(before), _status(after)):
            return before
        wanted = after

        async def attempt(latest: JsonObject) -> JsonObject:
            nonlocal wanted
            if rebase and latest is not before:
                wanted = rebase(latest, after)
            status = self._merged(before, wanted, latest)
            body = merge_patch(_status(latest), status)
            if not body:
                return latest
            return await self._send({"status": body}, latest, subresource="status")

        return await self._locked(before, attempt)

    async def add_finalizer(self, obj: JsonObject) -> JsonObject:
        """Add the finalizer unless it is there; the object as it is then on the server.

        Raises:
            NotFound: the object is gone.
            Conflict: somebody wrote meanwhile at each of 5 tries.

        """

        async def attempt(latest: JsonObject) -> JsonObject:
            present = _finalizers(latest)
            if self._finalizer in present or latest["metadata"].get("deletionTimestamp"):
                return latest
            patch = {"metadata": {"finalizers": [*present, self._finalizer]}}
            return await self._send(patch, latest)

        return await self._locked(obj, attempt)

    async def remove_finalizer(self, obj: JsonObject) -> JsonObject:
        """Remove the finalizer if it is there; an object that is gone is fine.

        Raises:
            Conflict: somebody wrote meanwhile at each of 5 tries.

        """

        async def attempt(latest: JsonObject) -> JsonObject:
            present = _finalizers(latest)
            if self._finalizer not in present:
                return latest
            kept = [name for name in present if name != self._finalizer]
            return await self._send({"metadata": {"finalizers": kept or None}}, latest)

        try:
            return await self._locked(obj, attempt)
        except NotFound:
            return obj

    async def _locked(
        self, obj: JsonObject, attempt: Callable[[JsonObject], Awaitable[JsonObject]]
    ) -> JsonObject:
        """Try under the resourceVersion of ``obj``, then under that of the live object.

        The second try follows the first at once: a snapshot that is merely old is no contention.
        """
        key, uid = key_of(obj), obj["metadata"].get("uid")
        latest = obj
        for number in range(_TRIES):
            try:
                return await attempt(latest)
            except Conflict:
                if number == _TRIES - 1:
                    raise
            if number:
                # Jitter between several writers, nothing secret.
                await self._clock.sleep(_PAUSE * (1 + random.random()))  # noqa: S311 - spreads load
            latest = await self._client.get(self._resource, key)
            if uid and latest["metadata"].get("uid") != uid:
                raise NotFound(
                    f"{self._resource.kind} {key} was replaced by another object",
                    status=404,
                    reason="NotFound",
                    details={"name": key.name},
                )
        raise AssertionError("unreachable")

    async def _send(
        self, patch: JsonObject, latest: JsonObject, *, subresource: str = ""
    ) -> JsonObject:
        metadata = dict(patch.get("metadata") or {})
        if version := latest["metadata"].get("resourceVersion"):
            metadata["resourceVersion"] = version
        return await self._client.patch(
            self._resource,
            key_of(latest),
            {**patch, "metadata": metadata},
            patch_type="merge",
            field_manager=self._field_manager,
            subresource=subresource,
        )

    def _merged(self, before: JsonObject, after: JsonObject, latest: JsonObject) -> JsonObject:
        """The status to aim at: our difference on top of ``latest``."""
        ours = merge_patch(_status(before), _status(after))
        ours.pop("conditions", None)
        status = apply_merge(_status(latest), ours)
        conditions = self._merged_conditions(before, after, latest)
        if conditions or "conditions" in status:
            status["conditions"] = conditions
        return status

    def _merged_conditions(
        self, before: JsonObject, after: JsonObject, latest: JsonObject
    ) -> list[JsonObject]:
        was, wanted, live = (_conditions(obj) for obj in (before, after, latest))
        merged: dict[str, JsonObject] = {}
        for type_ in {**live, **wanted}:
            if type_ in self._owned or live.get(type_) == was.get(type_):
                chosen = wanted.get(type_)
            else:
                chosen = live.get(type_)
            if chosen is not None:
                merged[type_] = chosen
        return sorted(
            merged.values(),
            key=lambda item: order_key(item["type"], item.get("observedGeneration") or 0),
        )


def _status(obj: JsonObject) -> JsonObject:
    status: JsonObject = obj.get("status") or {}
    return status


def _conditions(obj: JsonObject) -> dict[str, JsonObject]:
    return {item["type"]: item for item in _status(obj).get("conditions") or []}


def _finalizers(obj: JsonObject) -> list[Any]:
    return list(obj["metadata"].get("finalizers") or [])
