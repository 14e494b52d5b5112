"""Answers in XML are read without believing them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from source_controller.bucket.stores import xml
from source_controller.bucket.stores.errors import InvalidAnswer
from source_controller.bucket.stores.xml import parse


def test_elements_and_texts() -> None:
    root = parse(
        b"<?xml version='1.0'?><s:List xmlns:s='urn:x'><s:Item><Key> a&amp;b </Key></s:Item>"
        b"<Item><Key>c</Key></Item><!-- no --><![CDATA[<x>]]></s:List>"
    )

    assert root.name == "List"
    assert root.text == "<x>"
    assert [item.value("Key") for item in root.all("Item")] == [" a&b ", "c"]
    assert root.value("Item", "Key") == " a&b "
    assert root.value("None", "Key") == ""


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"x",
        b"<a>",
        b"<a></b>",
        b"<a>&undefined;</a>",
        b"\xff\xfe",
        b"<!DOCTYPE a><a/>",
        b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>",
        b"<!DOCTYPE a SYSTEM 'file:///etc/passwd'><a/>",
        b"<!DOCTYPE a [<!ENTITY % p SYSTEM 'http://169.254.169.254/'> %p;]><a/>",
        b"<a>" * 17 + b"</a>" * 17,
    ],
    ids=lambda data: data[:40],
)
def test_what_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidAnswer):
        parse(data)


def test_elements_without_end_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xml, "_MAX_ELEMENTS", 10)
    parse(b"<a>" + b"<b/>" * 9 + b"</a>")
    with pytest.raises(InvalidAnswer):
        parse(b"<a>" + b"<b/>" * 10 + b"</a>")


@given(st.binary(max_size=200) | st.text(alphabet="<>/&;ab !?[]'\"=", max_size=60).map(str.encode))
def test_nothing_else_is_raised(data: bytes) -> None:
    try:
        parse(data)
    except InvalidAnswer:
        return
