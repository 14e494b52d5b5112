"""Values of a chart: composed as Flux composes them, told of without what is in them."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

import pytest

from fluvial.api.helm import ValuesReference
from fluvial.helm.errors import ValuesError
from fluvial.helm.values import (
    FoundValues,
    coalesce_tables,
    compose,
    inline_values,
    merge_maps,
    read_values,
)
from unit.helm.helm_vectors import vectors


def _found(
    text: str, path: str = "", *, literal: bool = False, kind: Any = "Secret"
) -> FoundValues:
    ref = ValuesReference(kind=kind, name="n", target_path=path or None, literal=literal)
    return FoundValues(ref, text, f"{kind} apps/n, key values.yaml")


async def _values(inline: dict[str, Any], refs: list[list[Any]]) -> dict[str, Any] | None:
    found = [_found(text, path, literal=literal) for text, path, literal in refs]
    try:
        return (await compose(inline, found)).values
    except ValuesError:
        return None


async def test_values_are_composed_as_flux_does() -> None:
    cases = vectors("values")
    before = copy.deepcopy([inline for inline, _, _ in cases])

    ours = [await _values(inline, refs) for inline, refs, _ in cases]
    differing = [case for case, values in zip(cases, ours, strict=True) if values != case[2]]
    assert differing == []
    assert [inline for inline, _, _ in cases] == before


async def test_later_ones_win_and_inline_values_win_over_all() -> None:
    found = [_found("{a: 1, m: {k: 1, l: 1, z: 1}}"), _found("{a: 2, m: {l: 2, z: 2}}")]
    composed = await compose({"m": {"z": 3}}, found)

    assert composed.values == {"a": 2, "m": {"k": 1, "l": 2, "z": 3}}


async def test_a_path_sets_what_inline_maps_have_but_no_inline_scalar() -> None:
    inline = {"map": {"key": "inline"}, "scalar": "inline"}
    found = [_found("path", "map.key"), _found("path", "scalar")]

    assert (await compose(inline, found)).values == {"map": {"key": "path"}, "scalar": "inline"}


async def test_a_literal_is_taken_as_it_is() -> None:
    text = '{"a": [1, 2], "b": "c=d\\\\n"}\n'
    composed = await compose({}, [_found(text, "file\\.json", literal=True)])

    assert composed.values == {"file.json": text}


async def test_nulls_are_kept_for_helm() -> None:
    assert (await compose({"b": None}, [_found("a: null\nb: 1")])).values == {"a": None, "b": None}


async def test_strings_of_secrets_are_known_for_masking() -> None:
    found = [
        _found("a: s3cr3t\nb: {c: [other, 5]}"),
        _found("'quoted'", "d"),
        _found("e: open", kind="ConfigMap"),
    ]
    secrets = (await compose({"f": "inline"}, found)).secrets

    assert {"s3cr3t", "other", "quoted"} <= secrets
    assert not {"open", "inline"} & secrets


@pytest.mark.parametrize(
    ("text", "path", "told"),
    [
        (r"hunter2\,swordfish", "a", {"hunter2,swordfish"}),
        ("hunter2,other=swordfish", "a", {"hunter2", "swordfish"}),
        ("{hunter2,swordfish}", "a", {"hunter2", "swordfish"}),
        ("pin: 83746529", "", {"83746529", "8.3746529"}),
        ("pin: -83746.5", "", {"83746.5", "8.37465"}),
        ("{port: 30080, on: true, none: null}", "", set()),
    ],
)
async def test_what_a_text_is_taken_apart_into_is_secret_too(
    text: str, path: str, told: set[str]
) -> None:
    secrets = (await compose({}, [_found(text, path)])).secrets

    assert secrets - {text} == told


@pytest.mark.parametrize(
    ("one", "problem"),
    [
        (_found("s3cr3t: [1"), "the text is not YAML"),
        (_found("- s3cr3t"), "not a map of values"),
        (_found("s3cr3t"), "not a map of values"),
        (_found("a: *s3cr3t"), "the text is not YAML"),
        (_found("1,s3cr3t", "a"), "cannot be set at a"),
        (
            _found(
                "a: &a [s3cr3t]\n" + "b: &b [" + "*a," * 200 + "]\n" + "c: [" + "*b," * 200 + "]"
            ),
            "YAML",
        ),
    ],
    ids=["syntax", "list", "scalar", "alias", "set", "bomb"],
)
async def test_problems_name_the_place_and_nothing_else(one: FoundValues, problem: str) -> None:
    with pytest.raises(ValuesError) as caught:
        await compose({}, [one])

    assert problem in str(caught.value)
    assert "Secret apps/n, key values.yaml" in str(caught.value)
    assert "s3cr3t" not in str(caught.value)
    assert not caught.value.not_found


async def test_large_texts_are_read_beside_the_loop() -> None:
    text = "".join(f"k{n}: {'x' * 80}\n" for n in range(1500))
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0)

    ticking = asyncio.create_task(tick(), name="tick")
    composed = await compose({}, [_found(text)])
    ticking.cancel()

    assert len(composed.values) == 1500
    assert ticks > 1


def test_what_is_read_may_be_nothing() -> None:
    assert read_values(b"") == {}
    assert read_values(b"# only a comment\n") == {}
    assert read_values(b"a: 1\na: 2") == {"a": 2}
    assert inline_values(None) == {}
    assert inline_values(["a"]) == {}


def test_maps_are_merged_without_changing_them() -> None:
    first, second = {"a": {"b": 1}, "c": 1}, {"a": {"d": 2}, "c": {"e": 1}}

    assert merge_maps(first, second) == {"a": {"b": 1, "d": 2}, "c": {"e": 1}}
    assert (first, second) == ({"a": {"b": 1}, "c": 1}, {"a": {"d": 2}, "c": {"e": 1}})


@pytest.mark.parametrize(
    ("values", "under", "result"),
    [
        ({}, {"a": 1}, {"a": 1}),
        ({"a": 2}, {"a": 1}, {"a": 2}),
        ({"a": None}, {"a": 1}, {"a": None}),
        ({"a": None}, {"a": None}, {"a": None}),
        ({"a": None}, {}, {"a": None}),
        (
            {"a": {"b": None, "c": 1}},
            {"a": {"b": 1, "d": 1}},
            {"a": {"b": None, "c": 1, "d": 1}},
        ),
        ({"a": 1}, {"a": {"b": 1}}, {"a": 1}),
        ({"a": {"b": 1}}, {"a": 1}, {"a": {"b": 1}}),
    ],
)
def test_values_are_laid_over_those_of_the_last_release(
    values: dict[str, Any], under: dict[str, Any], result: dict[str, Any]
) -> None:
    assert coalesce_tables(values, under) == result
    assert coalesce_tables(values, result) == result
