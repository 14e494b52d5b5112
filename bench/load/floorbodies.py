"""Bodies of the floor's requests: what the controllers write, at the size that they write it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import yaml

from bench.load.workload import Workload
from fluvial.apply import Owner, encode_id, prepare
from fluvial.build.substitute import substitute
from fluvial.objects import JsonObject, ObjectKey, key_of, ref_of

__all__ = ["applied_objects", "event", "inventory", "outcome", "progress"]

_REVISION = "main@sha1:" + "0123456789abcdef" * 2 + "01234567"
_DIGEST = "sha256:" + hashlib.sha256(b"floor").hexdigest()
_TIME = "2026-01-01T00:00:00Z"
_GROUP = "kustomize.toolkit.fluxcd.io"


def _variables(owner: JsonObject) -> dict[str, str]:
    """``spec.postBuild.substitute`` of a Kustomization."""
    build = owner["spec"].get("postBuild") or {}
    return {str(key): str(value) for key, value in (build.get("substitute") or {}).items()}


def applied_objects(workload: Workload, owner: JsonObject) -> tuple[JsonObject, ...]:
    """What a Kustomization's controller applies: built, substituted, in its place, labelled."""
    values = _variables(owner)
    namespace = owner["spec"].get("targetNamespace") or key_of(owner).namespace
    objects: list[JsonObject] = []
    for text in workload.content.values():
        for obj in yaml.safe_load_all(substitute(text, values, strict=True)):
            obj["metadata"]["namespace"] = namespace
            objects.append(obj)
    key = key_of(owner)
    return prepare(objects, owner=Owner(_GROUP, "Kustomization", key.namespace, key.name))


def _condition(type_: str, status: str, reason: str, message: str, generation: int) -> JsonObject:
    """A condition as it is written."""
    return {
        "type": type_,
        "status": status,
        "reason": reason,
        "message": message,
        "observedGeneration": generation,
        "lastTransitionTime": _TIME,
    }


def progress(obj: JsonObject) -> JsonObject:
    """The status that says that new work begins."""
    generation = int(obj["metadata"].get("generation", 1))
    message = f"Fetching manifests for revision {_REVISION} with a timeout of 1m0s"
    return {
        "conditions": [
            _condition("Reconciling", "True", "Progressing", message, generation),
            _condition("Ready", "Unknown", "Progressing", "Reconciliation in progress", generation),
        ]
    }


def inventory(objects: Sequence[JsonObject]) -> JsonObject:
    """The status that names what is about to be written."""
    entries = [
        {"id": encode_id(ref_of(obj)), "v": obj["apiVersion"].rpartition("/")[2]} for obj in objects
    ]
    return {"inventory": {"entries": entries}}


def outcome(obj: JsonObject) -> JsonObject:
    """The status of a source or Kustomization that has succeeded."""
    generation = int(obj["metadata"].get("generation", 1))
    made = _owner(obj, generation) if obj["kind"] == "Kustomization" else _source(obj, generation)
    return {"observedGeneration": generation, **made}


def _source(obj: JsonObject, generation: int) -> JsonObject:
    key = key_of(obj)
    path = f"{obj['kind'].lower()}/{key.namespace}/{key.name}/{_REVISION.rpartition(':')[2]}.tar.gz"
    message = f"stored artifact for revision '{_REVISION}'"
    return {
        "conditions": [
            _condition("Ready", "True", "Succeeded", message, generation),
            _condition("ArtifactInStorage", "True", "Succeeded", message, generation),
        ],
        "artifact": {
            "path": path,
            "url": f"http://127.0.0.1:9090/{path}",
            "revision": _REVISION,
            "digest": _DIGEST,
            "lastUpdateTime": _TIME,
            "size": 1234,
        },
    }


def _owner(obj: JsonObject, generation: int) -> JsonObject:
    message = f"Applied revision: {_REVISION}"
    entry = {
        "digest": _DIGEST,
        "firstReconciled": _TIME,
        "lastReconciled": _TIME,
        "lastReconciledDuration": "1.234s",
        "lastReconciledStatus": "ReconciliationSucceeded",
        "metadata": {"revision": _REVISION},
        "totalReconciliations": 1,
    }
    older = (obj.get("status") or {}).get("history") or []
    return {
        "conditions": [
            _condition("Ready", "True", "ReconciliationSucceeded", message, generation),
            _condition("Healthy", "True", "Succeeded", "Health check passed in 1s", generation),
        ],
        "lastAppliedRevision": _REVISION,
        "lastAttemptedRevision": _REVISION,
        "history": [entry, *older][:5],
    }


def event(obj: JsonObject, number: int, *, component: str) -> JsonObject:
    """The event of an outcome; ``number`` makes its name."""
    key: ObjectKey = key_of(obj)
    involved: dict[str, Any] = {
        "apiVersion": obj["apiVersion"],
        "kind": obj["kind"],
        "namespace": key.namespace,
        "name": key.name,
        "uid": obj["metadata"].get("uid", ""),
        "resourceVersion": obj["metadata"].get("resourceVersion", ""),
    }
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": f"{key.name}.{number:x}",
            "namespace": key.namespace,
            "annotations": {f"{_GROUP}/revision": _REVISION},
        },
        "involvedObject": involved,
        "reason": "ReconciliationSucceeded",
        "message": "Reconciliation finished in 1.234s, next run in 60m",
        "type": "Normal",
        "source": {"component": component},
        "firstTimestamp": _TIME,
        "lastTimestamp": _TIME,
        "count": 1,
        "reportingComponent": component,
        "reportingInstance": "",
    }
