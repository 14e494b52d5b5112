"""From built objects to the desired set: checked, labelled, normalised.

The owner labels are the right by which an object is pruned and its events are heard, so a
manifest, patch or ``commonMetadata`` that sets them to something else is refused
(in Flux ``commonMetadata`` wins and breaks pruning).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

import orjson

from fluvial.apply.errors import Failure, FailureReason, InvalidDesired, InvalidEntry
from fluvial.apply.inventory import encode_id
from fluvial.apply.masking import is_secret
from fluvial.apply.model import Owner
from fluvial.apply.normalize import normalize
from fluvial.apply.policy import is_disabled
from fluvial.objects import JsonObject, ObjectRef, gvk_of, labels_of, ref_of

__all__ = ["prepare", "prepare_set"]

_YIELD_EVERY = 32


def prepare(
    objects: Iterable[JsonObject],
    *,
    owner: Owner,
    common_labels: Mapping[str, str] | None = None,
    common_annotations: Mapping[str, str] | None = None,
) -> tuple[JsonObject, ...]:
    """Make the desired set of a build; the objects given are not changed.

    Takes about 25 µs an object: for more than a few hundred call ``prepare_set``.

    Args:
        objects: the build's objects, already flattened, in any order.
        owner: whose labels every object gets.
        common_labels: ``spec.commonMetadata.labels``, laid over every object's.
        common_annotations: ``spec.commonMetadata.annotations``, likewise.

    Raises:
        InvalidDesired: an object sets owner labels to something else, is there twice, has no
            name, or is still encrypted; every such object is listed.

    """
    preparation = _Preparation(owner, common_labels or {}, common_annotations or {})
    for obj in objects:
        preparation.add(obj)
    return preparation.finish()


async def prepare_set(
    objects: Iterable[JsonObject],
    *,
    owner: Owner,
    common_labels: Mapping[str, str] | None = None,
    common_annotations: Mapping[str, str] | None = None,
) -> tuple[JsonObject, ...]:
    """Do the same as ``prepare`` and let others run in between; for sets of any size."""
    preparation = _Preparation(owner, common_labels or {}, common_annotations or {})
    for number, obj in enumerate(objects):
        if number % _YIELD_EVERY == 0:
            await asyncio.sleep(0)
        preparation.add(obj)
    return preparation.finish()


class _Preparation:
    """One set being prepared."""

    def __init__(
        self, owner: Owner, labels: Mapping[str, str], annotations: Mapping[str, str]
    ) -> None:
        foreign = _foreign_labels(labels, owner)
        if foreign:
            raise InvalidDesired(f"spec.commonMetadata.labels must not set {foreign}: {_WHY}")
        self._owner = owner
        self._labels = {**labels, **owner.labels}
        self._annotations = annotations
        self._seen: set[ObjectRef] = set()
        self._failures: list[Failure] = []
        self._desired: list[JsonObject] = []

    def add(self, obj: JsonObject) -> None:
        failure = _misshapen(obj)
        if failure is None:
            failure = _check(obj, ref_of(obj), owner=self._owner, seen=self._seen)
        if failure is not None:
            self._failures.append(failure)
            return
        try:
            desired = _labelled(obj, self._labels, self._annotations)
        except orjson.JSONEncodeError as error:
            text = f"{ref_of(obj)} has a value that JSON cannot carry: {error}"
            self._failures.append(Failure(ref_of(obj), FailureReason.INVALID, text))
            return
        self._seen.add(ref_of(obj))
        self._desired.append(desired)

    def finish(self) -> tuple[JsonObject, ...]:
        if self._failures:
            raise InvalidDesired(failures=self._failures)
        return tuple(self._desired)


_WHY = "these labels say which object owns what; remove them"


def _foreign_labels(labels: Mapping[str, str], owner: Owner) -> str:
    return ", ".join(
        f"{key}={labels[key]}"
        for key, value in owner.labels.items()
        if key in labels and str(labels[key]) != value
    )


def _misshapen(obj: JsonObject) -> Failure | None:
    """Whatever a manifest may hold instead of the maps that everything relies on."""
    metadata = obj.get("metadata")
    kind = str(obj.get("kind") or "object")
    if not isinstance(metadata, dict):
        text = f"{kind} has no metadata, or they are not a map"
        return Failure(ObjectRef("", kind, "", ""), FailureReason.INVALID, text)
    for name in ("labels", "annotations"):
        if not isinstance(metadata.get(name), dict | None):
            text = f"{ref_of(obj)} metadata.{name} is not a map"
            return Failure(ref_of(obj), FailureReason.INVALID, text)
    return None


def _check(
    obj: JsonObject, ref: ObjectRef, *, owner: Owner, seen: set[ObjectRef]
) -> Failure | None:
    gvk = gvk_of(obj)
    if not (gvk.kind and gvk.version and ref.name):
        what = f"{gvk.kind or 'object'} {ref.name!r}"
        text = f"{what} has no apiVersion, kind or metadata.name"
        return Failure(ref, FailureReason.INVALID, text)
    if ref in seen:
        text = f"{ref} is there twice in {gvk.group or 'the core group'}: remove one of the two"
        return Failure(ref, FailureReason.DUPLICATE, text)
    foreign = _foreign_labels(labels_of(obj), owner)
    if foreign:
        return Failure(ref, FailureReason.OWNER_LABEL, f"{ref} must not set {foreign}: {_WHY}")
    if is_secret(obj) and "sops" in obj and not is_disabled(obj, owner, name="decrypt"):
        text = f"{ref} is still encrypted by SOPS: set spec.decryption so that it can be read"
        return Failure(ref, FailureReason.ENCRYPTED, text)
    try:
        encode_id(ref)
    except InvalidEntry as error:
        return Failure(ref, FailureReason.INVALID, str(error))
    return None


def _labelled(
    obj: JsonObject, labels: Mapping[str, str], annotations: Mapping[str, str]
) -> JsonObject:
    result = normalize(obj)
    metadata = result.setdefault("metadata", {})
    metadata["labels"] = {**(metadata.get("labels") or {}), **labels}
    if annotations:
        metadata["annotations"] = {**(metadata.get("annotations") or {}), **annotations}
    return result
