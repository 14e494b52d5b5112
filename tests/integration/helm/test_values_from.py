"""What ``valuesFrom`` refers to is read as it is at one moment, and only where it may be."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from fluvial.api.helm import ValuesReference
from fluvial.helm.errors import ValuesError
from fluvial.helm.values import compose, resolve
from fluvial.kube.errors import Forbidden
from fluvial.kube.kinds import CONFIG_MAP, SECRET
from integration.helm.helm_world import HelmWorld


async def _make(world: HelmWorld) -> None:
    meta = {"namespace": world.namespace}
    await world.world.admin.create(
        CONFIG_MAP,
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {**meta, "name": "plain"},
            "data": {"values.yaml": "a: 1", "more": "b: 2"},
        },
        field_manager="test",
    )
    binary = base64.b64encode(b"\xff\xfe").decode()
    await world.world.admin.create(
        SECRET,
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {**meta, "name": "hidden"},
            "stringData": {"values.yaml": "c: s3cr3t"},
            "data": {"binary": binary},
        },
        field_manager="test",
    )


def _ref(kind: Any, name: str, **fields: Any) -> ValuesReference:
    return ValuesReference(kind=kind, name=name, **fields)


async def test_references_are_read_once_an_object(world: HelmWorld) -> None:
    await _make(world)
    refs = [
        _ref("ConfigMap", "plain"),
        _ref("ConfigMap", "plain", values_key="more"),
        _ref("ConfigMap", "absent", optional=True),
        _ref("ConfigMap", "plain", values_key="absent", optional=True),
        _ref("Secret", "hidden"),
    ]
    spy = world.world.spy
    composed = await compose({}, await resolve(spy, world.namespace, refs))

    assert composed.values == {"a": 1, "b": 2, "c": "s3cr3t"}
    assert composed.secrets == {"s3cr3t"}
    assert sorted(spy.calls) == ["get absent", "get hidden", "get plain"]


@pytest.mark.parametrize(
    ("ref", "problem", "not_found"),
    [
        (_ref("Secret", "absent"), "Secret {ns}/absent, key values.yaml: the object", True),
        (_ref("Secret", "hidden", values_key="x"), "Secret {ns}/hidden, key x: it has no", True),
        (_ref("Secret", "hidden", values_key="binary"), "not UTF-8", False),
    ],
    ids=["object", "key", "binary"],
)
async def test_what_is_missing_is_named(
    world: HelmWorld,
    ref: ValuesReference,
    problem: str,
    not_found: bool,  # noqa: FBT001 - a table
) -> None:
    await _make(world)
    with pytest.raises(ValuesError) as caught:
        await resolve(world.world.spy, world.namespace, [ref])

    assert problem.format(ns=world.namespace) in str(caught.value)
    assert caught.value.not_found is not_found


async def test_no_right_is_not_absence(world: HelmWorld) -> None:
    stranger = world.world.as_user("stranger")

    with pytest.raises(Forbidden):
        await resolve(stranger, world.namespace, [_ref("Secret", "x", optional=True)])
