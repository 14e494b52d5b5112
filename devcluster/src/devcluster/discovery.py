"""Discovery: ``/api``, ``/apis``, each group version, and the aggregated form of both."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any

from devcluster.kinds import Kind, Kinds, api_version

__all__ = ["Discovery", "wants_aggregated"]

JsonObject = dict[str, Any]
_AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


def wants_aggregated(accept: str) -> str:
    """The content type of the aggregated form if ``Accept`` names it at all."""
    asked = {"as=APIGroupDiscoveryList", "g=apidiscovery.k8s.io", "v=v2"}
    for clause in accept.split(","):
        media, *params = (part.strip() for part in clause.split(";"))
        if media in {"application/json", "*/*"} and asked <= set(params):
            return _AGGREGATED
    return ""


class Discovery:
    """Documents made from the registry of kinds."""

    def __init__(self, kinds: Kinds, *, address: str = "") -> None:
        self._kinds = kinds
        self.address = address

    def legacy_versions(self) -> JsonObject:
        """``/api``."""
        return {
            "kind": "APIVersions",
            "versions": ["v1"],
            "serverAddressByClientCIDRs": [
                {"clientCIDR": "0.0.0.0/0", "serverAddress": self.address}
            ],
        }

    def group_list(self) -> JsonObject:
        """``/apis``."""
        groups = [self._group(group, versions) for group, versions in self._kinds.groups() if group]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}

    def group(self, group: str) -> JsonObject | None:
        """``/apis/<group>``."""
        versions = self._kinds.versions(group)
        if not group or not versions:
            return None
        return {"kind": "APIGroup", "apiVersion": "v1", **self._group(group, versions)}

    def is_builtin(self, group: str) -> bool:
        """Whether the server has the group by itself."""
        return any(
            not kind.crd for v in self._kinds.versions(group) for kind in self._kinds.of(group, v)
        )

    @staticmethod
    def _group(group: str, versions: list[str]) -> JsonObject:
        listed = [{"groupVersion": f"{group}/{v}", "version": v} for v in versions]
        return {"name": group, "versions": listed, "preferredVersion": listed[0]}

    def resources(self, group: str, version: str) -> JsonObject | None:
        """``/api/v1`` and ``/apis/<group>/<version>``."""
        if version not in self._kinds.versions(group):
            return None
        listed: list[JsonObject] = []
        for kind in self._kinds.of(group, version):
            listed += _plain(kind)
        document = {
            "kind": "APIResourceList",
            "apiVersion": "v1",
            "groupVersion": api_version(group, version),
            "resources": listed,
        }
        if not group:
            del document["apiVersion"]  # the core group's list has none
        return document

    def aggregated(self, *, legacy: bool) -> JsonObject:
        """All groups in one document: the core group, or all others."""
        items = [
            self._aggregated_group(group, versions)
            for group, versions in self._kinds.groups()
            if (not group) is legacy
        ]
        return {
            "kind": "APIGroupDiscoveryList",
            "apiVersion": "apidiscovery.k8s.io/v2",
            "metadata": {},
            "items": items,
        }

    def _aggregated_group(self, group: str, versions: list[str]) -> JsonObject:
        return {
            "metadata": {"name": group} if group else {},
            "versions": [
                {
                    "version": version,
                    "resources": [_aggregated(kind) for kind in self._kinds.of(group, version)],
                    "freshness": "Current",
                }
                for version in versions
            ],
        }


def _plain(kind: Kind) -> list[JsonObject]:
    entry: JsonObject = {
        "name": kind.plural,
        "singularName": kind.singular,
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": list(kind.verbs),
    }
    if kind.short_names:
        entry["shortNames"] = list(kind.short_names)
    if kind.categories:
        entry["categories"] = list(kind.categories)
    if kind.stored:
        entry["storageVersionHash"] = _storage_hash(kind)
    listed = [entry]
    for sub in kind.subresources.values():
        row: JsonObject = {
            "name": f"{kind.plural}/{sub.name}",
            "singularName": "",
            "namespaced": kind.namespaced,
            "kind": sub.kind,
            "verbs": list(sub.verbs),
        }
        if sub.group:
            row |= {"group": sub.group, "version": sub.version}
        listed.append(row)
    return listed


def _storage_hash(kind: Kind) -> str:
    """The opaque value by which clients see that a kind's storage moved."""
    version = kind.stored_version
    if kind.plural == "customresourcedefinitions":
        version = "v1beta1"  # what kube-apiserver still stores definitions as
    text = f"{kind.table[0]}/{version}/{kind.kind}"
    return base64.b64encode(hashlib.sha256(text.encode()).digest()[:8]).decode()


def _gvk(group: str, version: str, kind: str) -> Mapping[str, str]:
    return {"group": group, "version": version, "kind": kind}


def _aggregated(kind: Kind) -> JsonObject:
    # Built-in kinds leave group and version of the response kind empty when they are the same.
    own = (kind.group, kind.version) if kind.crd else ("", "")
    entry: JsonObject = {
        "resource": kind.plural,
        "responseKind": _gvk(*own, kind.kind),
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": kind.singular,
        "verbs": list(kind.verbs),
    }
    if kind.short_names:
        entry["shortNames"] = list(kind.short_names)
    if kind.categories:
        entry["categories"] = list(kind.categories)
    if kind.subresources:
        entry["subresources"] = [
            {
                "subresource": sub.name,
                "responseKind": _gvk(*((sub.group, sub.version) if sub.group else own), sub.kind),
                "verbs": list(sub.verbs),
            }
            for sub in kind.subresources.values()
        ]
    return entry
