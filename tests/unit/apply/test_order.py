"""The order of apply and its stages."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from fluvial.apply import stages
from fluvial.apply.order import sort_key
from fluvial.objects import JsonObject

KINDS = [
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
    ("v1", "Namespace"),
    ("rbac.authorization.k8s.io/v1", "ClusterRole"),
    ("scheduling.k8s.io/v1", "PriorityClass"),
    ("storage.k8s.io/v1", "StorageClass"),
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"),
    ("v1", "ServiceAccount"),
    ("rbac.authorization.k8s.io/v1", "Role"),
    ("rbac.authorization.k8s.io/v1", "RoleBinding"),
    ("v1", "ConfigMap"),
    ("v1", "Secret"),
    ("v1", "Service"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "StatefulSet"),
    ("batch/v1", "CronJob"),
    ("policy/v1", "PodDisruptionBudget"),
    ("batch/v1", "Job"),
    ("example.org/v1", "Widget"),
    ("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration"),
    ("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration"),
]


def _obj(api_version: str, kind: str, name: str = "x", namespace: str = "") -> JsonObject:
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata}


@given(st.randoms(use_true_random=False))
def test_kinds_are_sorted_as_in_flux(shuffler: random.Random) -> None:
    objects = [_obj(*pair) for pair in KINDS]
    shuffler.shuffle(objects)

    assert [obj["kind"] for obj in sorted(objects, key=sort_key)] == [kind for _, kind in KINDS]


def test_ties_are_broken_by_group_kind_namespace_name() -> None:
    objects = [
        _obj("v1", "ConfigMap", "b", "a"),
        _obj("v1", "ConfigMap", "a", "b"),
        _obj("v1", "ConfigMap", "a", "a"),
    ]

    names = [
        (obj["metadata"]["namespace"], obj["metadata"]["name"])
        for obj in sorted(objects, key=sort_key)
    ]
    assert names == [("a", "a"), ("a", "b"), ("b", "a")]


def test_stages() -> None:
    found = stages((_obj(*pair) for pair in KINDS), custom_kinds=["rbac.authorization.k8s.io/Role"])

    assert [(one.name, one.wait, len(one.objects)) for one in found] == [
        ("definitions", True, 3),
        ("classes", True, 2),
        ("custom", False, 1),
        ("workloads", False, len(KINDS) - 6),
    ]
    assert found[2].objects[0]["kind"] == "Role"


def test_namespace_of_another_group_is_no_definition() -> None:
    (stage,) = stages([_obj("example.org/v1", "Namespace")])

    assert stage.name == "workloads"


def test_no_objects_no_stages() -> None:
    assert stages([]) == ()
