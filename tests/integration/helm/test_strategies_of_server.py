"""The table of merge strategies holds what a real API server says of the kinds that it serves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from controlplane.start import ControlPlane
from fluvial.helm.clientside.strategies import is_built_in, rules_of
from fluvial.kube.http import HttpKubeClient
from fluvial.objects import JsonObject
from integration.apply.apply_world import connect
from unit.helm.published_rules import published_rules

pytestmark = [pytest.mark.real, pytest.mark.slow]

_OF_THE_SERVER = {"APIGroup", "APIResourceList", "ComponentStatus", "DeleteOptions", "Status"}


async def _documents(client: HttpKubeClient) -> dict[str, JsonObject]:
    """What is published of the built-in groups, by group and version."""
    index = await client.request("GET", "/openapi/v3")
    found: dict[str, JsonObject] = {}
    for name, place in index["paths"].items():
        parts = name.split("/")
        if len(parts) == (2 if parts[0] == "api" else 3):
            group = "" if parts[0] == "api" else parts[1]
            if is_built_in(group):
                found[name] = await client.request("GET", place["serverRelativeURL"])
    return found


def _kinds(types: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    for name, definition in types.items():
        for gvk in definition.get("x-kubernetes-group-version-kind", ()):
            kind = gvk["kind"]
            known = is_built_in(gvk["group"]) and kind not in _OF_THE_SERVER
            if known and "metadata" in definition["properties"] and not kind.endswith("List"):
                yield name, gvk["group"], kind


async def test_the_table_is_what_the_server_says(real_control_plane: ControlPlane) -> None:
    plane = real_control_plane
    async with connect(plane.url, plane.ca_pem, plane.admin_token) as client:
        documents = await _documents(client)
    compared, differ = set(), set()
    for document in documents.values():
        types = document["components"]["schemas"]
        for name, group, kind in _kinds(types):
            compared.add((group, kind))
            if rules_of(group, kind) != published_rules(types, name, top=True):
                differ.add((group, kind))

    assert differ == set()
    assert {("", "Pod"), ("apps", "Deployment"), ("policy", "PodDisruptionBudget")} <= compared
    assert len(compared) > 50
