"""Bodies of the floor's requests: what the controllers write, at the size that they write it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from typing import Any

import orjson
import yaml
from msgspec import Raw

from bench.load.podinfo import NAME, VERSION, chart_files, rendered_objects
from bench.load.workload import Workload
from fluvial.apply import Owner, encode_id, prepare
from fluvial.build.substitute import substitute
from fluvial.helm.record import encode_release
from fluvial.helm.release import ChartMetadata, Info, Release
from fluvial.objects import JsonObject, ObjectKey, key_of, ref_of

__all__ = [
    "applied_objects",
    "event",
    "helm_chart",
    "inventory",
    "outcome",
    "progress",
    "record",
]

_REVISION = "main@sha1:" + "0123456789abcdef" * 2 + "01234567"
_DIGEST = "sha256:" + hashlib.sha256(b"floor").hexdigest()
_TIME = "2026-01-01T00:00:00Z"
_GROUP = "kustomize.toolkit.fluxcd.io"
_HELM = "helm.toolkit.fluxcd.io"


def _variables(owner: JsonObject) -> dict[str, str]:
    """``spec.postBuild.substitute`` of a Kustomization."""
    build = owner["spec"].get("postBuild") or {}
    return {str(key): str(value) for key, value in (build.get("substitute") or {}).items()}


def applied_objects(workload: Workload, owner: JsonObject) -> tuple[JsonObject, ...]:
    """What an owner's controller applies: built, substituted, in its place, labelled."""
    if owner["kind"] == "HelmRelease":
        return _released_objects(workload, owner)
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
    makers = {"Kustomization": _owner, "HelmRelease": _release}
    made = makers.get(obj["kind"], _source)(obj, generation)
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


def _released_objects(workload: Workload, owner: JsonObject) -> tuple[JsonObject, ...]:
    """What a release's objects are when they are applied: with Helm's marks and the owner's."""
    key = key_of(owner)
    mcpu = str(workload.parameters["mcpu"])
    objects = rendered_objects(str(owner["spec"]["releaseName"]), key.namespace, mcpu=mcpu)
    for obj in objects:
        metadata = obj["metadata"]
        metadata["labels"] = metadata["labels"] | {
            f"{_HELM}/name": key.name,
            f"{_HELM}/namespace": key.namespace,
        }
        metadata["annotations"] = {
            "meta.helm.sh/release-name": owner["spec"]["releaseName"],
            "meta.helm.sh/release-namespace": key.namespace,
        }
    return objects


def helm_chart(owner: JsonObject) -> JsonObject:
    """The HelmChart that is made for a HelmRelease."""
    key = key_of(owner)
    return {
        "apiVersion": "source.toolkit.fluxcd.io/v1",
        "kind": "HelmChart",
        "metadata": {
            "name": f"{key.namespace}-{key.name}",
            "namespace": key.namespace,
            "labels": {f"{_HELM}/name": key.name, f"{_HELM}/namespace": key.namespace},
        },
        "spec": dict(owner["spec"]["chart"]["spec"]),
    }


def record(owner: JsonObject, objects: Sequence[JsonObject], revision: int) -> JsonObject:
    """The Secret of a revision, pending."""
    key, name = key_of(owner), str(owner["spec"]["releaseName"])
    metadata = ChartMetadata(name=NAME, version=VERSION, api_version="v2")
    files = [
        {"name": path, "data": base64.b64encode(text.encode()).decode()}
        for path, text in chart_files().items()
        if path != "Chart.yaml"
    ]
    chart = {
        "metadata": {"name": NAME, "version": VERSION, "apiVersion": "v2"},
        "templates": [one for one in files if one["name"].startswith("templates/")],
        "files": [one for one in files if not one["name"].startswith("templates/")],
        "values": yaml.safe_load(chart_files()["values.yaml"]),
    }
    release = Release(
        name=name,
        namespace=key.namespace,
        version=revision,
        info=Info(status="pending-install", first_deployed=_TIME, last_deployed=_TIME),
        chart=Raw(orjson.dumps(chart)),
        metadata=metadata,
        config=owner["spec"]["values"],
        manifest="".join(f"---\n{yaml.safe_dump(obj)}" for obj in objects),
        apply_method="ssa",
    )
    labels = {"name": name, "owner": "helm", "status": "pending-install", "version": str(revision)}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": f"sh.helm.release.v1.{name}.v{revision}",
            "namespace": key.namespace,
            "labels": labels,
        },
        "type": "helm.sh/release.v1",
        "data": {"release": base64.b64encode(encode_release(release)).decode()},
    }


def _release(obj: JsonObject, generation: int) -> JsonObject:
    key, name = key_of(obj), str(obj["spec"]["releaseName"])
    older = (obj.get("status") or {}).get("history") or []
    revision = len(older) + 1
    message = f"Helm install succeeded for release {key.namespace}/{name}.v{revision} with chart {NAME}@{VERSION}"
    snapshot = {
        "apiVersion": "v2",
        "action": "install",
        "chartName": NAME,
        "chartVersion": VERSION,
        "appVersion": VERSION,
        "configDigest": _DIGEST,
        "digest": _DIGEST,
        "firstDeployed": _TIME,
        "lastDeployed": _TIME,
        "name": name,
        "namespace": key.namespace,
        "status": "deployed",
        "version": revision,
    }
    objects = rendered_objects(name, key.namespace, mcpu="1m")
    return {
        "conditions": [
            _condition("Ready", "True", "InstallSucceeded", message, generation),
            _condition("Released", "True", "InstallSucceeded", message, generation),
        ],
        "history": [snapshot, *older][:2],
        "helmChart": f"{key.namespace}/{key.namespace}-{key.name}",
        "lastAttemptedConfigDigest": _DIGEST,
        "lastAttemptedGeneration": generation,
        "lastAttemptedReleaseAction": "install",
        "lastAttemptedRevision": VERSION,
        "storageNamespace": key.namespace,
        **inventory(objects),
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
