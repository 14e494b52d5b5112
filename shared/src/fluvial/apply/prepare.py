"""From built objects to the desired set: checked, labelled, normalised.

The owner labels are the right by which an object is pruned and its events are heard, so a
manifest, patch or ``commonMetadata`` that sets them to something else is refused (DESIGN,
"Ownership"; in Flux ``commonMetadata`` wins and breaks pruning).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fluvial.apply.errors import Failure, FailureReason, InvalidDesired, InvalidEntry
from fluvial.apply.inventory import encode_id
from fluvial.apply.masking import is_secret
from fluvial.apply.model import Owner
from fluvial.apply.normalize import normalize
from fluvial.apply.policy import is_disabled
from fluvial.objects import JsonObject, ObjectRef, gvk_of, labels_of, ref_of

__all__ = ["prepare"]


def prepare(
    objects: Iterable[JsonObject],
    *,
    owner: Owner,
    common_labels: Mapping[str, str] | None = None,
    common_annotations: Mapping[str, str] | None = None,
) -> tuple[JsonObject, ...]:
    """Make the desired set of a build; the objects given are not changed.

    Args:
        objects: the build's objects, already flattened, in any order.
        owner: whose labels every object gets.
        common_labels: ``spec.commonMetadata.labels``, laid over every object's.
        common_annotations: ``spec.commonMetadata.annotations``, likewise.

    Raises:
        InvalidDesired: an object sets owner labels to something else, is there twice, has no
            name, or is still encrypted; every such object is listed.

    """
    failures: list[Failure] = []
    desired: list[JsonObject] = []
    seen: set[ObjectRef] = set()
    foreign = _foreign_labels(common_labels or {}, owner)
    if foreign:
        raise InvalidDesired(f"spec.commonMetadata.labels must not set {foreign}: {_WHY}")
    for obj in objects:
        ref = ref_of(obj)
        failure = _check(obj, ref, owner=owner, seen=seen)
        if failure is not None:
            failures.append(failure)
            continue
        seen.add(ref)
        desired.append(
            _labelled(obj, {**(common_labels or {}), **owner.labels}, common_annotations or {})
        )
    if failures:
        raise InvalidDesired(failures=failures)
    return tuple(desired)


_WHY = "these labels say which object owns what; remove them"


def _foreign_labels(labels: Mapping[str, str], owner: Owner) -> str:
    return ", ".join(
        f"{key}={labels[key]}"
        for key, value in owner.labels.items()
        if key in labels and str(labels[key]) != value
    )


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
