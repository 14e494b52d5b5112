"""What a request means: path, verb and options, before anybody asks whether it is allowed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote

__all__ = ["RequestInfo", "parse_path"]

_METHODS = {
    "GET": "get",
    "POST": "create",
    "PUT": "update",
    "PATCH": "patch",
    "DELETE": "delete",
}
_FALSE = frozenset({"0", "false"})


@dataclass(frozen=True, slots=True)
class RequestInfo:
    """The attributes that authorisation and dispatch look at.

    ``resource`` is the plural; empty for non-resource paths, where ``verb`` is the lower-case
    method and ``path`` what is asked for.
    """

    path: str
    verb: str
    is_resource: bool = False
    group: str = ""
    version: str = ""
    namespace: str = ""
    resource: str = ""
    subresource: str = ""
    name: str = ""
    selected: str = ""

    @property
    def subject(self) -> str:
        """The name that permissions are about: also of a list or watch of one object."""
        return self.name or self.selected


def truth(text: str | None) -> bool:
    """A boolean query parameter; present with anything but 0 and false it is true."""
    return text is not None and text.lower() not in _FALSE


def parse_path(method: str, raw_path: str, query: Mapping[str, str]) -> RequestInfo:
    """Split ``/api/v1/namespaces/x/configmaps/y/status`` and the like into its parts."""
    path = raw_path
    # An escaped slash separates like any other, as in the real server.
    parts = unquote(raw_path).strip("/").split("/")
    group = ""
    if parts[0] == "apis" and len(parts) >= 4:
        group, version, rest = parts[1], parts[2], parts[3:]
    elif parts[0] == "api" and len(parts) >= 3:
        version, rest = parts[1], parts[2:]
    else:
        return RequestInfo(path=path, verb=method.lower())
    old_watch = rest[0] == "watch" and len(rest) > 1
    if old_watch:
        rest = rest[1:]
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 1:
        namespace = rest[1]
        if len(rest) > 2 and not (not group and rest[2] in {"status", "finalize"}):
            rest = rest[2:]
    method_verb = _METHODS.get(method, "")
    name = rest[1] if len(rest) > 1 else ""
    return RequestInfo(
        path=path,
        verb="watch" if old_watch else _refine(method_verb, name, query),
        is_resource=True,
        group=group,
        version=version,
        namespace=namespace,
        resource=rest[0],
        subresource="/".join(rest[2:]) if len(rest) > 2 else "",
        name=name,
        selected=_selected(query) if method_verb == "get" and not name else "",
    )


def _selected(query: Mapping[str, str]) -> str:
    """The name in ``fieldSelector=metadata.name=x``."""
    for term in query.get("fieldSelector", "").split(","):
        path, _, value = term.partition("=")
        if path == "metadata.name":
            return value.removeprefix("=")
    return ""


def _refine(verb: str, name: str, query: Mapping[str, str]) -> str:
    if name:
        return verb
    if verb == "get":
        return "watch" if truth(query.get("watch")) else "list"
    if verb == "delete":
        return "deletecollection"
    return verb
