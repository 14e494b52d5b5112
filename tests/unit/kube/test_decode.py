"""Bytes become objects, whatever the chunks, within limits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluvial.kube.decode import decode_list, decode_object, encode_object, iter_lines
from fluvial.kube.errors import ApiError, BadRequest
from fluvial.kube.resource import Resource

CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap", namespaced=True)


async def chunked(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


@given(st.lists(st.binary(max_size=8), max_size=8), st.sets(st.integers(0, 80)))
def test_lines_are_the_same_however_they_are_cut(lines: list[bytes], cuts: set[int]) -> None:
    whole = b"\n".join(lines)
    places = [0, *sorted(cut for cut in cuts if cut < len(whole)), len(whole)]
    chunks = [whole[a:b] for a, b in pairwise(places)]

    async def read() -> list[bytes]:
        return [line async for line in iter_lines(chunked(*chunks))]

    assert asyncio.run(read()) == [line for line in whole.split(b"\n") if line]


async def test_a_line_without_an_end_is_refused() -> None:
    with pytest.raises(ApiError, match="longer than 10 bytes"):
        async for _ in iter_lines(chunked(b"12345", b"67890", b"1"), limit=10):
            pass


@pytest.mark.parametrize("body", [b"", b"nonsense", b"[1]", b"null", b'"x"'])
async def test_what_is_no_object_is_an_error_without_the_text(body: bytes) -> None:
    with pytest.raises(ApiError) as caught:
        decode_object(body)
    assert "nonsense" not in str(caught.value)

    with pytest.raises(ApiError, match="configmaps"):
        await decode_list(body, CONFIG_MAPS, metadata_only=False)


async def test_a_long_list_lets_others_run() -> None:
    items = [{"metadata": {"name": f"n{n}"}, "data": {"x": "y" * 10_000}} for n in range(200)]
    body = orjson.dumps({"metadata": {"resourceVersion": "1"}, "items": items})
    turns = 0
    done = False

    async def other() -> None:
        nonlocal turns
        while not done:
            turns += 1
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        group.create_task(other(), name="other")
        page = await decode_list(body, CONFIG_MAPS, metadata_only=False)
        done = True

    assert turns >= 7
    assert [item["metadata"]["name"] for item in page.items] == [f"n{n}" for n in range(200)]


async def test_null_items_are_an_empty_list() -> None:
    page = await decode_list(
        b'{"metadata":{"resourceVersion":"3"},"items":null}', CONFIG_MAPS, metadata_only=True
    )

    assert (page.items, page.resource_version, page.continue_token) == ([], "3", "")


@pytest.mark.parametrize("value", [{1: "x"}, {"x": 2**70}, {"x": "\ud800"}, {"x": {1, 2}}])
def test_what_is_no_json_is_a_bad_request(value: dict[Any, Any]) -> None:
    with pytest.raises(BadRequest, match="cannot be sent as JSON"):
        encode_object(value)
