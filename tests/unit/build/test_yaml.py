"""YAML is read as Kubernetes reads it."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluvial.build import yaml
from fluvial.build.errors import YamlError

_ORACLE = json.loads(Path(__file__).with_name("scalars.json").read_text())


def _error(text: str | bytes, source: str = "f.yaml") -> YamlError:
    with pytest.raises(YamlError) as caught:
        yaml.load_all(text if isinstance(text, bytes) else text.encode(), source=source)
    return caught.value


@pytest.mark.parametrize(("text", "outcome", "value"), _ORACLE, ids=repr)
def test_scalars_mean_what_they_mean_to_kubernetes(text: str, outcome: str, value: Any) -> None:
    if outcome == "err":
        _error(f"v: {text}\n")
        return

    found = yaml.load_one(f"v: {text}\n".encode())["v"]

    # The recorded answers went through 64-bit floats.
    assert float(found) == float(value) if type(value) is int else found == value
    assert isinstance(found, bool) == isinstance(value, bool)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("18446744073709551615", 2**64 - 1),
        ("-9223372036854775808", -(2**63)),
        ("9007199254740993", 2**53 + 1),
    ],
    ids=["uint64", "int64", "beyond-53-bits"],
)
def test_integers_keep_all_digits(text: str, value: int) -> None:
    assert yaml.load_one(f"[{text}]".encode()) == [value]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("'yes'", "yes"),
        ('"12"', "12"),
        ("!foo x", "x"),
        ("!!str 12", "12"),
        ("!!int '12'", 12),
        ("!!float 3", 3.0),
        ("!!binary aGVsbG8=", "hello"),
        ("!!timestamp 2001-12-14", "2001-12-14"),
        ("|\n  a\n  b\n", "a\nb\n"),
        ("", None),
    ],
    ids=repr,
)
def test_quotes_and_tags(text: str, value: object) -> None:
    assert yaml.load_one(f"v: {text}\n".encode()) == {"v": value}


@pytest.mark.parametrize("text", ["!!null x", "!!int x", "!!bool 1", "!!binary '*'"])
def test_a_tag_that_the_value_belies_is_an_error(text: str) -> None:
    assert "!!" in _error(f"v: {text}\n").problem


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("y: 1", "true"),
        ("0644: 1", "420"),
        ("1.5: 1", "1.5"),
        ("1000000.0: 1", "1e+06"),
        ("0.1: 1", "0.1"),
        ("'y': 1", "y"),
        ("? a\n: 1", "a"),
    ],
    ids=repr,
)
def test_keys_become_text(text: str, key: str) -> None:
    assert list(yaml.load_one(text.encode())) == [key]


@pytest.mark.parametrize("text", ["~: 1", "[a]: 1", "{a: b}: 1", "? [a]\n: 1"], ids=repr)
def test_keys_that_json_does_not_have_are_refused(text: str) -> None:
    assert "key" in _error(text).problem


@pytest.mark.parametrize("text", ["a: 1\nb: 2\na: 3\n", "1: a\n'1': b\n"], ids=["same", "as-text"])
def test_a_key_that_occurs_twice_is_an_error(text: str) -> None:
    assert "already set" in str(_error(text))


def test_the_last_of_equal_keys_wins_where_they_are_allowed() -> None:
    assert yaml.load_all(b"a: 1\na: 2\n", unique_keys=False) == [{"a": 2}]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("<<: {b: 2}\nb: 3\n", {"b": 3}),
        ("b: 3\n<<: {b: 2}\n", {"b": 2}),
        ("<<: [{b: 1}, {b: 2, c: 3}]\n", {"b": 1, "c": 3}),
        ("'<<': {b: 2}\n", {"<<": {"b": 2}}),
        ("v: <<\n", {"v": "<<"}),
        ("v: =\n", {"v": "="}),
    ],
    ids=["before", "after", "list", "quoted", "value", "equals"],
)
def test_merge_keys(text: str, value: object) -> None:
    assert yaml.load_one(text.encode()) == value


def test_merging_what_is_no_mapping_is_an_error() -> None:
    assert "<<" in _error("<<: [1]\n").problem


def test_an_anchor_can_be_defined_again() -> None:
    text = b"a: &x 1\nb: *x\nc: &x 2\nd: *x\n"

    assert yaml.load_one(text) == {"a": 1, "b": 1, "c": 2, "d": 2}


def test_aliases_are_copies() -> None:
    value = yaml.load_one(b"a: &x {k: [1]}\nb: *x\n")
    value["a"]["k"].append(2)

    assert value["b"] == {"k": [1]}


def test_an_anchor_does_not_reach_into_the_next_document() -> None:
    assert "anchor 'x'" in str(_error("a: &x 1\n---\nb: *x\n"))


def test_an_anchor_does_not_contain_itself() -> None:
    assert "anchor 'x'" in str(_error("a: &x [*x]\n"))


def test_billion_laughs() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]

    assert "aliases" in str(_error("\n".join(lines)))


def test_aliases_cannot_build_depth() -> None:
    lines = ["a0: &a0 [x]"]
    lines += [f"a{n}: &a{n} [[[[[[[[[[*a{n - 1}]]]]]]]]]]" for n in range(1, 40)]

    assert "deeper than 250" in str(_error("\n".join(lines)))


@pytest.mark.parametrize("text", ["[" * 100_000, "{a: " * 5_000, "- " * 5_000], ids=len)
def test_depth_is_limited(text: str) -> None:
    assert "deeper than 250" in str(_error(text))


def test_what_is_deep_but_allowed_can_be_written_as_json() -> None:
    value = yaml.load_one(b"[" * 250 + b"]" * 250)

    assert orjson.dumps(value) == b"[" * 250 + b"]" * 250


def test_documents_without_content_are_left_out() -> None:
    text = b"# only a comment\n---\na: 1\n---\n---\n# more\n---\nnull\n---\nb: 2\n...\n"

    assert yaml.load_all(text) == [{"a": 1}, {"b": 2}]


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbfa: '\xc3\xa9'\r\nb:\r\n- 1\r\n",
        "a: 'é'\nb:\n- 1\n".encode("utf-16"),
        "a: 'é'\nb: [1]".encode(),
    ],
    ids=["bom-crlf", "utf-16", "no-final-line-end"],
)
def test_encodings_and_line_ends(data: bytes) -> None:
    assert yaml.load_one(data) == {"a": "é", "b": [1]}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (b"a: 1\nb: [\n", 3),
        (b"a: 1\n\tb: 1\n", 2),
        (b"a: 1\n---\nb: 1\nb: 2\n", 4),
        (b"a: *no\n", 1),
        (b"%YAML 1.2\n---\na: 1\n", 1),
        (b"a: .inf\n", 1),
    ],
    ids=["open", "tab", "duplicate", "alias", "version", "infinity"],
)
def test_errors_name_file_and_line(text: bytes, line: int) -> None:
    error = _error(text, source="apps/x.yaml")

    assert (error.source, error.line) == ("apps/x.yaml", line)
    assert str(error) == f"apps/x.yaml:{line}: {error.problem}"
    assert "\n" not in str(error)


@pytest.mark.parametrize("data", [b"a: \x00", b"a: \xff\xfe", b"\x01"], ids=repr)
def test_bytes_that_are_no_text_are_an_error(data: bytes) -> None:
    assert "f.yaml" in str(_error(data))


def test_one_document_means_one() -> None:
    assert yaml.load_one(b"") is None
    with pytest.raises(YamlError, match="2 found"):
        yaml.load_one(b"a: 1\n---\nb: 1\n")


@pytest.mark.parametrize(
    "text",
    [
        "plain: text\n",
        'number: "12"\n',
        'octal: "0644"\n',
        'boolean: "yes"\n',
        'empty: ""\n',
        'time: "12:30:45"\n',
        'date: "2001-12-14"\n',
        "star: '*'\n",
        "colon: 'a: b'\n",
        "variable: ${VAR}\n",
        "lines: |\n  a\n  b\n",
        "lines: |-\n  a\n  b\n",
        "list:\n- 1\n- a: b\n  c: d\n",
        "none: null\nempty: {}\nlist: []\nyes_: true\nreal: 0.5\nbig: 1e+06\n",
    ],
    ids=repr,
)
def test_writing_is_in_the_style_of_kubernetes(text: str) -> None:
    assert yaml.dump(yaml.load_one(text.encode())).decode() == text


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)


@given(_JSON)
def test_what_is_written_is_read_as_it_was(value: Any) -> None:
    documents = yaml.load_all(yaml.dump(value))

    assert documents == ([] if value is None else [value])


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    documents = []
    with contextlib.suppress(YamlError):
        documents = yaml.load_all(data)

    assert all(orjson.dumps(document) for document in documents)
