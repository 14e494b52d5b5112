"""The only place where an object's words become part of a URL.

Namespace, name, plural, group, version and subresource come from manifests that anybody may have
written. Each is refused if it could leave its segment and percent-encoded otherwise, so that
``secretRef.name: ../../kube-system/secrets/x`` is an error and not a read of another namespace.
The results are already encoded: give them to ``yarl.URL(..., encoded=True)`` and to nothing that
normalises paths.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote

from fluvial.errors import FluvialError
from fluvial.kube.resource import Resource
from fluvial.objects import ObjectKey

__all__ = [
    "UnsafeName",
    "check_path",
    "collection_path",
    "group_version_path",
    "header_text",
    "object_path",
    "query_string",
    "segment",
    "service_account_user",
]

_PLAIN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_FORBIDDEN = re.compile(r"[/%\\?#\x00-\x1f\x7f-\x9f\u2028\u2029]")
_SHOWN = 64


class UnsafeName(FluvialError):
    """A name that cannot be part of a URL; ``field`` says which one. Do not retry: correct it."""

    def __init__(self, field: str, value: str, problem: str) -> None:
        shown = value if len(value) <= _SHOWN else value[:_SHOWN] + "..."
        super().__init__(f"invalid {field} {shown!a}: {problem}")
        self.field = field


def segment(value: str, field: str) -> str:
    """One path segment, checked and percent-encoded.

    Args:
        value: the raw text, as an object has it.
        field: what it is, for the message: ``namespace``, ``name``, ``plural`` ...

    Raises:
        UnsafeName: it is empty, ``.`` or ``..``, or has a character that ends a segment.

    """
    if _PLAIN.fullmatch(value):
        return value
    if not value:
        raise UnsafeName(field, value, "it must not be empty")
    if value in {".", ".."}:
        raise UnsafeName(field, value, "it must not be '.' or '..'")
    if _FORBIDDEN.search(value):
        raise UnsafeName(
            field, value, "it must not contain '/', '%', '\\', '?', '#' or control characters"
        )
    try:
        return quote(value, safe=":", errors="strict")
    except UnicodeEncodeError:
        raise UnsafeName(field, value, "it is not valid text") from None


def group_version_path(group: str, version: str) -> str:
    """``/api/v1`` for the core group, ``/apis/<group>/<version>`` for every other.

    Raises:
        UnsafeName: a part could leave its segment.

    """
    part = segment(version, "version")
    if not group:
        return f"/api/{part}"
    return f"/apis/{segment(group, 'group')}/{part}"


def collection_path(resource: Resource, namespace: str = "") -> str:
    """Path of all objects of a resource, in one namespace or (``""``) in all of them.

    The namespace is ignored for a resource of cluster scope.

    Raises:
        UnsafeName: a part could leave its segment.

    """
    base = group_version_path(resource.group, resource.version)
    plural = segment(resource.plural, "plural")
    if not resource.namespaced or not namespace:
        return f"{base}/{plural}"
    return f"{base}/namespaces/{segment(namespace, 'namespace')}/{plural}"


def object_path(resource: Resource, key: ObjectKey, subresource: str = "") -> str:
    """Path of one object or of a subresource of it; the namespace is ignored for cluster scope.

    Raises:
        UnsafeName: a part could leave its segment, or a namespaced object has no namespace.

    """
    if resource.namespaced and not key.namespace:
        raise UnsafeName("namespace", "", f"{resource.kind} {key.name!a} needs one")
    path = f"{collection_path(resource, key.namespace)}/{segment(key.name, 'name')}"
    return f"{path}/{segment(subresource, 'subresource')}" if subresource else path


def query_string(parameters: Mapping[str, str]) -> str:
    """``?a=b&c=d`` from raw texts, ``""`` where nothing is set; parameters that are ``""`` go.

    Raises:
        UnsafeName: a value is not valid text.

    """
    parts = [f"{quote(k)}={_query_value(k, v)}" for k, v in parameters.items() if v]
    return "?" + "&".join(parts) if parts else ""


def service_account_user(namespace: str, name: str) -> str:
    """The user name of a service account, for impersonation.

    Raises:
        UnsafeName: a part is empty, or could be read as another account.

    """
    for value, field in ((namespace, "namespace"), (name, "service account")):
        if segment(value, field) != value or ":" in value:
            raise UnsafeName(field, value, "it is not the name of a Kubernetes object")
    return f"system:serviceaccount:{namespace}:{name}"


def header_text(value: str, field: str) -> str:
    """A text that comes from an object and goes into a header.

    Raises:
        UnsafeName: it is empty, or could end the header.

    """
    if not value:
        raise UnsafeName(field, value, "it must not be empty")
    if not value.isprintable():
        raise UnsafeName(field, value, "it must not contain line breaks or control characters")
    return value


def check_path(path: str) -> None:
    """Refuse a ready path that could leave the server or be read as another path.

    Raises:
        UnsafeName: it does not start with ``/``, is not encoded, or has ``.`` or ``..``.

    """
    location = path.partition("?")[0]
    if not path.startswith("/") or not path.isprintable() or " " in path or "#" in path:
        raise UnsafeName("path", path, "it must be an encoded path that starts with '/'")
    if any(part in {".", ".."} for part in location.split("/")):
        raise UnsafeName("path", path, "it must not contain '.' or '..'")


def _query_value(name: str, value: str) -> str:
    try:
        return quote(value, safe=":,", errors="strict")
    except UnicodeEncodeError:
        raise UnsafeName(f"query parameter {name}", value, "it is not valid text") from None
