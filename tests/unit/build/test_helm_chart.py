"""Archives of charts, and schemas that refer to elsewhere."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fluvial.build.helm.chart import ChartFile, describe, prepare, read_archive, write_archive
from fluvial.build.helm.errors import ChartInvalid
from harness.charts import packed

CHART = "apiVersion: v2\nname: app\nversion: 1.0.0\n"
REMOTE = '{"$ref": "https://example.com/s.json"}'


def names(data: bytes) -> list[str]:
    return [file.name for file in read_archive(data)]


def localised(schema: Any) -> tuple[Any, tuple[str, ...]]:
    """What the engine gets of a schema, and what users are told."""
    archive = packed({"Chart.yaml": CHART, "values.schema.json": json.dumps(schema)})
    _, prepared, warnings = prepare(archive, validate=True)
    by_name = {file.name: file.data for file in read_archive(prepared)}
    return json.loads(by_name["values.schema.json"]), warnings


def test_files_are_read_as_they_are() -> None:
    files = read_archive(packed({"Chart.yaml": b"\xef\xbb\xbfname: x", "a/b.bin": b"\0\xff"}))

    assert files == [
        ChartFile("Chart.yaml", b"name: x", "2023-11-14T22:13:20Z"),
        ChartFile("a/b.bin", b"\0\xff", "2023-11-14T22:13:20Z"),
    ]


def test_what_is_written_can_be_read() -> None:
    files = [ChartFile("Chart.yaml", b"x"), ChartFile("templates/a.yaml", b"\0")]
    read = read_archive(write_archive(files))

    assert [(file.name, file.data) for file in read] == [(file.name, file.data) for file in files]


def test_names_are_cleaned() -> None:
    archive = packed({"./a//b/./c": "x", "templates/../d": "x"})

    assert names(archive) == ["a/b/c", "d"]


def test_names_from_windows() -> None:
    assert names(packed({"app\\templates\\a.yaml": "x"}, folder="")) == ["templates/a.yaml"]


@pytest.mark.parametrize(
    "name",
    ["app/../x", "app/a/../../x", "app//etc/x", "app\\..\\x", "app/C:/x", "app", "x", "app/\0"],
)
def test_names_that_lead_elsewhere(name: str) -> None:
    with pytest.raises(ChartInvalid):
        read_archive(packed({name: "x"}, folder=""))


@pytest.mark.parametrize("data", [b"", b"x", packed({})[:40], b"\x1f\x8b" + b"\0" * 30])
def test_what_is_no_archive(data: bytes) -> None:
    with pytest.raises(ChartInvalid):
        read_archive(data)


def test_an_archive_that_needs_no_change_is_passed_on() -> None:
    archive = packed({"Chart.yaml": CHART, "values.schema.json": '{"type": "object"}'})
    files, prepared, warnings = prepare(archive, validate=True)

    assert prepared is archive
    assert len(files) == 2
    assert warnings == ()


def test_schemas_of_all_charts_go_where_they_do_not_count() -> None:
    inner = packed({"Chart.yaml": CHART, "values.schema.json": "{}"})
    archive = packed(
        {
            "Chart.yaml": CHART,
            "values.schema.json": "{}",
            "charts/a/values.schema.json": "{}",
            "charts/a/charts/b/values.schema.json": "{}",
            "charts/c.tgz": inner,
            "files/values.schema.json": "{}",
        }
    )
    files, prepared, _ = prepare(archive, validate=False)
    left = {file.name: file.data for file in read_archive(prepared)}

    assert len(files) == 6
    assert list(left) == ["Chart.yaml", "charts/c.tgz", "files/values.schema.json"]
    assert names(left["charts/c.tgz"]) == ["Chart.yaml"]


def test_templates_of_all_charts_go_where_they_do_not_count() -> None:
    inner = packed({"Chart.yaml": CHART, "templates/a.yaml": "{}"})
    archive = packed(
        {
            "Chart.yaml": CHART,
            "templates/a/b.yaml": "{}",
            "charts/a/templates/b.yaml": "{}",
            "charts/c.tgz": inner,
            "files/templates/b.yaml": "{}",
        }
    )
    _, prepared, _ = prepare(archive, validate=True, templates=False)
    left = {file.name: file.data for file in read_archive(prepared)}

    assert list(left) == ["Chart.yaml", "charts/c.tgz", "files/templates/b.yaml"]
    assert names(left["charts/c.tgz"]) == ["Chart.yaml"]


def test_schemas_of_subcharts_are_named_in_warnings() -> None:
    inner = packed({"Chart.yaml": CHART, "values.schema.json": REMOTE})
    archive = packed(
        {
            "Chart.yaml": CHART,
            "charts/a/values.schema.json": REMOTE,
            "charts/b.tgz": inner,
            "files/values.schema.json": REMOTE,
        }
    )
    _, _, warnings = prepare(archive, validate=True)

    assert [warning.partition(" ")[0] for warning in warnings] == [
        "charts/a/values.schema.json",
        "charts/b.tgz/values.schema.json",
    ]


@pytest.mark.parametrize(
    "reference",
    ["https://example.com/x.json#/a", "http://127.0.0.1/x", "file:///etc/passwd", "../x.json", "x"],
)
def test_references_to_elsewhere_are_taken_out(reference: str) -> None:
    schema = {"properties": {"a": {"$ref": reference, "type": "string"}, "b": {"type": "string"}}}
    local, warnings = localised(schema)

    assert local == {"properties": {"a": {"type": "string"}, "b": {"type": "string"}}}
    assert len(warnings) == 1


def test_in_old_drafts_nothing_counts_beside_a_reference() -> None:
    draft = "http://json-schema.org/draft-07/schema#"
    schema = {
        "$schema": draft,
        "$ref": "https://example.com/x",
        "type": "string",
        "definitions": {"d": {"type": "integer"}},
    }
    local, _ = localised(schema)

    assert local == {"$schema": draft, "definitions": {"d": {"type": "integer"}}}


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#/$defs/a", "$defs": {"a": {"type": "object"}}},
        {"$id": "https://example.com/s.json", "$ref": "s.json#/$defs/a", "$defs": {"a": {}}},
        {"$defs": {"a": {"$id": "https://example.com/a"}}, "$ref": "https://example.com/a"},
        {"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object"},
        {"properties": {"$ref": {"type": "string"}}},
        {"const": {"$ref": "https://example.com/x"}},
        {"properties": {"x": {"$ref": "http://json-schema.org/draft-07/schema#"}}},
        True,
    ],
)
def test_references_within_stay(schema: Any) -> None:
    local, warnings = localised(schema)

    assert local == schema
    assert warnings == ()


def test_a_dialect_of_elsewhere_is_not_fetched() -> None:
    local, warnings = localised({"$schema": "https://example.com/mine", "type": "object"})

    assert local == {"type": "object"}
    assert "https://example.com/mine" in warnings[0]


def test_a_schema_without_end() -> None:
    deep: Any = {}
    for _ in range(400):
        deep = {"properties": {"a": deep}}
    with pytest.raises(ChartInvalid, match="nested"):
        localised(deep)


def test_a_schema_that_is_no_json_is_the_engine_s_to_refuse() -> None:
    archive = packed({"Chart.yaml": CHART, "values.schema.json": "{"})

    assert prepare(archive, validate=True)[1] is archive


def test_a_chart_is_described() -> None:
    said = describe(packed({"Chart.yaml": f"{CHART}appVersion: 2.5\n", "crds/a.yaml": "x"}))

    assert said == {"name": "app", "version": "1.0.0", "app_version": "2.5", "crds": True}


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("true", "true"),
        ("123", "123"),
        ("1.10", "1.1"),
        ("0", "0"),
        ('"a\\nb"', "a b"),
        ('"a\\u200bb\\x01"', "ab"),
        ('"a\\u00a0b"', "a b"),
        ("[a]", ""),
        ("null", ""),
    ],
)
def test_a_chart_is_called_as_helm_calls_it(said: str, name: str) -> None:
    """Under another name than in the record a release would be uninstalled and made again."""
    found = describe(packed({"Chart.yaml": f"version: 1.0.0\nname: {said}\nappVersion: {said}\n"}))

    assert (found["name"], found["app_version"]) == (name, name)


@pytest.mark.parametrize("field", ["name", "version", "appVersion"])
def test_what_a_chart_says_of_itself_fits_into_a_status(field: str) -> None:
    text = f"{CHART}{field}: {'a' * 1025}\n"
    with pytest.raises(ChartInvalid, match=f"the chart's {field} has more than 1024 characters"):
        describe(packed({"Chart.yaml": text}))
