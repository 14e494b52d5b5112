"""Variables in text, quirks included."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluvial.build.errors import SubstitutionError
from fluvial.build.substitute import MAX_RESULT, expand, substitute

_VARIABLES = {
    "v": "value",
    "e": "",
    "path": "/usr/local/bin/tool.tar.gz",
    "accent": "éa",
    "n": "1",
    "7up": "seven",
    "näme": "umlaut",
    "stars": "a*b*c",
    "slash": "a/b/c",
}


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("", ""),
        ("plain $v $(v) $ text", "plain $v $(v) $ text"),
        ("${v}", "value"),
        ("a${v}b${v}c", "avaluebvaluec"),
        ("${7up} ${näme}", "seven umlaut"),
        ("${unset}", ""),
        ("$$", "$"),
        ("$$$", "$$"),
        ("$${v}", "${v}"),
        ("$$${v}", "$value"),
        ("a $", "a $"),
        ("pid $$ and $v", "pid $ and $v"),
        ("${#v}", "5"),
        ("${#accent}", "3"),
        ("${#unset}", "0"),
        ("${v^}", "Value"),
        ("${v^^}", "VALUE"),
        ("${accent^}", "Éa"),
        ("${v,^}", "value"),
        ("${v:1}", "alue"),
        ("${v:1:2}", "al"),
        ("${v:-3}", "value"),
        ("${v:+2:9}", "value"),
        ("${v:0}", "value"),
        ("${v:x}", "value"),
        ("${v:9}", ""),
        ("${v:9:1}", ""),
        ("${v:2:9}", "lue"),
        ("${v:1:x}", "value"),
        ("${v:1::2}", "al"),
        ("${v: -1}", "value"),
        ("${v:${n}}", "alue"),
        ("${v:99999999999999999999}", "value"),
        ("${path#*/}", "usr/local/bin/tool.tar.gz"),
        ("${path##*/}", "tool.tar.gz"),
        ("${path%.*}", "/usr/local/bin/tool.tar"),
        ("${path%%.*}", "/usr/local/bin/tool"),
        ("${path#/usr}", "/local/bin/tool.tar.gz"),
        ("${path#nothing}", "/usr/local/bin/tool.tar.gz"),
        ("${v#?}", "alue"),
        ("${v#[a-z]}", "alue"),
        ("${v#[^a-z]}", "value"),
        ("${v##[^0-9]*[e]}", ""),
        ("${v#[}", "value"),
        ("${v#[]}", "value"),
        ("${v#v\\}", "value"),
        ("${stars#a\\*}", "b*c"),
        ("${v%[a-z]}", "value"),
        ("${v%?}", "valu"),
        ("${v#*}", "alue"),
        ("${v##*}", ""),
        ("${e##*}", ""),
        ("${v##${n}}", "value"),
        ("${unset=d}", "d"),
        ("${unset:=d}", "d"),
        ("${unset:-d}", "d"),
        ("${unset:+d}", "d"),
        ("${unset:?d}", "d"),
        ("${e=d}", "d"),
        ("${e:=d}", "d"),
        ("${v:=d}", "value"),
        ("${v:+d}", "value"),
        ("${unset:=}", ""),
        ("${unset:=a b: c # {d}", "a b: c # {d"),
        ("${unset:={}}", "{}"),
        ("${unset:=${v}}", "value"),
        ("${unset:=a ${v} b ${e:=c}}", "a value b c"),
        ("${unset:=${other:=${v}}}", "value"),
        ("${unset:=$$}", "$$"),
        ("${unset:=$v}", "$v"),
        ("${unset:=$${v}}", "$value"),
        ("${unset:=a\nb}", "a\nb"),
        ("${v/a/b}", "vblue"),
        ("${slash/\\//-}", "a-b/c"),
        ("${slash//\\//-}", "a-b-c"),
        ("${slash//\\//\\\\}", "a\\b\\c"),
        ("${v/#v/w}", "walue"),
        ("${v/#x/w}", "value"),
        ("${v/%e/w}", "valuw"),
        ("${v/%x/w}", "value"),
        ("${v/a/}", "vlue"),
        ("${stars//*/}", "abc"),
        ("${v/#v/}", "value"),
        ("${v/%e/}", "value"),
        ("${v/a*/b}", "value"),
        ("${v/${e:=a}/${n}}", "v1lue"),
        ("${v/a/$$}", "v$lue"),
        ("${v/a//b}", "vblue"),
    ],
    ids=repr,
)
def test_expressions(text: str, result: str) -> None:
    assert substitute(text, _VARIABLES, strict=False) == result


@pytest.mark.parametrize(("value", "result"), [("Value", "value"), ("VALUE", "vALUE")])
def test_lower_case_of_the_first(value: str, result: str) -> None:
    assert substitute("${x,}", {"x": value}, strict=False) == result
    assert substitute("${x,,}", {"x": value}, strict=False) == "value"


def test_case_never_changes_the_number_of_characters() -> None:
    assert substitute("${x^^}", {"x": "straße"}, strict=False) == "STRAßE"


@pytest.mark.parametrize(
    "text",
    [
        "${",
        "${}",
        "${v",
        "${v-d}",
        "${v?d}",
        "${a.b}",
        "${a[0]}",
        "${ v}",
        "${v }",
        "${.Values.x}",
        "${#}",
        "${#v:1}",
        "${v:}",
        "${v:1:}",
        "${v#}",
        "${v%}",
        "${v^x}",
        "${v/a}",
        "${v//}",
        "${unset:=",
        "${unset:=${v}",
        "${v/a/b",
        "${v##a${n}}",
        "${{ github.ref }}",
    ],
    ids=repr,
)
@pytest.mark.parametrize("strict", [True, False], ids=["strict", "lenient"])
def test_malformed_expressions(text: str, strict: bool) -> None:  # noqa: FBT001 - a parameter
    with pytest.raises(SubstitutionError, match="bad substitution in line 2"):
        substitute(f"\n{text}", _VARIABLES | {"github": "x", "a": "b"}, strict=strict)


@pytest.mark.parametrize(
    "text",
    [
        "${unset}",
        "${#unset}",
        "${unset^^}",
        "${unset:1}",
        "${unset#x}",
        "${unset/a/b}",
        "${unset,^}",
    ],
)
def test_strict_mode_wants_variables_to_be_set(text: str) -> None:
    with pytest.raises(SubstitutionError, match=r'not set \(strict mode\): "unset"'):
        substitute(text, _VARIABLES, strict=True)

    substitute(text.replace("unset", "e"), _VARIABLES, strict=True)


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("${unset:=d}", "d"),
        ("${unset=}", ""),
        ("${e}", ""),
        ("${v:=${unset}}", "value"),
        ("${unset:=${v}}", "value"),
    ],
    ids=repr,
)
def test_strict_mode_is_content_with_defaults(text: str, result: str) -> None:
    assert substitute(text, _VARIABLES, strict=True) == result


def test_strict_mode_holds_in_a_default_that_is_used() -> None:
    with pytest.raises(SubstitutionError, match='"other"'):
        substitute("${unset:=${other}}", _VARIABLES, strict=True)


def test_what_each_variable_contributed_is_told() -> None:
    found = expand("${v^^} ${unset:=${path##*/}} ${e}", _VARIABLES, strict=False)

    assert found.text == "VALUE tool.tar.gz "
    assert found.contributions == {
        ("v", "VALUE"),
        ("path", "tool.tar.gz"),
        ("unset", "tool.tar.gz"),
    }


def test_values_are_not_expanded_again() -> None:
    assert substitute("${a}", {"a": "${b} $$", "b": "x"}, strict=True) == "${b} $$"


@pytest.mark.parametrize(
    ("text", "variables"),
    [
        ("${a:=" * 100 + "x" + "}" * 100, {}),
        ("${a}" * 1_000, {"a": "x" * 100_000}),
        ("${a##*y}" * 100_000, {"a": "x" * 100_000}),
        ("${a//x/${b}}", {"a": "x" * 100_000, "b": "y" * 10_000}),
        ("${a^^:}" * 3, {"a": "x" * (MAX_RESULT + 1)}),
        ("${a#" + "*?" * 1_000 + "}", {"a": "x"}),
    ],
    ids=["nesting", "amplification", "patterns", "replacement", "value", "long-pattern"],
)
def test_hostile_text_is_refused_quickly(text: str, variables: dict[str, str]) -> None:
    with pytest.raises(SubstitutionError):
        substitute(text, variables, strict=False)


@pytest.mark.parametrize(
    "text",
    ["$" * 200_001, "${" * 100_000, "${a:=" + "$" * 200_000 + "}", "${a#" + "}" * 200_000],
    ids=["dollars", "open", "dollars-in-default", "braces"],
)
def test_long_text_is_read_in_one_pass(text: str) -> None:
    variables = {"a": "*" * 1000}
    try:
        result = substitute(text, variables, strict=False)
    except SubstitutionError:
        result = ""

    assert len(result) <= len(text)


@given(st.text(alphabet="${}v#%/^,:=-?+\\a1 \n", max_size=40))
def test_any_text_is_replaced_or_refused(text: str) -> None:
    try:
        result = substitute(text, _VARIABLES, strict=False)
    except SubstitutionError as error:
        result = str(error)

    assert isinstance(result, str)


@given(st.text(alphabet=st.characters(exclude_characters="$"), max_size=40))
def test_text_without_a_dollar_stays_as_it_is(text: str) -> None:
    assert substitute(text, _VARIABLES, strict=True) == text
