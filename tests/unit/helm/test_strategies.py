"""The table of merge strategies holds what Kubernetes publishes of its types."""

from __future__ import annotations

import functools
import importlib.util
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from fluvial.helm.clientside.strategies import BUILT_IN_GROUPS, PLAIN, Rule, rules_of
from unit.helm.published_rules import published_rules

_NOT_OF_HELM = {"apiregistration.k8s.io"}
"""Helm's library does not have these types."""
_OF_THE_SERVER = {"ComponentStatus", "Status"}


@functools.cache
def _published() -> Mapping[str, Any]:
    spec = importlib.util.find_spec("kubernetes_validate")
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent / "kubernetes-json-schema" / "v1.37.0-local"
    found: Mapping[str, Any] = json.loads((folder / "_definitions.json").read_text())["$defs"]
    return found


def _kinds() -> Iterator[tuple[str, str, str]]:
    for name, definition in _published().items():
        for gvk in definition.get("x-kubernetes-group-version-kind", ()):
            if "metadata" in definition["properties"] and not gvk["kind"].endswith("List"):
                yield name, gvk["group"], gvk["kind"]


def test_all_groups_of_kubernetes_are_known() -> None:
    assert {group for _, group, _ in _kinds()} - _NOT_OF_HELM == BUILT_IN_GROUPS


def test_the_table_is_what_is_published() -> None:
    differ = {
        name
        for name, group, kind in _kinds()
        if kind not in _OF_THE_SERVER
        and rules_of(group, kind) != published_rules(_published(), name, top=True)
    }

    assert differ == set()


@pytest.mark.parametrize(("group", "kind"), [("", "ConfigMap"), ("apps", "Unheard")])
def test_what_has_no_line_has_metadata(group: str, kind: str) -> None:
    rule = rules_of(group, kind)

    assert rule.below("metadata").below("finalizers") == Rule(merge=True)
    assert rule.below("spec") is PLAIN
    assert rule.below("data").below("anything") is PLAIN
