"""Google Cloud Storage by its JSON interface.

https://cloud.google.com/storage/docs/json_api/v1/objects/list and /get. Content is pinned by the
object's generation, which no etag of an answer could be compared to.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import orjson
from yarl import URL

from fluvial.cloud.model import AccessToken
from source_controller.bucket.stores.endpoint import encode_path, encode_query
from source_controller.bucket.stores.errors import (
    Changed,
    InvalidAnswer,
    NoBucket,
    NoObject,
    TooLarge,
)
from source_controller.bucket.stores.http import HttpBody, Make, Requests, Sent
from source_controller.bucket.stores.model import Item

__all__ = ["GcsStore", "Token"]

Token = Callable[[], Awaitable[AccessToken]]
"""Gives the token that requests carry."""

_FIELDS = "items(name,etag,generation,size),nextPageToken"


class GcsStore:
    """One bucket.

    Args:
        requests: of the trust domain.
        endpoint: scheme, host and port.
        bucket: its name.
        token: see ``Token``.

    """

    def __init__(self, requests: Requests, *, endpoint: URL, bucket: str, token: Token) -> None:
        self._requests = requests
        self._endpoint = endpoint
        self._bucket = bucket
        self._token = token

    async def pages(self, prefix: str) -> AsyncIterator[tuple[Item, ...]]:
        """See ``model.Store``."""
        token = ""
        for _ in range(self._requests.limits.max_pages):
            fields = {"maxResults": "1000", "fields": _FIELDS}
            if prefix:
                fields["prefix"] = prefix
            if token:
                fields["pageToken"] = token
            make = self._maker("", fields, what=f"the list of bucket {self._bucket!r}")
            try:
                data = await self._requests.read(make)
            except NoObject as error:
                raise NoBucket(str(error), status=404, code=error.code) from error
            items, token = await asyncio.to_thread(_read_page, data)
            yield items
            if not token:
                return
        raise TooLarge(f"the list of bucket {self._bucket!r} does not end")

    @asynccontextmanager
    async def open(self, key: str, *, pinned: Item | None = None) -> AsyncIterator[HttpBody]:
        """See ``model.Store``."""
        item = pinned or await self._look(key)
        fields = {"alt": "media", "ifGenerationMatch": item.version}
        make = self._maker(key, fields, what=f"object {key!r}")
        async with self._requests.content(make, key=key) as response:
            if response.headers.get("X-Goog-Generation", item.version) != item.version:
                raise Changed(f"object {key!r} has changed", status=412)
            yield HttpBody(response, etag=item.etag)

    async def _look(self, key: str) -> Item:
        fields = {"fields": "name,etag,generation,size"}
        data = await self._requests.read(self._maker(key, fields, what=f"object {key!r}"))
        try:
            return _item(orjson.loads(data))
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidAnswer(f"what is said of object {key!r} cannot be read") from error

    def _maker(self, key: str, fields: dict[str, str], *, what: str) -> Make:
        name = f"/{encode_path(key, safe='')}" if key else ""
        path = f"/storage/v1/b/{encode_path(self._bucket, safe='')}/o{name}"
        url = URL(f"{str(self._endpoint).rstrip('/')}{path}?{encode_query(fields)}", encoded=True)

        async def make() -> Sent:
            token = await self._token()
            return Sent("GET", url, what, {"Authorization": f"Bearer {token.token}"})

        return make


def _read_page(data: bytes) -> tuple[tuple[Item, ...], str]:
    """The objects of a page, and the token of the next one. Blocks."""
    try:
        document = orjson.loads(data)
        items = tuple(_item(found) for found in document.get("items") or ())
        token = str(document.get("nextPageToken") or "")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InvalidAnswer("the list of the bucket cannot be read") from error
    return items, token


def _item(found: dict[str, object]) -> Item:
    generation = str(found["generation"])
    if not generation.isdigit():
        raise ValueError("no generation")
    return Item.read(str(found["name"]), str(found["etag"]), str(found["size"]), generation)
