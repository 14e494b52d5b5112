"""What is remembered of applied configurations is true of every one with the same shape."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devcluster.fields import apply
from devcluster.fields.errors import FieldsError
from devcluster.fields.extract import field_set
from devcluster.fields.schema import SchemaSet, TypeSchema
from devcluster.fields.shape import shape_of


def _schema(group: str, kind: str) -> TypeSchema:
    found = SchemaSet.builtin().for_kind(group, "v1", kind)
    assert found is not None
    return found


def _deployment(image: str = "a:1", *, name: str = "app", value: Any = "x") -> dict[str, Any]:
    container = {
        "name": name,
        "image": image,
        "env": [{"name": "LEVEL", "value": value}],
        "ports": [{"containerPort": 80}],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d", "namespace": "n", "finalizers": ["a/b"]},
        "spec": {
            "selector": {"matchLabels": {"app": "d"}},
            "template": {"spec": {"containers": [container]}},
        },
    }


def _apply(obj: dict[str, Any], schema: TypeSchema) -> dict[str, Any]:
    return apply.apply_patch(
        None,
        obj,
        schema=schema,
        manager="m",
        force=False,
        api_version=schema.api_version,
        subresource="",
        now="2026-01-01T00:00:00Z",
    )


@given(image=st.text(), value=st.text(), label=st.text())
def test_texts_of_string_fields_are_no_part_of_the_shape(
    image: str, value: str, label: str
) -> None:
    schema = _schema("apps", "Deployment")
    other = _deployment(image, value=value)
    other["spec"]["selector"]["matchLabels"]["app"] = label

    assert shape_of(other, schema.root) == shape_of(_deployment(), schema.root)
    assert field_set(other, schema.root) == field_set(_deployment(), schema.root)


def _with(change: str) -> dict[str, Any]:
    obj = _deployment()
    spec = obj["spec"]["template"]["spec"]
    container = spec["containers"][0]
    changes: dict[str, Any] = {
        "key of a map": lambda: obj["metadata"].update(labels={"a": "b"}),
        "key field of an item": lambda: container.update(name="other"),
        "numeric key field": lambda: container["ports"][0].update(containerPort=81),
        "item of a set": lambda: obj["metadata"].update(finalizers=["a/c"]),
        "type of a text": lambda: container.update(image=7),
        "null for a text": lambda: container.update(image=None),
        "quantity": lambda: container.update(resources={"limits": {"cpu": "1x"}}),
        "number": lambda: obj["spec"].update(replicas=2),
        "one more item": lambda: container["env"].append({"name": "TWO"}),
        "map for a text": lambda: container["env"][0].update(value={"a": "b"}),
    }
    changes[change]()
    return obj


@pytest.mark.parametrize(
    "change",
    [
        "key of a map",
        "key field of an item",
        "numeric key field",
        "item of a set",
        "type of a text",
        "null for a text",
        "quantity",
        "number",
        "one more item",
        "map for a text",
    ],
)
def test_everything_else_is(change: str) -> None:
    schema = _schema("apps", "Deployment")

    assert shape_of(_with(change), schema.root) != shape_of(_deployment(), schema.root)


def test_shape_leaves_the_configuration_alone() -> None:
    obj = _deployment()
    before = copy.deepcopy(obj)
    shape_of(obj, _schema("apps", "Deployment").root)

    assert obj == before


def test_data_that_is_not_base64_is_refused_after_data_that_is() -> None:
    schema = _schema("", "Secret")
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}}
    good = _apply({**secret, "data": {"a": "eHg="}}, schema)

    assert good["data"] == {"a": "eHg="}
    with pytest.raises(FieldsError, match="illegal base64"):
        _apply({**secret, "data": {"a": "!"}}, schema)


def test_remembered_claims_are_those_of_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    schema = _schema("apps", "Deployment")
    first = _apply(_deployment("a:1"), schema)
    monkeypatch.setattr(apply, "_claims_of", None)
    second = _apply(_deployment("a:2"), schema)

    entries = [obj["metadata"]["managedFields"][0]["fieldsV1"] for obj in (first, second)]
    assert entries[0] == entries[1]
