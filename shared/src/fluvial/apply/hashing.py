"""Hashes of objects: kept in memory to tell "as it was" from "changed", never published."""

from __future__ import annotations

import hashlib

import orjson

from fluvial.objects import JsonObject

__all__ = ["canonical", "desired_hash", "live_hash", "outline"]

_VOLATILE = frozenset({"managedFields", "resourceVersion", "generation"})
# Annotations by which a kind's own controller reports, like a status: they follow each apply.
_REPORTED = frozenset({"deployment.kubernetes.io/revision"})


def canonical(obj: object) -> bytes:
    """JSON with sorted keys: equal bytes are equal values."""
    return orjson.dumps(obj, option=orjson.OPT_SORT_KEYS)


def desired_hash(obj: JsonObject) -> str:
    """Hash of a desired object as it would be sent."""
    return hashlib.blake2b(canonical(obj), digest_size=16).hexdigest()


def live_hash(obj: JsonObject) -> str:
    """Hash of a live object without status, managedFields, resourceVersion and generation.

    Nor with annotations that its kind's own controller writes as part of its report.
    """
    body = {key: value for key, value in obj.items() if key != "status"}
    metadata = body.get("metadata") or {}
    body["metadata"] = {key: metadata[key] for key in metadata if key not in _VOLATILE}
    annotations = metadata.get("annotations")
    if annotations and not _REPORTED.isdisjoint(annotations):
        kept = {key: value for key, value in annotations.items() if key not in _REPORTED}
        body["metadata"]["annotations"] = kept
        if not kept:
            del body["metadata"]["annotations"]
    return hashlib.blake2b(canonical(body), digest_size=16).hexdigest()


def outline(obj: JsonObject) -> int:
    """What metadata alone tells of an object's state beyond its status.

    Equal for two states that differ in status and managedFields only, where the kind counts
    generations; of other kinds each version is a state of its own.
    """
    metadata = obj.get("metadata") or {}
    annotations = metadata.get("annotations") or {}
    state = (
        metadata.get("uid"),
        metadata.get("generation") or metadata.get("resourceVersion"),
        metadata.get("labels") or {},
        {key: value for key, value in annotations.items() if key not in _REPORTED},
        metadata.get("finalizers") or [],
        metadata.get("ownerReferences") or [],
        metadata.get("deletionTimestamp"),
    )
    digest = hashlib.blake2b(canonical(state), digest_size=8).digest()
    return int.from_bytes(digest, "big")
