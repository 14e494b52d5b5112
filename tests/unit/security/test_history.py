"""The digest in the history must not help to guess a secret."""

from __future__ import annotations

import pytest

from fluvial.build.postbuild import Substituted
from fluvial.objects import JsonObject
from kustomize_controller.kustomization.rendering import set_digest


def config_map(value: str) -> JsonObject:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "c", "namespace": "n"},
        "data": {"k": value},
    }


async def digest(obj: JsonObject, *secrets: str) -> str:
    return await set_digest([Substituted(obj, frozenset(secrets))], [obj])


@pytest.mark.parametrize(("one", "other"), [("1234", "9876"), ("hunter2", "x" * 40)])
async def test_a_substituted_secret_does_not_enter(one: str, other: str) -> None:
    first = await digest(config_map(f"pin is {one}"), one)
    second = await digest(config_map(f"pin is {other}"), other)

    assert first == second


async def test_what_is_no_secret_enters() -> None:
    assert await digest(config_map("a")) != await digest(config_map("b"))
    assert await digest(config_map("a 1234"), "1234") != await digest(config_map("b 1234"), "1234")


async def test_content_of_secrets_does_not_enter() -> None:
    objects = [{**config_map(value), "kind": "Secret", "stringData": {}} for value in "ab"]

    assert await digest(objects[0]) == await digest(objects[1])


async def test_more_secrets_than_can_be_looked_for_hide_the_whole_object() -> None:
    secrets = [f"secret-value-{number}" for number in range(1_000)]
    large = "x" * 20_000

    assert await digest(config_map("a" + large), *secrets) == await digest(
        config_map("b" + large), *secrets
    )
