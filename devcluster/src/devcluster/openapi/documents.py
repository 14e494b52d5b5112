"""``/openapi/v3`` with a document for each group version, and ``/openapi/v2``.

Enough for ``kubectl explain``, for client-side apply and for clients that look up whether a server
validates fields: kinds with their schemas and merge keys, paths with their kinds and parameters.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from devcluster.kinds import Kind, Kinds
from devcluster.openapi.schemas import Schemas

__all__ = ["OpenApi"]

JsonObject = dict[str, Any]
_V3_PREFIX = "#/components/schemas/"
_V2_PREFIX = "#/definitions/"
_INFO = {"title": "Kubernetes", "version": "1.37"}
_WRITE_PARAMETERS = ("dryRun", "fieldManager", "fieldValidation")
_ACTIONS = {
    "get": "get",
    "list": "list",
    "create": "post",
    "update": "put",
    "patch": "patch",
    "delete": "delete",
    "deletecollection": "deletecollection",
}
_METHODS = {
    "get": "get",
    "list": "get",
    "create": "post",
    "update": "put",
    "patch": "patch",
    "delete": "delete",
    "deletecollection": "delete",
}
_ON_ITEM = ("get", "update", "patch", "delete")
_ON_COLLECTION = ("list", "create", "deletecollection")
_WRITES = frozenset({"create", "update", "patch"})


class OpenApi:
    """Makes the documents.

    Args:
        kinds: what is served.
        definitions: gives CRD name -> definition at the time of the request.

    """

    def __init__(self, kinds: Kinds, definitions: Callable[[], dict[str, JsonObject]]) -> None:
        self._kinds = kinds
        self._definitions = definitions

    def index(self) -> JsonObject:
        """``/openapi/v3``: where each group version's document is."""
        paths: JsonObject = {}
        for group, versions in self._kinds.groups():
            for version in versions:
                path = _root(group, version)
                digest = hashlib.sha256(f"{path} {self._kinds.generation}".encode()).hexdigest()
                paths[path] = {"serverRelativeURL": f"/openapi/v3/{path}?hash={digest.upper()}"}
        return {"paths": dict(sorted(paths.items()))}

    def document(self, group: str, version: str) -> JsonObject | None:
        """The document of one group version; None when it is not served."""
        if version not in self._kinds.versions(group):
            return None
        schemas = Schemas(_V3_PREFIX, self._definitions())
        paths: JsonObject = {}
        for kind in self._kinds.of(group, version):
            name = schemas.add(kind)
            content = {"application/json": {"schema": {"$ref": _V3_PREFIX + name}}}
            paths |= _paths(kind, {"200": {"description": "OK", "content": content}}, v3=True)
        return {
            "openapi": "3.0.0",
            "info": _INFO,
            "paths": dict(sorted(paths.items())),
            "components": {"schemas": dict(sorted(schemas.found.items()))},
        }

    def swagger(self) -> JsonObject:
        """``/openapi/v2``: everything in one document."""
        schemas = Schemas(_V2_PREFIX, self._definitions())
        paths: JsonObject = {}
        for kind in self._kinds:
            name = schemas.add(kind)
            response = {"description": "OK", "schema": {"$ref": _V2_PREFIX + name}}
            paths |= _paths(kind, {"200": response}, v3=False)
        return {
            "swagger": "2.0",
            "info": _INFO,
            "paths": dict(sorted(paths.items())),
            "definitions": dict(sorted(schemas.found.items())),
        }


def _root(group: str, version: str) -> str:
    return f"apis/{group}/{version}" if group else f"api/{version}"


def _paths(kind: Kind, responses: JsonObject, *, v3: bool) -> JsonObject:
    base = "/" + _root(kind.group, kind.version)
    collection = base + ("/namespaces/{namespace}" if kind.namespaced else "") + f"/{kind.plural}"
    paths: JsonObject = {}
    places = ((collection, _ON_COLLECTION), (collection + "/{name}", _ON_ITEM))
    for path, verbs in places:
        operations = {
            _METHODS[verb]: _operation(kind, verb, responses, v3=v3)
            for verb in verbs
            if verb in kind.verbs
        }
        if operations:
            paths[path] = {**operations, "parameters": _path_parameters(path, v3=v3)}
    if kind.namespaced and "list" in kind.verbs:
        paths[f"{base}/{kind.plural}"] = {"get": _operation(kind, "list", responses, v3=v3)}
    return paths


def _operation(kind: Kind, verb: str, responses: JsonObject, *, v3: bool) -> JsonObject:
    names = [*_WRITE_PARAMETERS, "force"] if verb == "patch" else list(_WRITE_PARAMETERS)
    return {
        "operationId": f"{verb}-{kind.group}-{kind.version}-{kind.plural}",
        "parameters": [_parameter(n, "query", v3=v3) for n in names] if verb in _WRITES else [],
        "responses": responses,
        "x-kubernetes-action": _ACTIONS[verb],
        "x-kubernetes-group-version-kind": {
            "group": kind.group,
            "kind": kind.kind,
            "version": kind.version,
        },
    }


def _path_parameters(path: str, *, v3: bool) -> list[JsonObject]:
    names = [name for name in ("namespace", "name") if f"{{{name}}}" in path]
    return [{**_parameter(name, "path", v3=v3), "required": True} for name in names]


def _parameter(name: str, where: str, *, v3: bool) -> JsonObject:
    kind = "boolean" if name == "force" else "string"
    head: JsonObject = {"name": name, "in": where}
    return {**head, "schema": {"type": kind}} if v3 else {**head, "type": kind}
