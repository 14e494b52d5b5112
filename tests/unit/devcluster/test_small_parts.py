"""Selectors, paths, ages, JSON paths, versions, names: the small parts that much stands on."""

from __future__ import annotations

from datetime import timedelta

import pytest

from devcluster import clock, naming
from devcluster.errors import ApiFailure
from devcluster.kinds import Kinds, Target, version_priority
from devcluster.negotiation import negotiate
from devcluster.request import parse_path
from devcluster.selectors import parse_fields, parse_labels
from devcluster.show.age import age, human
from devcluster.show.jsonpath import find


@pytest.mark.parametrize(
    ("text", "matched"),
    [
        ("app=x", ["a"]),
        ("app!=x", ["b", "none"]),
        ("app in (x, y)", ["a", "b"]),
        ("app notin (x)", ["b", "none"]),
        ("tier", ["a"]),
        ("!tier", ["b", "none"]),
        ("app,tier==one", ["a"]),
        ("n>3", ["b"]),
        ("", ["a", "b", "none"]),
    ],
)
def test_label_selectors(text: str, matched: list[str]) -> None:
    objects = {"a": {"app": "x", "tier": "one", "n": "3"}, "b": {"app": "y", "n": "4"}, "none": {}}
    selector = parse_labels(text)

    assert [name for name, labels in objects.items() if selector.matches(labels)] == matched


@pytest.mark.parametrize("text", ["app in (x", "app=-x-", "a===b", "=x", "app,"])
def test_bad_label_selectors_are_refused(text: str) -> None:
    with pytest.raises(ApiFailure) as caught:
        parse_labels(text)

    assert caught.value.code == 400


def test_field_selectors_know_escapes_and_inequality() -> None:
    selector = parse_fields(r"metadata.name=a\,b,type!=x")
    values = {"metadata.name": "a,b", "type": "y"}

    assert selector.matches(values.__getitem__)
    assert selector.exact("metadata.name") == "a,b"


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/api/v1/namespaces/a", ("get", "", "namespaces", "a", "a", "")),
        ("GET", "/api/v1/namespaces/a/pods", ("list", "", "pods", "a", "", "")),
        ("PUT", "/api/v1/namespaces/a/status", ("update", "", "namespaces", "a", "a", "status")),
        (
            "PATCH",
            "/apis/apps/v1/namespaces/a/deployments/d/scale",
            ("patch", "apps", "deployments", "a", "d", "scale"),
        ),
        (
            "DELETE",
            "/apis/apps/v1/deployments",
            ("deletecollection", "apps", "deployments", "", "", ""),
        ),
        ("GET", "/api/v1/watch/namespaces/a/pods", ("watch", "", "pods", "a", "", "")),
    ],
)
def test_paths(method: str, path: str, expected: tuple[str, ...]) -> None:
    info = parse_path(method, path, {})

    assert expected == (
        info.verb,
        info.group,
        info.resource,
        info.namespace,
        info.name,
        info.subresource,
    )


def test_watch_and_selected_name_come_from_the_query() -> None:
    info = parse_path("GET", "/api/v1/pods", {"watch": "1", "fieldSelector": "metadata.name=x"})

    assert (info.verb, info.name, info.subject) == ("watch", "", "x")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (5, "5s"),
        (119, "119s"),
        (120, "2m"),
        (150, "2m30s"),
        (3600, "60m"),
        (3 * 3600 + 120, "3h2m"),
        (10 * 3600, "10h"),
        (3 * 86400, "3d"),
        (3 * 86400 + 3600, "3d1h"),
        (20 * 86400, "20d"),
        (800 * 86400, "2y70d"),
    ],
)
def test_ages(seconds: int, text: str) -> None:
    moment = clock.now() - timedelta(seconds=seconds, milliseconds=200)

    assert human(seconds) == text
    assert age(moment.isoformat()) == text


def test_json_paths() -> None:
    obj = {
        "spec": {"a.b": 1, "list": [{"n": 1}, {"n": 2}]},
        "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "X"}]},
    }

    assert find('.status.conditions[?(@.type=="Ready")].status', obj) == ["True"]
    assert find(r".spec.a\.b", obj) == [1]
    assert find("{.spec.list[*].n}", obj) == [1, 2]
    assert find(".spec.list[-1].n", obj) == [2]
    assert find(".spec.missing.deeper", obj) == []


def test_versions_are_ordered_as_kubernetes_orders_them() -> None:
    names = ["v1alpha1", "foo1", "v1", "v2beta1", "v10", "v2"]

    assert sorted(names, key=version_priority) == ["v10", "v2", "v1", "v2beta1", "v1alpha1", "foo1"]


def test_generated_names_fit_and_differ() -> None:
    kind = Kinds().for_kind("", "ConfigMap")
    assert kind is not None
    names = set()
    for _ in range(20):
        obj = {"metadata": {"generateName": "x" * 80}}
        names.add(naming.place(Target(kind, "n"), obj).name)

    assert len(names) == 20
    assert {len(name) for name in names} == {63}


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", "full"),
        ("application/vnd.kubernetes.protobuf,application/json", "full"),
        ("application/json;as=Table;v=v1;g=meta.k8s.io,application/json", "table"),
        ("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1", "metadata"),
        ("application/json;as=Unknown;g=meta.k8s.io;v=v1,application/json", "full"),
    ],
)
def test_negotiation(accept: str, form: str) -> None:
    assert negotiate(accept).form == form
