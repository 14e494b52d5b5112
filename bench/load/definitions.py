"""Definitions that nobody uses, to see what discovery of a large cluster costs (flux-benchmark)."""

from __future__ import annotations

import copy

from bench.load.plane import AGENT
from fluvial.api import crd
from fluvial.apply.bounded import map_bounded
from fluvial.kube import kinds
from fluvial.kube.client import KubeClient
from fluvial.objects import JsonObject, ObjectKey

__all__ = ["install_unused", "unused"]

_AT_ONCE = 8


def unused(number: int) -> JsonObject:
    """A copy of HelmRelease's definition in a group of its own."""
    definition: JsonObject = copy.deepcopy(crd.crd(crd.HELM_RELEASE))
    group, plural = f"unused{number}.bench.example.com", f"unused{number}s"
    kind = f"Unused{number}"
    definition["metadata"] = {"name": f"{plural}.{group}"}
    definition["spec"] |= {
        "group": group,
        "names": {
            "kind": kind,
            "listKind": f"{kind}List",
            "plural": plural,
            "singular": plural[:-1],
        },
    }
    return definition


async def install_unused(client: KubeClient, count: int) -> None:
    """Apply so many of them."""

    async def one(number: int) -> None:
        definition = unused(number)
        key = ObjectKey("", definition["metadata"]["name"])
        await client.apply(kinds.CRD, key, definition, field_manager=AGENT)

    await map_bounded(one, tuple(range(count)), limit=_AT_ONCE, name="definitions")
