"""``python -m controlplane.facts [--check]``: what devcluster knows of the real API server.

Writes ``devcluster/data/*.json`` anew from a running control plane. Facts only, no prose:

    kinds.json      names, verbs, short names and subresources of the kinds that devcluster serves,
                    out of aggregated discovery
    columns.json    name, type, format and priority of the columns of their tables
    rbac.json       the roles and bindings that every API server makes for itself

Which kinds and subresources are served is devcluster's choice, and stands in ``SERVED`` and
``SUBRESOURCES``. After an upgrade of Kubernetes: run, read the difference, commit.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path
from typing import Any, Self

import aiohttp

from controlplane.start import ControlPlane

__all__ = ["DATA", "FILES", "SERVED", "SUBRESOURCES", "gather", "main", "to_text"]

Json = dict[str, Any]
DATA = Path(__file__).resolve().parents[2] / "devcluster" / "src" / "devcluster" / "data"
FILES = ("kinds.json", "columns.json", "rbac.json")

SERVED: dict[str, frozenset[str]] = {
    "/v1": frozenset(
        {
            *("configmaps", "endpoints", "events", "limitranges", "namespaces", "nodes", "pods"),
            *("persistentvolumeclaims", "persistentvolumes", "replicationcontrollers"),
            *("resourcequotas", "secrets", "serviceaccounts", "services"),
        }
    ),
    "apps/v1": frozenset(
        {"controllerrevisions", "daemonsets", "deployments", "replicasets", "statefulsets"}
    ),
    "events.k8s.io/v1": frozenset({"events"}),
    "authentication.k8s.io/v1": frozenset({"selfsubjectreviews", "tokenreviews"}),
    "authorization.k8s.io/v1": frozenset(
        {
            *("localsubjectaccessreviews", "selfsubjectaccessreviews"),
            *("selfsubjectrulesreviews", "subjectaccessreviews"),
        }
    ),
    "autoscaling/v2": frozenset({"horizontalpodautoscalers"}),
    "autoscaling/v1": frozenset({"horizontalpodautoscalers"}),
    "batch/v1": frozenset({"cronjobs", "jobs"}),
    "networking.k8s.io/v1": frozenset({"ingressclasses", "ingresses", "networkpolicies"}),
    "policy/v1": frozenset({"poddisruptionbudgets"}),
    "rbac.authorization.k8s.io/v1": frozenset(
        {"clusterrolebindings", "clusterroles", "rolebindings", "roles"}
    ),
    "storage.k8s.io/v1": frozenset({"storageclasses"}),
    "admissionregistration.k8s.io/v1": frozenset(
        {
            *("mutatingadmissionpolicies", "mutatingadmissionpolicybindings"),
            *("mutatingwebhookconfigurations", "validatingwebhookconfigurations"),
            *("validatingadmissionpolicies", "validatingadmissionpolicybindings"),
        }
    ),
    "apiextensions.k8s.io/v1": frozenset({"customresourcedefinitions"}),
    "scheduling.k8s.io/v1": frozenset({"priorityclasses"}),
    "coordination.k8s.io/v1": frozenset({"leases"}),
    "node.k8s.io/v1": frozenset({"runtimeclasses"}),
    "discovery.k8s.io/v1": frozenset({"endpointslices"}),
}
SUBRESOURCES = frozenset({"finalize", "scale", "status", "token"})

_DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
_TABLE = "application/json;as=Table;g=meta.k8s.io;v=v1"
_RBAC = "/apis/rbac.authorization.k8s.io/v1"
_BOOTSTRAP = "kubernetes.io/bootstrapping=rbac-defaults"
_ROLES = {
    "ClusterRole": "clusterroles",
    "ClusterRoleBinding": "clusterrolebindings",
    "Role": "roles",
    "RoleBinding": "rolebindings",
}
_META = ("name", "namespace", "labels", "annotations")
_BODY = ("aggregationRule", "rules", "roleRef", "subjects")
_READY_SECONDS = 30.0
_POLL_SECONDS = 0.1


def main(arguments: list[str] | None = None) -> int:
    """Write the files, or with ``--check`` compare; 1 when they differ from what the server says."""
    parser = argparse.ArgumentParser(prog="python -m controlplane.facts", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing")
    options = parser.parse_args(arguments)
    found = asyncio.run(_from_a_fresh_one())
    stale = [name for name in FILES if (DATA / name).read_text() != to_text(found[name])]
    for name in stale:
        if not options.check:
            (DATA / name).write_text(to_text(found[name]))
        sys.stdout.write(f"{name} {'differs' if options.check else 'written'}\n")
    return int(bool(stale) and options.check)


async def gather(plane: ControlPlane) -> dict[str, Any]:
    """File name to content, as ``plane`` answers it."""
    async with _Server(plane) as server:
        kinds = await _kinds(server)
        return {
            "kinds.json": kinds,
            "columns.json": await _columns(server, kinds),
            "rbac.json": await _roles(server),
        }


def to_text(content: Any) -> str:
    """One entry a line, so that a difference can be read."""
    if isinstance(content, list):
        return "[\n" + ",\n".join(json.dumps(entry) for entry in content) + "\n]\n"
    entries = []
    for key, value in content.items():
        nested = value and isinstance(value[0], dict)
        entries.append(f"{json.dumps(key)}: {_lines(value) if nested else json.dumps(value)}")
    return "{\n" + ",\n".join(entries) + "\n}\n"


def _lines(entries: list[Json]) -> str:
    return "[\n" + ",\n".join(json.dumps(entry) for entry in entries) + "\n]"


async def _from_a_fresh_one() -> dict[str, Any]:
    async with ControlPlane() as plane:
        return await gather(plane)


class _Server:
    """GET as the admin."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            self._plane.url,
            connector=aiohttp.TCPConnector(ssl=self._plane.ssl_context()),
            headers={"Authorization": f"Bearer {self._plane.admin_token}"},
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def get(self, path: str, accept: str = "application/json") -> Json:
        async with self._session.get(path, headers={"Accept": accept}) as answer:
            answer.raise_for_status()
            body: Json = await answer.json()
            return body


# --- kinds and columns ---------------------------------------------------------------------------


async def _kinds(server: _Server) -> list[Json]:
    core = await server.get("/api", _DISCOVERY)
    others = await server.get("/apis", _DISCOVERY)
    found: list[Json] = []
    for group in [*core["items"], *others["items"]]:
        name = group.get("metadata", {}).get("name", "")
        for version in group["versions"]:
            served = SERVED.get(f"{name}/{version['version']}", frozenset())
            found += [
                _kind(resource, group=name, version=version["version"])
                for resource in sorted(version["resources"], key=lambda r: str(r["resource"]))
                if resource["resource"] in served
            ]
    return found


def _kind(resource: Json, *, group: str, version: str) -> Json:
    entry = {
        "group": group,
        "version": version,
        "kind": resource["responseKind"]["kind"],
        "plural": resource["resource"],
        "singular": resource["singularResource"],
        "namespaced": resource["scope"] == "Namespaced",
        "verbs": sorted(resource["verbs"]),
    }
    for ours, theirs in (("short_names", "shortNames"), ("categories", "categories")):
        if resource.get(theirs):
            entry[ours] = resource[theirs]
    below = [
        _subresource(part)
        for part in sorted(resource.get("subresources", ()), key=lambda p: str(p["subresource"]))
        if part["subresource"] in SUBRESOURCES
    ]
    return {**entry, "subresources": below} if below else entry


def _subresource(part: Json) -> Json:
    """Group and version are empty where they are those of the resource."""
    of = part["responseKind"]
    return {
        "name": part["subresource"],
        "kind": of["kind"],
        "group": of["group"],
        "version": of["version"],
        "verbs": sorted(part["verbs"]),
    }


async def _columns(server: _Server, kinds: list[Json]) -> Json:
    found: Json = {}
    for kind in kinds:
        if "list" not in kind["verbs"]:
            continue
        group_version = f"{kind['group']}/{kind['version']}"
        root = "/apis/" if kind["group"] else "/api"
        table = await server.get(f"{root}{group_version}/{kind['plural']}?limit=1", _TABLE)
        found[f"{group_version}/{kind['plural']}"] = [
            [column["name"], column["type"], column["format"], column["priority"]]
            for column in table["columnDefinitions"]
        ]
    return found


# --- roles ---------------------------------------------------------------------------------------


async def _roles(server: _Server) -> Json:
    deadline = asyncio.get_running_loop().time() + _READY_SECONDS
    while True:
        found = {kind: await _objects(server, plural) for kind, plural in _ROLES.items()}
        # The server makes them in a hook after its start, the bindings last.
        if all(found.values()) or asyncio.get_running_loop().time() > deadline:
            break
        await asyncio.sleep(_POLL_SECONDS)
    _aggregate(found["ClusterRole"])
    return found


async def _objects(server: _Server, plural: str) -> list[Json]:
    listed = await server.get(f"{_RBAC}/{plural}?labelSelector={_BOOTSTRAP}")
    return [
        {
            "metadata": {key: obj["metadata"][key] for key in _META if key in obj["metadata"]},
            **{key: obj[key] for key in _BODY if obj.get(key)},
        }
        for obj in listed["items"]
    ]


def _aggregate(roles: list[Json]) -> None:
    """What the server's own roles add up to; others may have added to them by label."""
    for role in roles:
        rules: list[Json] = []
        for selector in role.get("aggregationRule", {}).get("clusterRoleSelectors", ()):
            for other in roles:
                labels = other["metadata"]["labels"]
                if other is not role and selector["matchLabels"].items() <= labels.items():
                    rules += [rule for rule in other.get("rules", ()) if rule not in rules]
        if "aggregationRule" in role:
            role["rules"] = rules


if __name__ == "__main__":
    raise SystemExit(main())
