"""Decoding: wrong types, unknown and repeated fields, in the decoder's words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from devcluster.fields.admit import Mode, decode_checks
from devcluster.fields.errors import FieldsError

Json = dict[str, Any]
HEAD = 'Deployment in version "v1" cannot be handled as a Deployment: '


def refusal(kind: Any, obj: Json, mode: Mode = "Strict", **how: Any) -> FieldsError:
    with pytest.raises(FieldsError) as caught:
        decode_checks(obj, kind.schema, mode, json.dumps(obj).encode(), **how)
    return caught.value


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"replicas": "x"}, "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32"),
        ({"replicas": True}, "json: cannot unmarshal bool into Go struct field DeploymentSpec.spec.replicas of type int32"),
        ({"replicas": 1.5}, "json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32"),
        ({"replicas": 3000000000}, "json: cannot unmarshal number 3000000000 into Go struct field DeploymentSpec.spec.replicas of type int32"),
        ({"strategy": "x"}, "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.strategy of type v1.DeploymentStrategy"),
        ({"strategy": {"rollingUpdate": {"maxSurge": True}}}, "json: cannot unmarshal bool into Go struct field RollingUpdateDeployment.spec.strategy.rollingUpdate.maxSurge of type int32"),
        ({"selector": {"matchLabels": {"a": 1}}}, "json: cannot unmarshal number into Go struct field LabelSelector.spec.selector.matchLabels of type string"),
        ({"template": {"spec": {"containers": {"a": 1}}}}, "json: cannot unmarshal object into Go struct field PodSpec.spec.template.spec.containers of type []v1.Container"),
        ({"template": {"spec": {"containers": [{"ports": ["x"]}]}}}, "json: cannot unmarshal string into Go struct field Container.spec.template.spec.containers.ports of type v1.ContainerPort"),
        ({"template": {"spec": {"containers": [{"resources": {"limits": {"cpu": "abc"}}}]}}}, "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"),
        ({"template": {"metadata": {"creationTimestamp": "x"}}}, 'parsing time "x" as "2006-01-02T15:04:05Z07:00": cannot parse "x" as "2006"'),
        ("x", "json: cannot unmarshal string into Go struct field Deployment.spec of type v1.DeploymentSpec"),
        ({"foo": 1}, 'strict decoding error: unknown field "spec.foo"'),
    ],
    ids=str,
)  # fmt: skip
def test_what_does_not_fit_is_refused(deployments: Any, spec: Any, message: str) -> None:
    error = refusal(deployments, deployments.make(spec=spec))

    assert (error.status, error.reason, error.message) == (400, "BadRequest", HEAD + message)


RAW = (
    b'{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"dx"},"spec":{"replicas":1,'
    b'"replicas":2,"foo":1,"zed":{"a":1},"template":{"spec":{"containers":[{"name":"c","bar":1,'
    b'"image":"x","image":"y"}]}}}}'
)
PROBLEMS = [
    'duplicate field "spec.replicas"',
    'unknown field "spec.foo"',
    'unknown field "spec.zed"',
    'unknown field "spec.template.spec.containers[0].bar"',
    'duplicate field "spec.template.spec.containers[0].image"',
]


def test_problems_come_in_the_order_of_the_document(deployments: Any) -> None:
    obj = json.loads(RAW)
    with pytest.raises(FieldsError) as caught:
        decode_checks(obj, deployments.schema, "Strict", RAW)
    decoded, warnings = decode_checks(obj, deployments.schema, "Warn", RAW)

    assert caught.value.message == f"{HEAD}strict decoding error: {', '.join(PROBLEMS)}"
    assert warnings == PROBLEMS
    assert "foo" not in decoded["spec"]


def test_ignored_problems_are_dropped_all_the_same(deployments: Any) -> None:
    decoded, warnings = decode_checks(json.loads(RAW), deployments.schema, "Ignore", RAW)

    assert warnings == []
    assert decoded["spec"]["replicas"] == 2
    assert "zed" not in decoded["spec"]


def test_repeated_keys_behind_spaces_are_found(config_maps: Any) -> None:
    raw = b'{"data": {"a" : "1", "b\\"": "x", "a" :"2"}}'
    _, warnings = decode_checks(json.loads(raw), config_maps.schema, "Warn", raw)

    assert warnings == ['duplicate field "data.a"']


def test_text_that_looks_like_keys_is_no_repetition(config_maps: Any) -> None:
    obj = config_maps.make(data={"a": '{"x":1,"x":2}', "b": '"a":'})
    decoded, warnings = decode_checks(obj, config_maps.schema, "Strict", json.dumps(obj).encode())

    assert (decoded["data"], warnings) == (obj["data"], [])


def test_the_object_of_a_patch_is_refused_as_the_patch(config_maps: Any) -> None:
    obj = {"data": {"a": 1}}
    error = refusal(config_maps, obj, patched=True)

    assert error.status == 422
    assert error.message == (
        ' "" is invalid: patch: Invalid value: "{\\"data\\":{\\"a\\":1}}": json: cannot unmarshal'
        " number into Go struct field ConfigMap.data of type string"
    )


def test_custom_resources_are_pruned_and_their_metadata_decoded(things: Any) -> None:
    obj = things.make(
        spec={"must": "ab", "u": 1, "obj": {"q": 1}, "any": {"z": 1}, "n": 1.0},
        metadata={"foo": 1, "labels": {"l": None}},
        top=1,
    )
    decoded, warnings = decode_checks(obj, things.schema, "Warn", b"")

    assert decoded["spec"] == {"must": "ab", "obj": {}, "any": {"z": 1}, "n": 1}
    assert decoded["metadata"] == {"name": "it", "labels": {"l": ""}}
    assert warnings == [
        'unknown field "metadata.foo"',
        'unknown field "spec.obj.q"',
        'unknown field "spec.u"',
        'unknown field "top"',
    ]


@pytest.mark.parametrize(
    ("obj", "message"),
    [
        ({"metadata": "x"}, "json: cannot unmarshal string into Go value of type v1.ObjectMeta"),
        ({"metadata": {"labels": {"a": 1}}}, "json: cannot unmarshal number into Go struct field ObjectMeta.labels of type string"),
        ({"spec": {"emb": {"metadata": {"labels": {"x": 1}}}}}, 'spec.emb.metadata: Invalid value: {"labels":{"x":1}}: json: cannot unmarshal number into Go struct field ObjectMeta.labels of type string'),
        ({"spec": {"u": 1}}, 'strict decoding error: unknown field "spec.u"'),
    ],
    ids=str,
)  # fmt: skip
def test_a_custom_resource_that_does_not_fit_is_refused(
    things: Any, obj: Json, message: str
) -> None:
    error = refusal(things, obj)

    assert error.message == f'Thing in version "v1" cannot be handled as a Thing: {message}'
