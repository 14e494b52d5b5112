"""Built objects become what server-side apply takes."""

from __future__ import annotations

import base64
import copy
from typing import Any

import pytest

from fluvial.apply.normalize import drop_undeclared, normalize


def _obj(api_version: str, kind: str, **body: Any) -> dict[str, Any]:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": "x"}, **body}


def test_string_data_becomes_data_and_wins() -> None:
    secret = _obj("v1", "Secret", data={"a": "b2xk", "b": "Yg=="}, stringData={"a": "nöw"})
    before = copy.deepcopy(secret)

    result = normalize(secret)

    encoded = base64.b64encode("nöw".encode()).decode()
    assert result["data"] == {"a": encoded, "b": "Yg=="}
    assert "stringData" not in result
    assert secret == before


def test_string_data_of_a_foreign_secret_kind_stays() -> None:
    other = _obj("example.org/v1", "Secret", stringData={"a": "b"})

    assert normalize(other)["stringData"] == {"a": "b"}


def test_data_that_is_no_map_is_left_for_the_server_to_refuse() -> None:
    secret = _obj("v1", "Secret", data=["x"], stringData={"a": "b"})

    assert normalize(secret)["data"] == ["x"]


def test_string_data_that_is_no_text_is_left_for_the_server_to_refuse() -> None:
    secret = _obj("v1", "Secret", stringData={"a": 1})

    assert normalize(secret)["stringData"] == {"a": 1}


@pytest.mark.parametrize(
    ("kind", "api_version", "path"),
    [
        ("Pod", "v1", ["spec"]),
        ("Deployment", "apps/v1", ["spec", "template", "spec"]),
        ("CronJob", "batch/v1", ["spec", "jobTemplate", "spec", "template", "spec"]),
    ],
)
def test_container_ports_get_their_protocol(kind: str, api_version: str, path: list[str]) -> None:
    ports = [{"containerPort": 80}, {"containerPort": 53, "protocol": "UDP"}]
    body: dict[str, Any] = {"containers": [{"name": "a", "ports": ports}]}
    for name in reversed(path):
        body = {name: body}

    spec: Any = normalize(_obj(api_version, kind, **body))
    for name in path:
        spec = spec[name]
    assert [port["protocol"] for port in spec["containers"][0]["ports"]] == ["TCP", "UDP"]


def test_service_ports_get_their_protocol() -> None:
    result = normalize(_obj("v1", "Service", spec={"ports": [{"port": 80}]}))

    assert result["spec"]["ports"] == [{"port": 80, "protocol": "TCP"}]


def test_malformed_ports_are_left_alone() -> None:
    specs: tuple[Any, ...] = ({"ports": "80"}, {"ports": [80]}, {"ports": None}, None, [])
    for spec in specs:
        service = normalize(_obj("v1", "Service", spec=spec))
        pods = normalize(_obj("apps/v1", "Deployment", spec={"template": {"spec": spec}}))

        assert "protocol" not in str(service) + str(pods)


def test_status_goes_but_for_definitions() -> None:
    crd = _obj("apiextensions.k8s.io/v1", "CustomResourceDefinition", status={"a": 1})

    assert "status" not in normalize(_obj("v1", "Service", status={"a": 1}))
    assert normalize(crd)["status"] == {"a": 1}


def test_what_only_the_server_sets_goes() -> None:
    obj = _obj("v1", "ConfigMap")
    obj["metadata"] |= {
        "uid": "u",
        "resourceVersion": "1",
        "generation": 2,
        "managedFields": [],
        "creationTimestamp": None,
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"},
        "labels": None,
    }

    assert normalize(obj)["metadata"] == {"name": "x"}


def test_nulls_vanish_from_builtin_kinds_and_stay_in_custom_ones() -> None:
    body: dict[str, Any] = {"spec": {"a": None, "b": [{"c": None}], "d": {}}}

    assert normalize(_obj("apps/v1", "Deployment", **body))["spec"] == {"b": [{}], "d": {}}
    assert normalize(_obj("example.org/v1", "Widget", **body))["spec"] == body["spec"]


@pytest.mark.parametrize("bundle", ["Cg==", "not base64!", ""])
def test_invalid_bundle_of_a_conversion_webhook_goes(bundle: str) -> None:
    crd = _obj(
        "apiextensions.k8s.io/v1",
        "CustomResourceDefinition",
        spec={"conversion": {"webhook": {"clientConfig": {"caBundle": bundle, "url": "u"}}}},
    )

    config = normalize(crd)["spec"]["conversion"]["webhook"]["clientConfig"]
    assert config == {"url": "u"}


def test_fields_that_the_server_does_not_know_are_dropped() -> None:
    spec: dict[str, Any] = {
        "foo": 1,
        "template": {
            "spec": {"containers": [{"name": "app", "imagee": "x"}, {"name": "b", "imagee": "y"}]}
        },
    }
    obj = _obj("apps/v1", "Deployment", spec=spec)
    message = (
        "failed to create typed patch object (a/x; apps/v1, Kind=Deployment): errors:\n"
        "  .spec.foo: field not declared in schema\n"
        '  .spec.template.spec.containers[name="app"].imagee: field not declared in schema'
    )

    result, dropped = drop_undeclared(obj, message=message)

    assert dropped == (".spec.foo", '.spec.template.spec.containers[name="app"].imagee')
    assert result["spec"] == {
        "template": {"spec": {"containers": [{"name": "app"}, {"name": "b", "imagee": "y"}]}}
    }
    assert "foo" in obj["spec"]


@pytest.mark.parametrize(
    "message",
    ["some other refusal", ".spec.absent: field not declared in schema", ".spec[0]: nothing"],
)
def test_nothing_is_dropped_for_another_refusal(message: str) -> None:
    obj = _obj("apps/v1", "Deployment", spec={"foo": 1})

    assert drop_undeclared(obj, message=message) == (obj, ())


def test_custom_resources_keep_their_fields() -> None:
    obj = _obj("example.org/v1", "Widget", spec={"foo": 1})

    assert drop_undeclared(obj, message=".spec.foo: field not declared in schema") == (obj, ())
