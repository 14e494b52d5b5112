"""From bytes to objects and back, without holding the event loop.

A list is split into its items first (fast, nothing is built) and then decoded item by item, with
a pause for others after every 256 KiB. Watch lines are split from chunks of bounded size.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable
from typing import Any

import msgspec
import orjson

from fluvial.kube.client import ListPage
from fluvial.kube.errors import ApiError, BadRequest
from fluvial.kube.resource import Resource
from fluvial.objects import JsonObject

__all__ = ["MAX_LINE", "complete", "decode_list", "decode_object", "encode_object", "iter_lines"]

MAX_LINE = 64 * 1024 * 1024
_SLICE = 256 * 1024


class _ListMeta(msgspec.Struct, rename="camel"):
    resource_version: str = ""
    continue_: str = msgspec.field(name="continue", default="")


class _List(msgspec.Struct):
    metadata: _ListMeta = msgspec.field(default_factory=_ListMeta)
    items: list[msgspec.Raw] | None = None


def decode_object(body: bytes | memoryview) -> JsonObject:
    """A JSON object.

    Raises:
        ApiError: it is something else; the text does not quote it.

    """
    try:
        value: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise ApiError("the server's answer is not JSON") from None
    if not isinstance(value, dict):
        raise ApiError("the server's answer is not a JSON object")
    return value


def encode_object(value: JsonObject | list[JsonObject]) -> bytes:
    """JSON for a request.

    Raises:
        BadRequest: something in it is no JSON, such as a key that is a number.

    """
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError as error:
        raise BadRequest(f"the object cannot be sent as JSON: {error}") from None


def complete(obj: JsonObject, resource: Resource, *, metadata_only: bool) -> JsonObject:
    """Give an item the type that lists leave out, and drop what metadata views do not need."""
    if metadata_only:
        obj["apiVersion"], obj["kind"] = resource.api_version, resource.kind
        metadata = obj.get("metadata")
        if isinstance(metadata, dict):
            metadata.pop("managedFields", None)
    elif "kind" not in obj or "apiVersion" not in obj:
        obj["apiVersion"], obj["kind"] = resource.api_version, resource.kind
    return obj


async def decode_list(body: bytes, resource: Resource, *, metadata_only: bool) -> ListPage:
    """One page of a list.

    Raises:
        ApiError: the answer is not a list.

    """
    try:
        page = msgspec.json.decode(body, type=_List)
    except msgspec.DecodeError:
        raise ApiError(f"the server's list of {resource.group_resource} is not readable") from None
    items: list[JsonObject] = []
    since_pause = 0
    for raw in page.items or ():
        view = memoryview(raw)
        items.append(complete(decode_object(view), resource, metadata_only=metadata_only))
        since_pause += view.nbytes
        if since_pause >= _SLICE:
            since_pause = 0
            await asyncio.sleep(0)
    return ListPage(items, page.metadata.resource_version, page.metadata.continue_)


async def iter_lines(
    chunks: AsyncIterable[bytes], *, limit: int = MAX_LINE
) -> AsyncGenerator[bytes, None]:
    """Lines without their newline; empty lines are left out, a last line need not end in one.

    Raises:
        ApiError: a line is longer than ``limit`` bytes.

    """
    pending: list[bytes] = []
    size = 0
    async for chunk in chunks:
        head, newline, rest = chunk.partition(b"\n")
        size += len(head)
        if size > limit:
            raise ApiError(f"a watch event is longer than {limit} bytes")
        pending.append(head)
        if not newline:
            continue
        first = b"".join(pending)
        if first:
            yield first
        *lines, last = rest.split(b"\n")
        for line in lines:
            if line:
                yield line
        pending, size = [last], len(last)
    if size:
        yield b"".join(pending)
