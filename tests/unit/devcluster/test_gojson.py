"""What Go's decoder says of broken JSON; the texts are those that `go run` prints for each."""

from __future__ import annotations

import pytest

from devcluster.wire.gojson import complaint


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "unexpected end of JSON input"),
        ("{", "unexpected end of JSON input"),
        ('{"a":', "unexpected end of JSON input"),
        ("nocson", "invalid character 'o' in literal null (expecting 'u')"),
        ("{not", "invalid character 'n' looking for beginning of object key string"),
        ('{"a" 1}', "invalid character '1' after object key"),
        ('{"a":1 "b"}', "invalid character '\"' after object key:value pair"),
        ('{"a":1,}', "invalid character '}' looking for beginning of object key string"),
        ("[1 2]", "invalid character '2' after array element"),
        ("[1,]", "invalid character ']' looking for beginning of value"),
        ("{} x", "invalid character 'x' after top-level value"),
        ('"a\tb"', "invalid character '\\t' in string literal"),
        ('"\\x"', "invalid character 'x' in string escape code"),
        ('"\\u12G4"', "invalid character 'G' in \\u hexadecimal character escape"),
        ("-x", "invalid character 'x' in numeric literal"),
        ("1.x", "invalid character 'x' after decimal point in numeric literal"),
        ("1ex", "invalid character 'x' in exponent of numeric literal"),
        ("01", "invalid character '1' after top-level value"),
        ("'a'", "invalid character '\\'' looking for beginning of value"),
        ("é", "invalid character 'Ã' looking for beginning of value"),
        ("[" * 100_000, "invalid character '[' exceeded max depth"),
    ],
)
def test_the_first_fault_is_told_as_go_tells_it(text: str, said: str) -> None:
    assert complaint(text.encode()) == said


@pytest.mark.parametrize("text", ['{"a":[1,-2.5e3,true,null,"x\\u00e9"]}', " 0 ", "[]", '"ü"'])
def test_json_is_not_complained_of(text: str) -> None:
    assert complaint(text.encode()) == ""
