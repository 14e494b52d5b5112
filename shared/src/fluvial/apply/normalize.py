"""What must be done to a built object before server-side apply takes it.

Flux decodes built-in kinds into their Go types and back; of what that does, this is what matters
for the result: ``stringData`` becomes ``data``, ports have a
protocol because it is part of their list key, nulls vanish, ``status`` is not applied. Unknown
fields of built-in kinds vanish in Flux too; here they are dropped when the server names them
(``drop_undeclared``), and custom resources keep every field.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

import orjson
from cryptography import x509

from fluvial.apply.masking import LAST_APPLIED, is_secret
from fluvial.objects import JsonObject, gvk_of

__all__ = ["drop_undeclared", "is_builtin", "normalize"]

_GROUPS = frozenset({"", "apps", "batch", "autoscaling", "policy", "extensions"})
_K8S_GROUPS = frozenset(
    f"{name}.k8s.io"
    for name in (
        "admissionregistration",
        "apiextensions",
        "apiregistration",
        "authentication",
        "authorization",
        "certificates",
        "coordination",
        "discovery",
        "events",
        "flowcontrol.apiserver",
        "networking",
        "node",
        "rbac.authorization",
        "resource",
        "scheduling",
        "storage",
    )
)
_POD_PATHS: dict[str, tuple[str, ...]] = {
    "Pod": ("spec",),
    "Deployment": ("spec", "template", "spec"),
    "StatefulSet": ("spec", "template", "spec"),
    "DaemonSet": ("spec", "template", "spec"),
    "ReplicaSet": ("spec", "template", "spec"),
    "ReplicationController": ("spec", "template", "spec"),
    "Job": ("spec", "template", "spec"),
    "CronJob": ("spec", "jobTemplate", "spec", "template", "spec"),
}
_UNDECLARED = re.compile(r"(?P<path>\.[^\s:]+): field not declared in schema")


def is_builtin(group: str) -> bool:
    """Whether the API server itself serves the group, so that nulls carry no meaning."""
    return group in _GROUPS or group in _K8S_GROUPS


def normalize(obj: JsonObject) -> JsonObject:
    """The object to apply; the argument is not changed."""
    text = orjson.dumps(obj)
    obj = orjson.loads(text)
    gvk = gvk_of(obj)
    _clean_metadata(obj)
    if gvk.kind != "CustomResourceDefinition":
        obj.pop("status", None)
    if is_builtin(gvk.group):
        if b"null" in text:
            _drop_nulls(obj)
        _add_protocols(obj, gvk.kind)
    if is_secret(obj):
        _encode_string_data(obj)
    if gvk.kind == "CustomResourceDefinition" and gvk.group == "apiextensions.k8s.io":
        _drop_invalid_ca(obj)
    return obj


def _clean_metadata(obj: JsonObject) -> None:
    """Drop what only the server sets, and what the cleanup would take away again."""
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict):
        return
    for name in ("uid", "resourceVersion", "generation", "managedFields", "selfLink"):
        metadata.pop(name, None)
    if metadata.get("creationTimestamp", "") is None:
        del metadata["creationTimestamp"]
    annotations = metadata.get("annotations")
    if isinstance(annotations, dict) and annotations.pop(LAST_APPLIED, None) and not annotations:
        del metadata["annotations"]
    for name in ("labels", "annotations"):
        if metadata.get(name, "") is None:
            del metadata[name]


def _drop_nulls(value: Any) -> None:
    if isinstance(value, dict):
        for key in [key for key, item in value.items() if item is None]:
            del value[key]
        for item in value.values():
            _drop_nulls(item)
    elif isinstance(value, list):
        for item in value:
            _drop_nulls(item)


def _add_protocols(obj: JsonObject, kind: str) -> None:
    if kind == "Service":
        _default_protocol(_at(obj, ("spec", "ports")))
        return
    if kind in _POD_PATHS:
        for container in _dicts(_at(obj, (*_POD_PATHS[kind], "containers"))):
            _default_protocol(container.get("ports"))


def _default_protocol(ports: Any) -> None:
    for port in _dicts(ports):
        if not port.get("protocol"):
            port["protocol"] = "TCP"


def _dicts(value: Any) -> list[JsonObject]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _at(obj: Any, path: tuple[str, ...]) -> Any:
    for part in path:
        obj = obj.get(part) if isinstance(obj, dict) else None
    return obj


def _encode_string_data(obj: JsonObject) -> None:
    plain, data = obj.get("stringData"), obj.get("data") or {}
    if not isinstance(plain, dict) or not isinstance(data, dict):
        return
    if not all(isinstance(value, str) for value in plain.values()):
        return  # the server says which value is not a string
    encoded = {key: base64.b64encode(text.encode()).decode() for key, text in plain.items()}
    del obj["stringData"]
    obj["data"] = {**data, **encoded}


def _drop_invalid_ca(obj: JsonObject) -> None:
    config = _at(obj, ("spec", "conversion", "webhook", "clientConfig"))
    bundle = config.get("caBundle") if isinstance(config, dict) else None
    if bundle is None:
        return
    try:
        x509.load_pem_x509_certificates(base64.b64decode(str(bundle), validate=True))
    except (ValueError, binascii.Error):
        del config["caBundle"]


def drop_undeclared(obj: JsonObject, *, message: str) -> tuple[JsonObject, tuple[str, ...]]:
    """Drop the fields of a built-in kind that the server says its schema does not have.

    Args:
        obj: a normalised object.
        message: the server's refusal.

    Returns:
        The object without them, and their paths; no paths if the message names none that can be
        dropped.

    """
    if not is_builtin(gvk_of(obj).group):
        return obj, ()
    paths = [match["path"] for match in _UNDECLARED.finditer(message)]
    copy: JsonObject = orjson.loads(orjson.dumps(obj))
    dropped = tuple(path for path in dict.fromkeys(paths) if _remove(copy, path))
    return copy, dropped


_SEGMENT = re.compile(r"\.(?P<name>[^.\[\]]+)|\[(?P<selector>[^\]]*)\]")


def _remove(obj: JsonObject, path: str) -> bool:
    """Remove one path, such as ``.spec.containers[name="app"].imagee``."""
    places: list[Any] = [obj]
    segments = list(_SEGMENT.finditer(path))
    if not segments or segments[-1]["name"] is None:
        return False
    for segment in segments[:-1]:
        places = [found for place in places for found in _step(place, segment)]
    name, done = segments[-1]["name"], False
    for place in places:
        if isinstance(place, dict) and name in place:
            del place[name]
            done = True
    return done


def _step(place: Any, segment: re.Match[str]) -> list[Any]:
    name, selector = segment["name"], segment["selector"]
    if name is not None:
        return [place[name]] if isinstance(place, dict) and name in place else []
    if not isinstance(place, list):
        return []
    if selector.isdigit():
        return place[int(selector) : int(selector) + 1]
    keys = dict(re.findall(r'(\w+)=("(?:[^"\\]|\\.)*"|[^,]+)', selector))
    wanted = {key: orjson.loads(value) for key, value in keys.items()}
    return [
        item
        for item in place
        if isinstance(item, dict) and all(item.get(key) == want for key, want in wanted.items())
    ]
