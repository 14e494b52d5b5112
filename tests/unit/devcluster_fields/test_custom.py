"""Custom resources: defaults, structural validation, rules. Recorded from the real server."""

from __future__ import annotations

from typing import Any

import pytest

from devcluster.fields import admit
from devcluster.fields.errors import FieldsError
from devcluster.fields.schema import TypeSchema

Json = dict[str, Any]
NOT_CHECKED = (
    "<nil>: Invalid value: null: some validation rules were not checked because the object was"
    " invalid; correct the existing errors to complete validation"
)


def defaulted(things: Any, spec: Any) -> Json:
    obj, _ = admit.decode_checks(things.make(spec=spec), things.schema, "Ignore", b"")
    return admit.default(obj, things.schema)


def refused(things: Any, obj: Json) -> list[str]:
    """The causes of the refusal; none if the object is accepted."""
    try:
        admit.validate_create(obj, things.schema)
    except FieldsError as refusal:
        return [cause.text for cause in refusal.causes]
    return []


def test_defaults_fill_in_and_nulls_go(things: Any) -> None:
    obj = defaulted(things, {"must": "ab", "n": None, "obj": None, "def": None})

    assert obj["spec"] == {"must": "ab", "def": "dd", "nuld": "q", "obj": {"in": 3}}


def test_a_null_that_is_allowed_stays(things: Any) -> None:
    assert defaulted(things, {"must": "ab", "nuld": None})["spec"]["nuld"] is None


def test_defaults_do_not_touch_what_they_were_given(things: Any) -> None:
    given = things.make(spec={"must": "ab", "obj": {}})
    admit.default(given, things.schema)

    assert given["spec"] == {"must": "ab", "obj": {}}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"must": "ab"}, []),
        ({}, ["spec.must: Required value", NOT_CHECKED]),
        (None, ["spec: Required value", NOT_CHECKED]),
        ("x", ['spec: Invalid value: "string": spec in body must be of type object: "string"', NOT_CHECKED]),
        ({"must": 1}, ['spec.must: Invalid value: "integer": spec.must in body must be of type string: "integer"', NOT_CHECKED]),
        ({"must": "a"}, ['spec.must: Invalid value: "a": spec.must in body should be at least 2 chars long']),
        ({"must": "toolong"}, ["spec.must: Too long: may not be more than 5 bytes", NOT_CHECKED]),
        ({"must": "AB"}, ["spec.must: Invalid value: \"AB\": spec.must in body should match '^[a-z]+$'"]),
        ({"must": "ab", "n": 0}, ["spec.n: Invalid value: 0: spec.n in body should be greater than or equal to 1"]),
        ({"must": "ab", "n": 11}, ["spec.n: Invalid value: 11: spec.n in body should be less than or equal to 10"]),
        ({"must": "ab", "n": 1.5}, ['spec.n: Invalid value: "float64": spec.n in body must be of type int32: "float64"', '<nil>: Invalid value: "": Checked value must be of type integer with format int32 in spec.n', NOT_CHECKED]),
        ({"must": "ab", "en": "C"}, ['spec.en: Unsupported value: "C": supported values: "A", "B"', NOT_CHECKED]),
        ({"must": "ab", "ios": True}, ['spec.ios: Invalid value: "boolean": spec.ios in body must be of type integer,string: "boolean"', NOT_CHECKED]),
        ({"must": "ab", "ios": "5%"}, []),
        ({"must": "ab", "emb": {"a": 1}}, ["spec.emb.apiVersion: Required value", "spec.emb.kind: Required value", NOT_CHECKED]),
        ({"must": "ab", "set": ["a", "a"]}, ['spec.set[1]: Duplicate value: "a"']),
        ({"must": "ab", "set": list("abcd")}, ["spec.set: Too many: 4: must have at most 3 items", NOT_CHECKED]),
        ({"must": "ab", "lm": [{"k": "a"}, {"k": "a"}]}, ['spec.lm[1]: Duplicate value: {"k":"a"}']),
        ({"must": "ab", "lm": [{"v": 1}]}, ["spec.lm[0].k: Required value", NOT_CHECKED]),
        ({"must": "ab", "lm": [None]}, ['spec.lm[0]: Invalid value: "null": spec.lm[0] in body must be of type object: "null"', NOT_CHECKED]),
        ({"must": "ab", "dt": "x"}, ['spec.dt: Invalid value: "x": spec.dt in body must be of type date-time: "x"', NOT_CHECKED]),
        ({"must": "ab", "dt": "2020-01-01T00:00:00Z"}, []),
        ({"must": "ab", "one": {}}, ['<nil>: Invalid value: "": "spec.one" must validate one and only one schema (oneOf). Found none valid', "spec.one.x: Required value", NOT_CHECKED]),
        ({"must": "ab", "one": {"x": "1", "y": "1"}}, ['<nil>: Invalid value: "": "spec.one" must validate one and only one schema (oneOf). Found 2 valid alternatives']),
        ({"must": "ab", "a": 2, "b": 1}, ["spec.a: Forbidden: a must be < b"]),
        ({"must": "zz"}, ["spec: Invalid value: failed rule: !has(self.must) || self.must != 'zz'"]),
    ],
    ids=str,
)  # fmt: skip
def test_a_custom_resource_is_validated(things: Any, spec: Any, expected: list[str]) -> None:
    assert sorted(refused(things, defaulted(things, spec))) == sorted(expected)


def test_several_causes_are_listed_in_brackets(things: Any) -> None:
    with pytest.raises(FieldsError) as caught:
        admit.validate_create(defaulted(things, {}), things.schema)

    assert caught.value.message == (
        f'Thing.ex.io "it" is invalid: [spec.must: Required value, {NOT_CHECKED}]'
    )
    assert caught.value.details == {"name": "it", "group": "ex.io", "kind": "Thing"}


def test_a_rule_on_the_old_value_guards_updates_only(things: Any) -> None:
    old = defaulted(things, {"must": "ab", "imm": "x"})
    new = defaulted(things, {"must": "ab", "imm": "y"})
    admit.validate_create(new, things.schema)
    with pytest.raises(FieldsError) as caught:
        admit.validate_update(new, old, things.schema)

    assert caught.value.message == (
        'Thing.ex.io "it" is invalid: spec.imm: Invalid value: "y": immutable!'
    )


def test_what_was_wrong_before_may_stay_wrong(things: Any) -> None:
    old = defaulted(things, {"must": "AB"})
    new = defaulted(things, {"must": "AB", "n": 2})
    worse = defaulted(things, {"must": "CD", "n": 2})
    admit.validate_update(new, old, things.schema)

    with pytest.raises(FieldsError):
        admit.validate_update(worse, old, things.schema)


def test_an_unknown_version_is_a_key_error() -> None:
    crd = {"spec": {"group": "g", "names": {"kind": "K"}, "versions": [{"name": "v1"}]}}

    assert TypeSchema.from_crd_version(crd, "v1").api_version == "g/v1"
    with pytest.raises(KeyError):
        TypeSchema.from_crd_version(crd, "v2")


def test_a_schema_without_status_leaves_it_to_the_main_resource(things: Any) -> None:
    crd = {
        "spec": {
            "group": "g",
            "names": {"kind": "K"},
            "versions": [{"name": "v1", "subresources": {"status": {}}}, {"name": "v2"}],
        }
    }

    assert TypeSchema.from_crd_version(crd, "v1").has_status
    assert not TypeSchema.from_crd_version(crd, "v2").has_status
    assert things.schema.has_status
