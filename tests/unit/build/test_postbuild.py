"""Variables in objects."""

from __future__ import annotations

import asyncio
import base64
import copy
from collections.abc import Mapping
from typing import Any

import pytest

from fluvial.api.kustomize import SubstituteStrategy
from fluvial.build import postbuild
from fluvial.build.errors import SubstitutionError
from fluvial.objects import JsonObject

_SWITCH = "kustomize.toolkit.fluxcd.io/substitute"


def _config_map(data: dict[str, Any], **metadata: Any) -> JsonObject:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "c", "namespace": "n", **metadata},
        "data": data,
    }


def _applied(*args: Any, **kwargs: Any) -> list[postbuild.Substituted]:
    return asyncio.run(postbuild.apply_variables(*args, **kwargs))


def _substituted(
    objects: list[JsonObject],
    values: Mapping[str, str],
    *,
    strategy: SubstituteStrategy | None = None,
    strict: bool,
) -> list[JsonObject]:
    """The objects alone, with variables that come from no Secret."""
    found = _applied(objects, postbuild.Variables(values), strategy=strategy, strict=strict)
    return [item.object for item in found]


def _data(data: dict[str, Any], variables: dict[str, str]) -> Any:
    (result,) = _substituted([_config_map(data)], variables, strict=True)
    return result["data"]


@pytest.mark.parametrize(
    ("text", "value", "result"),
    [
        ("${n}", "123", 123),
        ("${n}", "true", True),
        ("${n}", "text", "text"),
        ("${n}", "", None),
        ("${n}x", "123", "123x"),
        ("${n}", "{a: [1]}", {"a": [1]}),
        ("${n}", '"123"', "123"),
        ("* ${n}", "it is", "* it is"),
        ("a\n${n}\n", "b: c", "a\nb: c\n"),
        ("${n:=5m}", "", "5m"),
    ],
    ids=[
        "number",
        "boolean",
        "string",
        "null",
        "part",
        "flow",
        "quoted",
        "single",
        "block",
        "default",
    ],
)
def test_values_are_put_into_the_text_and_read_again(text: str, value: str, result: object) -> None:
    assert _data({"k": text}, {"n": value}) == {"k": result}


def test_keys_are_substituted_too() -> None:
    assert _data({"${k}": "v"}, {"k": "name"}) == {"name": "v"}


def test_line_breaks_are_removed_from_values() -> None:
    variables = postbuild.collect_variables([], {"v": "a\nb\n"})

    (found,) = _applied([_config_map({"k": "${v}"})], variables, strict=True)

    assert found.object["data"] == {"k": "ab"}


@pytest.mark.parametrize(
    "metadata",
    [{"labels": {_SWITCH: "disabled"}}, {"annotations": {_SWITCH: "disabled"}}],
    ids=["label", "annotation"],
)
def test_an_object_can_disable_it(metadata: dict[str, Any]) -> None:
    obj = _config_map({"k": "${unset} $$"}, **metadata)

    assert _substituted([obj], {"v": "1"}, strict=True) == [obj]


def test_only_the_exact_word_disables_it() -> None:
    obj = _config_map({"k": "${v}"}, annotations={_SWITCH: "Disabled"})

    (found,) = _substituted([obj], {"v": "1"}, strict=True)

    assert found["data"] == {"k": 1}


def test_without_variables_nothing_happens_unless_asked_for() -> None:
    obj = _config_map({"k": "$${a} ${b:=c}"})

    assert _substituted([obj], {}, strict=True) == [obj]
    (found,) = _substituted([obj], {}, strategy="Always", strict=True)
    assert found["data"] == {"k": "${a} c"}


def test_the_objects_that_went_in_are_not_changed() -> None:
    obj = _config_map({"k": "${v}"})
    before = copy.deepcopy(obj)

    _substituted([obj], {"v": "1"}, strict=True)

    assert obj == before


def test_order_of_sources() -> None:
    sources = [
        postbuild.VariableSource({"a": "1", "b": "1", "c": "1"}, is_secret=True),
        postbuild.VariableSource({"b": "2", "c": "2"}),
    ]

    variables = postbuild.collect_variables(sources, {"c": "3"})

    assert variables.values == {"a": "1", "b": "2", "c": "3"}
    assert variables.secret_names == {"a"}


def test_sources_from_objects() -> None:
    secret = {
        "kind": "Secret",
        "data": {"password": base64.b64encode("pä".encode()).decode()},
    }

    assert postbuild.VariableSource.from_object(secret).values == {"password": "pä"}
    assert postbuild.VariableSource.from_object(secret).is_secret
    assert not postbuild.VariableSource.from_object(_config_map({"a": "b"})).is_secret
    assert postbuild.VariableSource.from_object({"kind": "ConfigMap"}).values == {}


@pytest.mark.parametrize("value", ["%%%", "/w=="], ids=["base64", "utf-8"])
def test_a_secret_that_is_no_text_is_an_error_that_does_not_show_it(value: str) -> None:
    obj = {"kind": "Secret", "metadata": {"name": "s", "namespace": "n"}, "data": {"k": value}}

    with pytest.raises(SubstitutionError, match="Secret/n/s: the value of key 'k'") as caught:
        postbuild.VariableSource.from_object(obj)

    assert value not in str(caught.value)


@pytest.mark.parametrize("name", ["a-b", "1a", "", "a.b", "ä", "a\n"], ids=repr)
def test_a_name_that_is_none_fails_the_build(name: str) -> None:
    with pytest.raises(SubstitutionError, match="cannot be a variable"):
        _substituted([_config_map({})], {name: "x"}, strict=True)


def test_errors_name_the_object() -> None:
    with pytest.raises(SubstitutionError, match=r'^ConfigMap/n/c: variable not set .* "unset"'):
        _data({"k": "${unset}"}, {"v": "1"})
    with pytest.raises(SubstitutionError, match=r"^ConfigMap/n/c: not valid YAML .* line 7"):
        _data({"k": "${v}"}, {"v": "a: b: c"})


def test_secrets_are_told_with_all_their_forms() -> None:
    source = postbuild.VariableSource(
        {"token": "s3cret", "json": '{"user": "bob"}'}, is_secret=True
    )
    variables = postbuild.collect_variables([source], {"plain": "visible"})
    objects = [
        _config_map({"a": "${token^^}", "b": "${json}", "c": "${plain}"}),
        _config_map({"a": "${plain}"}),
        _config_map({"a": "nothing"}),
    ]

    first, second, third = _applied(objects, variables, strict=True)

    assert {"s3cret", "S3CRET", '{"user": "bob"}', "user", "bob"} == first.secrets
    assert second.secrets == third.secrets == frozenset()


def test_errors_and_representations_hold_no_secret() -> None:
    source = postbuild.VariableSource({"token": "hunter2: x\thunter2: [", "u": "b"}, is_secret=True)
    variables = postbuild.collect_variables([source])

    with pytest.raises(SubstitutionError) as caught:
        _applied([_config_map({"k": "${token}"})], variables, strict=True)

    (found,) = _applied([_config_map({"k": "${u}"})], variables, strict=True)
    assert found.object["data"] == {"k": "b"}
    told = f"{caught.value} {source!r} {variables!r} {found!r}"
    assert "hunter2" not in told
    assert "b" not in repr(found).removeprefix("Substituted")
